#include "tools/io.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

namespace strata::tools {
namespace {

std::string ErrorText(int error) { return std::generic_category().message(error); }

// The object that signals ask.
std::atomic<Stop*> listening_stop{nullptr};

void OnSignal(int signal) {
  const int saved_errno = errno;
  if (Stop* stop = listening_stop.load()) stop->Request(signal);
  errno = saved_errno;
}

}  // namespace

Stop::Stop() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Stop::~Stop() {
  Stop* self = this;
  if (listening_stop.compare_exchange_strong(self, nullptr)) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
  }
  if (event_ >= 0) close(event_);
}

void Stop::ListenToSignals() {
  listening_stop = this;
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  // Reset, so that the second signal ends the program. Restart, so that libraries see no EINTR.
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void Stop::Request(int signal) {
  signal_.store(signal, std::memory_order_release);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event_, &one, sizeof one);
}

bool Stop::SleepFor(std::chrono::milliseconds time) const {
  pollfd event = {event_, POLLIN, 0};
  poll(&event, 1, static_cast<int>(time.count()));
  return !requested();
}

FdInput::~FdInput() {
  if (owns_) close(fd_);
}

Result<std::unique_ptr<Input>> FdInput::Open(const std::string& file, const Stop& stop) {
  if (file == "-") {
    return std::unique_ptr<Input>(
        std::make_unique<FdInput>(STDIN_FILENO, false, "standard input", stop));
  }
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Status(Reason::IO_ERROR, "cannot open " + file + ": " + ErrorText(errno));
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::unique_ptr<Input>(std::make_unique<FdInput>(fd, true, file, stop));
}

Result<size_t> FdInput::Read(std::span<char> space) {
  for (;;) {
    pollfd ready[2] = {{fd_, POLLIN, 0}, {stop_.fd(), POLLIN, 0}};
    const int n = poll(ready, 2, -1);
    if (stop_.requested()) return size_t{0};
    if (n < 0 && errno == EINTR) continue;
    const ssize_t got = read(fd_, space.data(), space.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EINTR || errno == EAGAIN) continue;
    return Status(Reason::IO_ERROR, "cannot read " + name_ + ": " + ErrorText(errno));
  }
}

std::optional<uint64_t> FdInput::total() const {
  struct stat status;
  if (fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return static_cast<uint64_t>(status.st_size);
}

Result<size_t> StringInput::Read(std::span<char> space) {
  const size_t n = std::min({space.size(), block_, bytes_.size() - position_});
  std::memcpy(space.data(), bytes_.data() + position_, n);
  position_ += n;
  return n;
}

Status Output::Append(std::string_view bytes) {
  if (collected_.size() + bytes.size() <= kBlock) {
    collected_.append(bytes);
    return error_;
  }
  STRATA_RETURN_IF_ERROR(Flush());
  if (bytes.size() > kBlock) return Pass(bytes);
  collected_.append(bytes);
  return Status::Ok();
}

Status Output::Flush() {
  const Status status = Pass(collected_);
  collected_.clear();
  return status;
}

Status Output::Pass(std::string_view bytes) {
  if (!error_.ok() || bytes.empty()) return error_;
  const int error = WriteOut(bytes);
  if (error == 0) return Status::Ok();
  reader_gone_ = error == EPIPE;
  error_ = Status(Reason::IO_ERROR, "cannot write the output: " + ErrorText(error));
  return error_;
}

int FdOutput::WriteOut(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd ready = {fd_, POLLOUT, 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

int StringOutput::WriteOut(std::string_view bytes) {
  const size_t n = std::min(bytes.size(), capacity_ - text_.size());
  text_.append(bytes.substr(0, n));
  return n == bytes.size() ? 0 : EPIPE;
}

void Io::Note(std::string_view text) const {
  // Nowhere to complain if standard error itself is gone.
  if (err.Append(text).ok()) (void)err.Flush();
}

}  // namespace strata::tools
