// One trial: damage one place of a store, and see what the store, verify and repair make of it.
#pragma once

#include <cstdint>
#include <string>

#include "tests/corruption/scene.h"
#include "tests/support/random.h"

namespace strata::corruption {

// Kinds of files, the larger ones by what is hit.
enum class Kind {
  kTableData,      // data blocks of a stratum
  kTableEnd,       // properties, index and footer of one
  kRewrittenData,  // the same of a stratum that was rewritten, compressed
  kRewrittenEnd,
  kCatalogTable,
  kLog,
  kManifest,
  kCurrent,
  kOptions,
  kWatermark,
  kIdentity,
  kBodies,
};
inline constexpr int kKinds = 12;
const char* NameOf(Kind kind);

struct Damage {
  SceneKind scene = SceneKind::kClosed;
  Kind kind = Kind::kLog;
  std::string file;       // below the store's directory
  bool truncate = false;  // at `at`; otherwise `mask` is flipped there
  uint64_t at = 0;
  uint8_t mask = 0;
  uint64_t size = 0;           // of the sound file
  bool rewrite_first = false;  // strata are rewritten before anything is read

  std::string Describe() const;
};
// A random place of a random file of `kind`.
Damage Choose(testing::Random* random, Kind kind, bool truncate);

enum class Outcome {
  kAvailable,  // everything can be read as before, and verify named the damage
  kSilent,     // everything can be read as before, and verify named nothing: the bytes say nothing
  kContained,  // gaps, and nothing wrong
  kRefused,    // not opened, naming file and remedy; repaired and read
  kViolation,
};
inline constexpr int kOutcomes = 5;

struct Verdict {
  Outcome outcome = Outcome::kViolation;
  uint64_t kept = 0;  // messages that can be read in the end, repaired if need be
  uint64_t all = 0;   // that could before
  bool aborted = false;
  std::string text;  // why it is a violation; what the store said
};
// Runs it in a child process with a time limit.
Verdict Try(const Damage& damage);

}  // namespace strata::corruption
