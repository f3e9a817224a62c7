// Logger: formatted lines into the host's sink. The library never writes to a stream or file of its
// own.
//
// Levels: ERROR, an operator must act; WARNING, something was lost, refused or repaired; INFO, a
// few lines per start, stop and change of state; DEBUG, per connection or maintenance step; TRACE,
// per request.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

namespace strata {

enum class LogLevel : int { kTrace = 0, kDebug = 1, kInfo = 2, kWarning = 3, kError = 4, kOff = 5 };

// Called from any thread, several at a time. Must not call back into Strata.
using LogSink = std::function<void(LogLevel, std::string_view message)>;

// A value; copies share the sink and the level. Without a sink it is silent.
class Logger {
 public:
  Logger() = default;
  explicit Logger(LogSink sink, LogLevel minimum = LogLevel::kInfo)
      : sink_(std::move(sink)), minimum_(std::make_shared<std::atomic<LogLevel>>(minimum)) {}

  bool Enabled(LogLevel level) const {
    return sink_ && level >= minimum_->load(std::memory_order_relaxed);
  }
  // For this logger and every copy of it, from now on. No effect without a sink.
  void SetMinimum(LogLevel minimum) const {
    if (minimum_) minimum_->store(minimum, std::memory_order_relaxed);
  }

  template <typename... Args>
  void Error(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kError, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Warning(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kWarning, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Info(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kInfo, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Debug(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kDebug, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) const {
    if (Enabled(level)) sink_(level, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  LogSink sink_;
  std::shared_ptr<std::atomic<LogLevel>> minimum_;
};

}  // namespace strata
