// The daemon's log: monitor.* as a Logger over spdlog.
#pragma once

#include "base/log.h"
#include "base/status.h"
#include "broker/config.h"

namespace strata::server {

LogLevel LevelOf(const broker::MonitorSettings& settings);

// Lines to stderr, or to monitor.logFile, which is put aside as FILE.1 when it reaches
// monitor.logSizeLimit. IO_ERROR if the file cannot be written. gRPC's own lines go there, too.
Result<Logger> OpenLog(const broker::MonitorSettings& settings);

}  // namespace strata::server
