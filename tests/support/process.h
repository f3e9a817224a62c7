// Process: a program that a test starts, talks to, waits for and, at the latest in its destructor,
// kills.
//
//   Outcome done = Run({ProgramPath("strata"), "status"});
//   CHECK(done.exit_code == 0);
//
// Its output is collected by a thread of its own, so that a full pipe never blocks it. It is killed
// when the thread that started it ends (PR_SET_PDEATHSIG), so that a test that ctest kills leaves
// nothing running.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace strata::testing {

struct Outcome {
  int exit_code = -1;      // -1: it did not exit by itself
  int signal = 0;          // that ended it, or 0
  bool timed_out = false;  // it had to be killed
  std::string out;
  std::string err;

  bool ok() const { return exit_code == 0; }
  // For INFO(): everything above.
  std::string ToString() const;
};

struct ProcessOptions {
  std::vector<std::string> argv;  // argv[0] is a path
  // NAME=value, on top of this process's; "NAME" alone removes it.
  std::vector<std::string> environment = {};
  std::string input = {};        // what it reads from standard input, then the end of it
  bool keep_input_open = false;  // ... or more with WriteInput(), until CloseInput()
  std::string output_file = {};  // standard output goes there and is not collected
};

// Methods of one object are called by one thread.
class Process {
 public:
  // Throws std::system_error if the program cannot be started.
  explicit Process(ProcessOptions options);
  // Kills it if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int pid() const { return pid_; }
  void Signal(int signal);

  void WriteInput(std::string_view bytes);
  void CloseInput();
  // Until it has read all that was written to its input; false if it did not in time.
  bool WaitUntilInputIsRead(std::chrono::milliseconds timeout);

  // Standard output and standard error so far, one after the other, as soon as either contains
  // `text`, the process has ended or time is up. Look for `text` in the answer to know.
  std::string WaitForOutput(std::string_view text, std::chrono::milliseconds timeout);

  // Waits for its end and takes what it printed; kills it when time is up. Once.
  Outcome Wait(std::chrono::milliseconds timeout = std::chrono::seconds(60));

 private:
  void Collect(int output, int error);

  int pid_ = -1;
  int input_ = -1;
  int end_ = -1;  // a pidfd: readable once it has ended
  bool waited_ = false;
  std::thread collector_;
  std::thread feeder_;

  Mutex mu_;
  CondVar changed_;
  std::string out_ STRATA_GUARDED_BY(mu_);
  std::string err_ STRATA_GUARDED_BY(mu_);
  bool ended_ STRATA_GUARDED_BY(mu_) = false;
};

// Runs a program to its end.
Outcome Run(ProcessOptions options, std::chrono::milliseconds timeout = std::chrono::seconds(60));
Outcome Run(std::vector<std::string> argv, std::string input = "");

// The program `name` of this build: a neighbour of the test on disk.
std::string ProgramPath(std::string_view name);

}  // namespace strata::testing
