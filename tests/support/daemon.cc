#include "tests/support/daemon.h"

#include <signal.h>

#include <stdexcept>
#include <string_view>
#include <utility>

namespace strata::testing {
namespace {

// What follows `prefix` in its line of `text`.
std::string LineAfter(std::string_view text, std::string_view prefix) {
  const size_t found = text.find(prefix);
  if (found == std::string_view::npos) return "";
  text.remove_prefix(found + prefix.size());
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace

Daemon::Daemon(DaemonOptions options) {
  const std::string socket = options.data + ".sock";
  std::vector<std::string> argv = {ProgramPath("stratad")};
  std::vector<std::string> settings = {"rocksmq.path=" + options.data, "server.port=-1",
                                       "http.port=-1", "server.unixSocket=" + socket};
  settings.insert(settings.end(), options.settings.begin(), options.settings.end());
  for (const std::string& setting : settings) {
    argv.push_back("--set");
    argv.push_back(setting);
  }
  const auto start = std::chrono::steady_clock::now();
  process_ = std::make_unique<Process>(ProcessOptions{.argv = argv});
  // The last line that it prints once it serves.
  constexpr std::string_view kServing = "http on ";
  const std::string printed = process_->WaitForOutput(kServing, std::chrono::seconds(60));
  startup_ = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - start);
  tcp_ = LineAfter(printed, "listening on 127.");
  if (tcp_.empty() || printed.find(kServing) == std::string::npos) {
    throw std::runtime_error("stratad did not serve; it printed:\n" + printed);
  }
  tcp_ = "127." + tcp_;
  unix_ = "unix:" + socket;
  http_ = LineAfter(printed, kServing);
}

void Daemon::Kill() {
  process_->Signal(SIGKILL);
  process_->Wait();
}

Outcome Daemon::Stop() {
  process_->Signal(SIGTERM);
  return process_->Wait();
}

}  // namespace strata::testing
