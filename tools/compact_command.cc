#include "tools/compact_command.h"

#include <fmt/format.h>

#include <string>

#include <nlohmann/json.hpp>

#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/progress.h"

namespace strata::tools {
namespace {

// Return to the first column and erase what the line had.
constexpr const char* kClearLine = "\r\x1b[K";

double Ratio(const CompactionInfo& info) {
  return static_cast<double>(info.bytes_after) / static_cast<double>(info.bytes_before);
}

std::string ToJson(const CompactionInfo& info) {
  nlohmann::ordered_json json = {{"running", info.running},
                                 {"strata_total", info.strata_total},
                                 {"strata_done", info.strata_done},
                                 {"bytes_before", info.bytes_before},
                                 {"bytes_after", info.bytes_after}};
  if (info.bytes_before > 0) json["ratio"] = Ratio(info);
  if (info.started_at != 0) json["started_at"] = FormatTime(info.started_at);
  if (info.finished_at != 0) json["finished_at"] = FormatTime(info.finished_at);
  if (!info.error.empty()) json["error"] = info.error;
  return ToLine(json);
}

std::string ToText(const CompactionInfo& info, bool waited) {
  if (info.running) {
    return fmt::format("{}, {} of {} strata done\n",
                       waited ? "no longer waiting for the compaction"
                              : "compacting (strata compact --wait waits for it)",
                       FormatCount(info.strata_done), FormatCount(info.strata_total));
  }
  if (info.strata_done == 0) {
    return info.error.empty()
               ? "nothing to compact: every sealed stratum is as small as it can be\n"
               : "nothing was compacted\n";
  }
  const std::chrono::microseconds took(info.finished_at - info.started_at);
  std::string text = fmt::format("compacted {} of {} strata in {}: {} before, {} after",
                                 FormatCount(info.strata_done), FormatCount(info.strata_total),
                                 FormatDuration(took), FormatBytes(info.bytes_before),
                                 FormatBytes(info.bytes_after));
  if (info.bytes_before > 0) text += fmt::format(", ratio {:.2f}", Ratio(info));
  if (info.bytes_before > info.bytes_after) {
    text += fmt::format(", {} saved", FormatBytes(info.bytes_before - info.bytes_after));
  }
  return text + '\n';
}

std::string ProgressLine(const CompactionInfo& info) {
  const double share = info.strata_total == 0 ? 0
                                              : static_cast<double>(info.strata_done) /
                                                    static_cast<double>(info.strata_total);
  std::string line = fmt::format("{}  {} of {} strata", ProgressBar(share),
                                 FormatCount(info.strata_done), FormatCount(info.strata_total));
  if (info.bytes_before > 0) {
    line +=
        fmt::format("  {} -> {}", FormatBytes(info.bytes_before), FormatBytes(info.bytes_after));
  }
  return line;
}

// Until it has ended, or the user has had enough.
Result<CompactionInfo> WaitForEnd(Client& client, const Io& io, const CompactOptions& options,
                                  CompactionInfo info) {
  bool visible = false;
  Status status;
  while (info.running && status.ok()) {
    if (io.err_is_terminal) io.Note(kClearLine + ProgressLine(info));
    visible = io.err_is_terminal;
    if (!io.stop.SleepFor(options.interval)) break;
    Result<CompactionInfo> next = client.DescribeCompaction();
    status = next.status();
    if (status.ok()) info = *std::move(next);
  }
  if (visible) io.Note(kClearLine);
  if (!status.ok()) return status;
  return info;
}

}  // namespace

Result<int> Compact(Client& client, const Io& io, const CompactOptions& options) {
  STRATA_ASSIGN_OR_RETURN(CompactionInfo info, client.StartCompaction());
  if (options.wait) {
    STRATA_ASSIGN_OR_RETURN(info, WaitForEnd(client, io, options, info));
  }
  STRATA_RETURN_IF_ERROR(io.out.Append(io.json ? ToJson(info) : ToText(info, options.wait)));
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  if (options.wait && info.running) return io.stop.exit_code();
  if (info.running || info.error.empty()) return kExitOk;
  io.Note(fmt::format("strata: the compaction ended early: {}\n", EscapeText(info.error)));
  return kExitFailed;
}

}  // namespace strata::tools
