#include "tests/corruption/child.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string_view>

namespace strata::corruption {
namespace {

void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(3);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

[[noreturn]] void Work(const std::function<std::string()>& work, int answer, int errors) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  // Catch's own handlers would report the crash as the test's.
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal, SIG_DFL);
  dup2(errors, STDERR_FILENO);
  try {
    WriteAll(answer, work());
  } catch (const std::exception& error) {
    WriteAll(STDERR_FILENO, error.what());
    _exit(1);
  }
  _exit(0);
}

}  // namespace

std::string ChildEnd::Describe() const {
  if (timed_out) return "it did not end in time";
  if (signal != 0) return fmt::format("{}: {}", strsignal(signal), errors);
  return fmt::format("it ended with {}: {}", exit_code, errors);
}

ChildEnd InChild(const std::function<std::string()>& work, std::chrono::milliseconds limit) {
  std::array<int, 2> answer{};
  std::array<int, 2> errors{};
  if (pipe(answer.data()) != 0 || pipe(errors.data()) != 0) throw std::runtime_error("pipe");
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("fork");
  if (pid == 0) Work(work, answer[1], errors[1]);
  close(answer[1]);
  close(errors[1]);
  ChildEnd end;
  std::array<pollfd, 2> waits = {pollfd{answer[0], POLLIN, 0}, pollfd{errors[0], POLLIN, 0}};
  const std::array<std::string*, 2> texts = {&end.answer, &end.errors};
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (waits[0].fd >= 0 || waits[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 && !end.timed_out) {
      end.timed_out = true;
      kill(pid, SIGKILL);
    }
    poll(waits.data(), waits.size(), end.timed_out ? -1 : static_cast<int>(left.count()) + 1);
    for (size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].fd < 0 || waits[i].revents == 0) continue;
      std::array<char, 65536> buffer;
      const ssize_t got = read(waits[i].fd, buffer.data(), buffer.size());
      if (got > 0) {
        texts[i]->append(buffer.data(), static_cast<size_t>(got));
      } else if (got == 0 || errno != EINTR) {
        close(waits[i].fd);
        waits[i].fd = -1;
      }
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
  return end;
}

}  // namespace strata::corruption
