// A piece of work in a child process: it may crash, abort or hang without taking the test with it.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace strata::corruption {

struct ChildEnd {
  std::string answer;  // what the work returned
  std::string errors;  // what was written to standard error: an assertion's words
  int signal = 0;      // that ended it, or 0
  int exit_code = 0;
  bool timed_out = false;  // it had to be killed

  bool ok() const { return signal == 0 && exit_code == 0 && !timed_out; }
  // "aborted (signal 6): ...", for a person.
  std::string Describe() const;
};

// Forks, and waits. REQUIRES: this process has one thread. What the work throws ends it with code 1 and the text in
// `errors`.
ChildEnd InChild(const std::function<std::string()>& work, std::chrono::milliseconds limit);

}  // namespace strata::corruption
