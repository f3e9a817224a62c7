#include "tests/corruption/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "storage/salvage.h"
#include "tests/corruption/child.h"
#include "tests/corruption/examine.h"

namespace strata::corruption {
namespace {

constexpr std::chrono::seconds kLimit{60};

Kind KindOfTable(const std::string& bytes, const storage::TableLayout& layout, bool end) {
  if (layout.family == "default") return Kind::kCatalogTable;
  const bool compressed =
      std::any_of(layout.blocks.begin(), layout.blocks.end(),
                  [&](const auto& block) { return bytes[block.offset + block.size] == 7; });
  if (compressed) return end ? Kind::kRewrittenEnd : Kind::kRewrittenData;
  return end ? Kind::kTableEnd : Kind::kTableData;
}

// A file, and the part of it that may be hit.
struct Target {
  std::string file;
  uint64_t from = 0;
  uint64_t to = 0;
};

void AddTables(const std::string& path, const std::string& bytes, Kind kind,
               std::vector<Target>* targets) {
  const storage::TableLayout layout = storage::ReadTableLayout(bytes);
  if (kind == Kind::kCatalogTable) {
    if (KindOfTable(bytes, layout, false) == kind) targets->push_back({path, 0, bytes.size()});
    return;
  }
  if (KindOfTable(bytes, layout, false) == kind) targets->push_back({path, 0, layout.data_end});
  if (KindOfTable(bytes, layout, true) == kind)
    targets->push_back({path, layout.data_end, bytes.size()});
}

std::vector<Target> TargetsOf(const Scene& scene, Kind kind) {
  std::vector<Target> targets;
  for (const auto& [path, bytes] : scene.files) {
    const std::string name = path.substr(path.rfind('/') + 1);
    const auto add = [&, path = path, &bytes = bytes](Kind of) {
      if (kind == of && !bytes.empty()) targets.push_back({path, 0, bytes.size()});
    };
    if (name.ends_with(".sst")) AddTables(path, bytes, kind, &targets);
    if (name.ends_with(".log")) add(Kind::kLog);
    if (name.ends_with(".body")) add(Kind::kBodies);
    if (name.starts_with("MANIFEST-")) add(Kind::kManifest);
    if (name.starts_with("OPTIONS-")) add(Kind::kOptions);
    if (name == "CURRENT") add(Kind::kCurrent);
    if (name == "WATERMARK") add(Kind::kWatermark);
    if (name == "STRATA") add(Kind::kIdentity);
  }
  return targets;
}

std::string Encode(const Verdict& verdict) {
  return fmt::format("{} {} {}\n{}", static_cast<int>(verdict.outcome), verdict.kept, verdict.all,
                     verdict.text);
}

Verdict Decode(const std::string& answer) {
  Verdict verdict;
  int outcome = 0;
  if (sscanf(answer.c_str(), "%d %lu %lu", &outcome, &verdict.kept, &verdict.all) != 3) {
    verdict.text = "no answer";
    return verdict;
  }
  verdict.outcome = static_cast<Outcome>(outcome);
  verdict.text = answer.substr(answer.find('\n') + 1);
  return verdict;
}

}  // namespace

const char* NameOf(Kind kind) {
  static constexpr const char* kNames[kKinds] = {"table, data",
                                                 "table, index and footer",
                                                 "rewritten table, data",
                                                 "rewritten, index",
                                                 "catalog table",
                                                 "log",
                                                 "MANIFEST",
                                                 "CURRENT",
                                                 "OPTIONS",
                                                 "WATERMARK",
                                                 "STRATA",
                                                 "bodies"};
  return kNames[static_cast<int>(kind)];
}

std::string Damage::Describe() const {
  const char* store = kSceneNames[static_cast<int>(scene)];
  if (truncate) {
    return fmt::format("{} store, {} ({} bytes) cut to {} bytes{}", store, file, size, at,
                       rewrite_first ? ", then rewritten" : "");
  }
  return fmt::format("{} store, {} ({} bytes): byte {} with mask {:#04x}{}", store, file, size, at,
                     mask, rewrite_first ? ", then rewritten" : "");
}

Damage Choose(testing::Random* random, Kind kind, bool truncate) {
  Damage damage;
  damage.kind = kind;
  damage.truncate = truncate;
  damage.rewrite_first = random->OneIn(2);
  damage.scene = random->OneIn(2) ? SceneKind::kClosed : SceneKind::kRunning;
  const Scene& scene = GetScene(damage.scene);
  const std::vector<Target> targets = TargetsOf(scene, kind);
  if (targets.empty()) throw std::runtime_error(std::string("no file to damage: ") + NameOf(kind));
  const Target& target = targets[random->Below(targets.size())];
  damage.file = target.file;
  damage.size = scene.files.at(target.file).size();
  damage.at = random->Between(target.from, target.to - 1);
  damage.mask = static_cast<uint8_t>(1u << random->Below(8));
  return damage;
}

Verdict Try(const Damage& damage) {
  const Scene& scene = GetScene(damage.scene);
  // For a debugger.
  if (std::getenv("STRATA_CORRUPTION_INLINE") != nullptr) return Examine(scene, damage);
  const ChildEnd end = InChild([&] { return Encode(Examine(scene, damage)); }, kLimit);
  if (end.ok()) return Decode(end.answer);
  Verdict verdict;
  verdict.aborted = true;
  verdict.text = end.Describe();
  return verdict;
}

}  // namespace strata::corruption
