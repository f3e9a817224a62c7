#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace strata::testing {
namespace {

[[noreturn]] void Throw(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct Pipe {
  int read = -1;
  int write = -1;
};

Pipe MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Throw("pipe2");
  return {ends[0], ends[1]};
}

void CloseIfOpen(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

// A program that went away must fail the write, not the test.
void IgnoreSigpipe() { signal(SIGPIPE, SIG_IGN); }

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::vector<std::string> MergedEnvironment(const std::vector<std::string>& changes) {
  const auto name = [](const std::string& entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool changed = false;
    for (const std::string& change : changes) changed |= name(change) == name(*entry);
    if (!changed) merged.emplace_back(*entry);
  }
  for (const std::string& change : changes) {
    if (change.find('=') != std::string::npos) merged.push_back(change);
  }
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::string Outcome::ToString() const {
  std::string text = "exit code " + std::to_string(exit_code);
  if (signal != 0) text += ", ended by signal " + std::to_string(signal);
  if (timed_out) text += ", killed because time was up";
  return text + "\n--- standard output\n" + out.substr(0, 10'000) + "\n--- standard error\n" +
         err.substr(0, 10'000) + "\n---";
}

Process::Process(ProcessOptions options) {
  IgnoreSigpipe();
  std::vector<std::string> environment = MergedEnvironment(options.environment);
  const std::vector<char*> argv = Pointers(options.argv);
  const std::vector<char*> envp = Pointers(environment);
  Pipe in = MakePipe();
  Pipe out = MakePipe();
  Pipe err = MakePipe();
  if (!options.output_file.empty()) {
    close(out.write);
    out.write = open(options.output_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out.write < 0) Throw(options.output_file);
  }
  if (access(argv[0], X_OK) != 0) Throw(options.argv[0]);

  // _Fork and not fork: libraries of this process hook themselves into fork. Only calls that are
  // safe after a fork of many threads follow, up to exec.
  const pid_t parent = getpid();
  pid_ = _Fork();
  if (pid_ < 0) Throw("fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    signal(SIGPIPE, SIG_DFL);
    dup2(in.read, STDIN_FILENO);
    dup2(out.write, STDOUT_FILENO);
    dup2(err.write, STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(in.read);
  close(out.write);
  close(err.write);
  input_ = in.write;
  // By number: the header of glibc 2.36 gives the function C++ linkage.
  end_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (end_ < 0) Throw("pidfd_open");
  if (!options.output_file.empty()) CloseIfOpen(&out.read);
  collector_ = std::thread(&Process::Collect, this, out.read, err.read);

  if (options.keep_input_open) {
    WriteInput(options.input);
  } else if (options.input.empty()) {
    CloseInput();
  } else {
    feeder_ = std::thread([this, input = std::move(options.input)] {
      WriteAll(input_, input);
      CloseInput();
    });
  }
}

Process::~Process() {
  if (!waited_) {
    Signal(SIGKILL);
    Wait(std::chrono::seconds(60));
  }
}

void Process::Signal(int signal) {
  if (!waited_) kill(pid_, signal);
}

void Process::WriteInput(std::string_view bytes) { WriteAll(input_, bytes); }

void Process::CloseInput() { CloseIfOpen(&input_); }

bool Process::WaitUntilInputIsRead(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  int unread = 0;
  // The kernel tells nobody when a pipe is emptied, so this has to look.
  while (ioctl(input_, FIONREAD, &unread) == 0 && unread > 0) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return unread == 0;
}

void Process::Collect(int output, int error) {
  std::vector<char> block(1 << 16);
  pollfd fds[2] = {{output, POLLIN, 0}, {error, POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    for (pollfd& fd : fds) {
      if (fd.fd < 0 || fd.revents == 0) continue;
      const ssize_t n = read(fd.fd, block.data(), block.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        CloseIfOpen(&fd.fd);
        continue;
      }
      MutexLock lock(mu_);
      (&fd == &fds[0] ? out_ : err_).append(block.data(), static_cast<size_t>(n));
      changed_.NotifyAll();
    }
  }
  MutexLock lock(mu_);
  ended_ = true;
  changed_.NotifyAll();
}

std::string Process::WaitForOutput(std::string_view text, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mu_);
  while (!ended_ && out_.find(text) == std::string::npos && err_.find(text) == std::string::npos) {
    if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout) break;
  }
  return out_ + err_;
}

Outcome Process::Wait(std::chrono::milliseconds timeout) {
  if (!feeder_.joinable()) CloseInput();
  Outcome outcome;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd end = {end_, POLLIN, 0};
    const int ready = poll(&end, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) break;
    if (ready < 0 && errno == EINTR) continue;
    outcome.timed_out = true;
    kill(pid_, SIGKILL);
    break;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  waited_ = true;
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  collector_.join();
  if (feeder_.joinable()) feeder_.join();
  CloseIfOpen(&end_);
  MutexLock lock(mu_);
  outcome.out = std::exchange(out_, {});
  outcome.err = std::exchange(err_, {});
  return outcome;
}

Outcome Run(ProcessOptions options, std::chrono::milliseconds timeout) {
  return Process(std::move(options)).Wait(timeout);
}

Outcome Run(std::vector<std::string> argv, std::string input) {
  return Run(ProcessOptions{.argv = std::move(argv), .input = std::move(input)});
}

std::string ProgramPath(std::string_view name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

}  // namespace strata::testing
