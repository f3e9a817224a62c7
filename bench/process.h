// A child process of the benchmark, and what the kernel tells of a process.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace strata::bench {

// Runs a program until the object's end: SIGTERM, and SIGKILL if that takes longer than 30 s. Its
// output goes to a file, which Die() quotes. Killed by the kernel when this process dies.
class Process {
 public:
  Process(std::vector<std::string> command, std::string output_file);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& output_file() const { return output_file_; }
  // The first line of the output that contains `text`; ends the program if it ended or took longer.
  std::string WaitForLine(const std::string& text, std::chrono::seconds timeout);
  void Kill();  // SIGKILL, and waits for its end

 private:
  const std::vector<std::string> command_;
  const std::string output_file_;
  pid_t pid_ = -1;
};

// All threads, user and system, to the nanosecond (clock_getcpuclockid). pid 0: this process.
double ProcessCpuSeconds(pid_t pid);
// VmHWM, in bytes, since the last ForgetPeakResident (which writes 5 to clear_refs).
uint64_t ProcessPeakResident(pid_t pid);
void ForgetPeakResident(pid_t pid);
uint64_t ProcessWrittenBytes(pid_t pid);
// Bytes of blocks of all files below the directory, as du counts.
uint64_t DirectoryBytes(const std::string& directory);
// Waits until dirty pages below `directory` are written (syncfs) and none of the processes used the
// CPU for 200 ms, at most 20 s: what one system left to do must not slow down the next.
void Settle(const std::string& directory, const std::vector<pid_t>& pids);

}  // namespace strata::bench
