#include "storage/verify_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "storage/files.h"
#include "storage/salvage.h"
#include "storage/watermark.h"

namespace strata::storage {
namespace {

using OnFinding = std::function<void(std::string where, std::string what)>;

std::string At(const FileDamage& damage) {
  return fmt::format("at byte {}: {}", damage.offset, damage.what);
}

void CheckTable(const std::string& name, std::string_view file, const FileFindings& findings) {
  const TableLayout layout = ReadTableLayout(file);
  const std::string where =
      layout.family.empty() ? "file " + name : layout.family + ", file " + name;
  for (const FileDamage& each : layout.damage) findings.problem(where, At(each));
  for (const BlockHandle& block : layout.blocks) {
    if (ReadTableBlock(file, block, nullptr)) continue;
    findings.problem(where,
                     fmt::format("at byte {}: a block does not match its checksum", block.offset));
  }
}

void CheckLog(const std::string& name, const std::vector<FileDamage>& damage,
              const FileFindings& findings) {
  for (const FileDamage& each : damage) {
    (each.torn ? findings.remark : findings.problem)(name, At(each));
  }
}

}  // namespace

std::vector<std::string> CheckFiles(rocksdb::FileSystem& fs, const std::string& path,
                                    const Identity& identity, const FileFindings& findings) {
  std::vector<std::string> unchecked;
  const std::string db_path = path + "/" + kDatabaseFolder;
  bool exists = false;
  const auto names = ListDirectory(fs, db_path, &exists);
  if (!names.ok()) {
    findings.problem(db_path, names.status().message());
    return unchecked;
  }
  const auto current = ReadFile(fs, db_path + "/CURRENT");
  for (const std::string& name : *names) {
    const bool table = name.ends_with(".sst");
    const bool log = name.ends_with(".log");
    const bool manifest = current.ok() && *current == name + "\n";
    if (name.starts_with("OPTIONS-")) unchecked.push_back(name);
    if (!table && !log && !manifest) continue;
    const auto file = ReadFile(fs, db_path + "/" + name);
    if (!file.ok()) {
      findings.problem("file " + name, file.status().message());
      continue;
    }
    if (table) CheckTable(name, *file, findings);
    if (log) CheckLog("log " + name, ReadLog(*file, [](std::string_view) {}).damage, findings);
    if (manifest) CheckLog(name, ReadManifest(*file).damage, findings);
    findings.progress(file->size());
  }
  const auto text = ReadFile(fs, path + "/" + kIdentityFile);
  if (text.ok() && *text != IdentityText(identity)) {
    findings.remark(kIdentityFile, "it can be read, but is not as it was written");
  }
  for (const std::string& each : Watermark::Damage(fs, path + "/" + kWatermarkFile)) {
    findings.remark("watermark", each);
  }
  return unchecked;
}

}  // namespace strata::storage
