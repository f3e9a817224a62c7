#include "tools/verify_command.h"

#include <fmt/format.h>

#include <optional>

#include <nlohmann/json.hpp>

#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/progress.h"

namespace strata::tools {
namespace {

std::string ReportJson(const std::string& directory, const storage::VerifyReport& report) {
  nlohmann::ordered_json json = {{"directory", directory},
                                 {"ok", report.ok()},
                                 {"channels", report.channels},
                                 {"strata", report.strata},
                                 {"pages", report.pages},
                                 {"batches", report.batches},
                                 {"messages", report.messages},
                                 {"bytes", report.bytes},
                                 {"problem_count", report.problem_count}};
  auto& problems = json["problems"] = nlohmann::ordered_json::array();
  for (const storage::VerifyProblem& problem : report.problems) {
    problems.push_back({{"where", problem.where}, {"what", problem.what}});
  }
  auto& remarks = json["remarks"] = nlohmann::ordered_json::array();
  for (const storage::VerifyProblem& remark : report.remarks) {
    remarks.push_back({{"where", remark.where}, {"what", remark.what}});
  }
  json["unchecked"] = report.unchecked;
  return ToLine(json);
}

}  // namespace

std::string FormatReport(const std::string& directory, const storage::VerifyReport& report,
                         bool json) {
  if (json) return ReportJson(directory, report);
  std::string text;
  for (const storage::VerifyProblem& problem : report.problems) {
    text += fmt::format("{}: {}\n", problem.where, problem.what);
  }
  if (report.problem_count > report.problems.size()) {
    text += fmt::format("... and {} more\n",
                        FormatCount(report.problem_count - report.problems.size()));
  }
  for (const storage::VerifyProblem& remark : report.remarks) {
    text += fmt::format("no harm done: {}: {}\n", remark.where, remark.what);
  }
  for (const std::string& file : report.unchecked) {
    text += fmt::format("not checked: {}: RocksDB writes it, and nothing reads it\n", file);
  }
  return text + fmt::format(
                    "{}: {}; read {} messages in {} batches, {} pages, {} channels and {} "
                    "strata, {}\n",
                    directory,
                    report.ok() ? "no problems" : FormatCount(report.problem_count) + " problems",
                    FormatCount(report.messages), FormatCount(report.batches),
                    FormatCount(report.pages), FormatCount(report.channels),
                    FormatCount(report.strata), FormatBytes(report.bytes));
}

int Verify(const Io& io, const std::string& directory) {
  storage::StoreOptions options;
  options.path = directory;
  options.create_if_missing = false;
  options.clock = &io.clock;
  Result<storage::VerifyReport> report = [&] {
    Progress progress(io, std::nullopt);
    return storage::Verify(options, [&](uint64_t bytes) { progress.Update(bytes); });
  }();
  Status status = report.status();
  if (status.ok()) status = io.out.Append(FormatReport(directory, *report, io.json));
  if (status.ok()) status = io.out.Flush();
  if (!status.ok()) {
    io.Note(FormatError(status));
    return kExitUsage;
  }
  return report->ok() ? kExitOk : kExitFailed;
}

}  // namespace strata::tools
