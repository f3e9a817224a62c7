#include "bench/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "bench/support.h"

namespace strata::bench {
namespace {

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string ProcFile(pid_t pid, const char* name) {
  return pid == 0 ? fmt::format("/proc/self/{}", name) : fmt::format("/proc/{}/{}", pid, name);
}

// The number behind "KEY:" at the beginning of a line; 0 without one.
uint64_t ProcNumber(pid_t pid, const char* file, const std::string& key) {
  std::ifstream lines(ProcFile(pid, file));
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind(key + ":", 0) == 0) return std::stoull(line.substr(key.size() + 1));
  }
  return 0;
}

}  // namespace

Process::Process(std::vector<std::string> command, std::string output_file)
    : command_(std::move(command)), output_file_(std::move(output_file)) {
  std::vector<char*> arguments;
  for (const std::string& word : command_) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int output = open(output_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (output < 0) Die("cannot write " + output_file_);
  pid_ = fork();
  if (pid_ < 0) Die("cannot fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    dprintf(STDERR_FILENO, "cannot run %s\n", arguments[0]);
    _exit(127);
  }
  close(output);
}

Process::~Process() {
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);
  for (int i = 0; i < 3000; ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  Kill();
}

void Process::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string Process::WaitForLine(const std::string& text, std::chrono::seconds timeout) {
  const auto start = SteadyClock::now();
  while (SteadyClock::now() - start < timeout) {
    // Asked before reading: what it printed last is there when it has ended.
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    std::ifstream lines(output_file_);
    std::string line;
    // A line without its end is still being written.
    while (std::getline(lines, line) && !lines.eof()) {
      if (line.find(text) != std::string::npos) return line;
    }
    if (pid_ < 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Die(fmt::format("{} did not start: \"{}\" is not in what it printed:\n{}", command_.front(), text,
                  FileText(output_file_)));
}

double ProcessCpuSeconds(pid_t pid) {
  clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
  if (pid != 0 && clock_getcpuclockid(pid, &clock) != 0) Die("a measured process has ended");
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

uint64_t ProcessPeakResident(pid_t pid) { return ProcNumber(pid, "status", "VmHWM") * 1024; }

void ForgetPeakResident(pid_t pid) { std::ofstream(ProcFile(pid, "clear_refs")) << "5"; }

uint64_t ProcessWrittenBytes(pid_t pid) { return ProcNumber(pid, "io", "write_bytes"); }

uint64_t DirectoryBytes(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code gone;  // files come and go while a store works
  for (auto it = std::filesystem::recursive_directory_iterator(directory, gone);
       it != std::filesystem::recursive_directory_iterator(); it.increment(gone)) {
    struct stat file {};
    if (lstat(it->path().c_str(), &file) == 0) bytes += static_cast<uint64_t>(file.st_blocks) * 512;
  }
  return bytes;
}

void Settle(const std::string& directory, const std::vector<pid_t>& pids) {
  const int folder = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto start = SteadyClock::now();
  const auto used = [&] {
    double seconds = 0;
    for (const pid_t pid : pids) seconds += ProcessCpuSeconds(pid);
    return seconds;
  };
  for (double before = used(); SteadyClock::now() - start < std::chrono::seconds(20);) {
    syncfs(folder);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const double now = used();
    if (now - before < 0.004) break;  // 2 % of a core: timers only
    before = now;
  }
  close(folder);
}

}  // namespace strata::bench
