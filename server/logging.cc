#include "server/logging.h"

#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <string_view>

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace strata::server {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

// gRPC and protobuf write to functions without a context; the daemon has one log.
Logger& LibraryLog() {
  static Logger* const log = new Logger;  // outlives every thread of gRPC
  return *log;
}

void WriteGrpcLine(gpr_log_func_args* args) {
  const LogLevel level =
      args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
  LibraryLog().Log(level, "gRPC: {}", args->message);
}

// protobuf complains on stderr about texts of clients that are no UTF-8, for example; the call
// fails anyway.
void WriteProtobufLine(google::protobuf::LogLevel level, const char* file, int line,
                       const std::string& message) {
  const bool fatal = level == google::protobuf::LOGLEVEL_FATAL;
  LibraryLog().Log(fatal ? LogLevel::kError : LogLevel::kDebug, "protobuf: {}:{}: {}", file, line,
                   message);
}

}  // namespace

LogLevel LevelOf(const broker::MonitorSettings& settings) {
  if (settings.trace) return LogLevel::kTrace;
  return settings.debug ? LogLevel::kDebug : LogLevel::kInfo;
}

Result<Logger> OpenLog(const broker::MonitorSettings& settings) {
  std::shared_ptr<spdlog::logger> lines;
  try {
    spdlog::sink_ptr sink;
    if (settings.log_file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(settings.log_file,
                                                                    settings.log_size_limit, 1);
    }
    lines = std::make_shared<spdlog::logger>("stratad", std::move(sink));
    lines->set_pattern(settings.log_time ? "%Y-%m-%dT%H:%M:%S.%e%z %-7l %v" : "%-7l %v");
  } catch (const std::exception& e) {
    return Status(Reason::IO_ERROR,
                  "monitor.logFile " + settings.log_file + " cannot be written: " + e.what());
  }
  // Which lines are worth writing is the Logger's decision.
  lines->set_level(spdlog::level::trace);
  lines->flush_on(spdlog::level::info);
  const Logger log(
      [lines](LogLevel level, std::string_view message) {
        lines->log(ToSpdlog(level), spdlog::string_view_t(message.data(), message.size()));
      },
      LevelOf(settings));
  LibraryLog() = log;
  gpr_set_log_function(&WriteGrpcLine);
  google::protobuf::SetLogHandler(&WriteProtobufLine);
  return log;
}

}  // namespace strata::server
