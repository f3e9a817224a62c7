#include "storage/directory.h"

#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <set>
#include <sstream>
#include <vector>

#include "storage/catalog.h"
#include "storage/files.h"

namespace strata::storage {
namespace {

constexpr std::string_view kMagic = "strata store";

bool IsStoreId(std::string_view id) {
  return id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Status Unreadable(const std::string& file, int line, std::string_view what) {
  return Status(Reason::CORRUPTION,
                fmt::format("{}:{}: {}; the file names the store and is not changed "
                            "after its creation: restore it from a backup",
                            file, line, what));
}

Result<Identity> ParseIdentity(const std::string& file, const std::string& text) {
  std::istringstream in(text);
  std::string line;
  if (!std::getline(in, line) || line != kMagic)
    return Unreadable(file, 1, "not a Strata store's identity");
  Identity identity;
  std::string state;
  for (int number = 2; std::getline(in, line); ++number) {
    const size_t space = line.find(' ');
    const std::string key = line.substr(0, space);
    const std::string value = space == std::string::npos ? "" : line.substr(space + 1);
    if (key == "format") {
      const auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), identity.format);
      if (error != std::errc() || end != value.data() + value.size() || identity.format == 0) {
        return Unreadable(file, number, "a format that is not a number");
      }
      // The rest of a newer file may look different: judge it here.
      if (identity.format > kStoreFormat) return identity;
    } else if (key == "id") {
      identity.id = value;
    } else if (key == "state") {
      state = value;
    } else {
      return Unreadable(file, number, "unknown line '" + line + "'");
    }
  }
  if (identity.format == 0) return Unreadable(file, 1, "the line 'format' is missing");
  if (!IsStoreId(identity.id))
    return Unreadable(file, 1, "the line 'id' is missing or not 32 hex digits");
  if (state != "ready" && state != "creating") {
    return Unreadable(file, 1, "the line 'state' is missing or neither 'ready' nor 'creating'");
  }
  identity.ready = state == "ready";
  return identity;
}

bool HasPrefix(const std::vector<std::string>& names, std::string_view prefix) {
  return std::any_of(names.begin(), names.end(),
                     [prefix](const std::string& name) { return name.starts_with(prefix); });
}

bool HasSuffix(const std::vector<std::string>& names, std::string_view suffix) {
  return std::any_of(names.begin(), names.end(),
                     [suffix](const std::string& name) { return name.ends_with(suffix); });
}

// RocksMQ keeps messages and `properties` in one database and everything else in a second one beside it.
bool LooksLikeRocksMq(rocksdb::FileSystem& fs, const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  if (trimmed.ends_with("rdb_data") || trimmed.ends_with("rdb_data_meta_kv")) return true;
  if (IsDirectory(fs, trimmed + "_meta_kv")) return true;
  // Reads CURRENT and MANIFEST, and writes nothing.
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(
      std::shared_ptr<rocksdb::FileSystem>(&fs, [](rocksdb::FileSystem*) {}));
  rocksdb::DBOptions options;
  options.env = env.get();
  std::vector<std::string> families;
  rocksdb::DB::ListColumnFamilies(options, path, &families).PermitUncheckedError();
  return std::find(families.begin(), families.end(), "properties") != families.end();
}

std::string Describe(rocksdb::FileSystem& fs, const std::string& path,
                     const std::vector<std::string>& names) {
  const auto has = [&names](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has("CURRENT") || HasPrefix(names, "MANIFEST-")) {
    if (LooksLikeRocksMq(fs, path)) {
      return "it looks like the database of a RocksMQ (a standalone Milvus)";
    }
    return "it looks like a RocksDB database";
  }
  if (has("jetstream")) return "it looks like the store of a NATS server (JetStream)";
  if (has("meta.properties") || (HasSuffix(names, ".log") && HasSuffix(names, ".index"))) {
    return "it looks like a log directory of Kafka";
  }
  std::string list;
  for (size_t i = 0; i < names.size() && i < 3; ++i) list += (i > 0 ? ", '" : "'") + names[i] + "'";
  return "it holds " + list +
         (names.size() > 3 ? fmt::format(" and {} more", names.size() - 3) : "");
}

// What is there between the first call of a creation and its identity file.
Result<bool> IsInterruptedCreation(rocksdb::FileSystem& fs, const std::string& path,
                                   const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (name == std::string(kIdentityFile) + ".tmp") continue;
    if (name != kDatabaseFolder) return false;
    bool exists = false;
    STRATA_ASSIGN_OR_RETURN(const auto inside, ListDirectory(fs, path + "/" + name, &exists));
    if (!inside.empty() && inside != std::vector<std::string>{kLockFile}) return false;
  }
  return true;
}

}  // namespace

Result<DirectoryState> InspectDirectory(rocksdb::FileSystem& fs, const std::string& path,
                                        Identity* identity) {
  bool exists = false;
  STRATA_ASSIGN_OR_RETURN(auto names, ListDirectory(fs, path, &exists));
  if (!exists) return DirectoryState::kMissing;
  // Every fresh ext4 file system has one.
  std::erase(names, "lost+found");
  const std::string file = path + "/" + kIdentityFile;
  if (std::find(names.begin(), names.end(), kIdentityFile) != names.end()) {
    STRATA_ASSIGN_OR_RETURN(const std::string text, ReadFile(fs, file));
    STRATA_ASSIGN_OR_RETURN(*identity, ParseIdentity(file, text));
    if (identity->format > kStoreFormat) {
      return Status(Reason::FORMAT_TOO_NEW,
                    fmt::format("{}: the store has format {}, this version knows formats up to {}: "
                                "use the version that wrote it. If none did, the file is damaged: "
                                "`strata repair {}` goes by the rest of the store",
                                file, identity->format, kStoreFormat, path));
    }
    return DirectoryState::kStore;
  }
  STRATA_ASSIGN_OR_RETURN(const bool interrupted, IsInterruptedCreation(fs, path, names));
  if (interrupted) return DirectoryState::kUnclaimed;
  return Status(Reason::FOREIGN_DIRECTORY,
                path + " is not a Strata store: " + Describe(fs, path, names));
}

std::string IdentityText(const Identity& identity) {
  return fmt::format("{}\nformat {}\nid {}\nstate {}\n", kMagic, identity.format, identity.id,
                     identity.ready ? "ready" : "creating");
}

Status WriteIdentity(rocksdb::FileSystem& fs, const std::string& path, const Identity& identity) {
  return ReplaceFile(fs, path, kIdentityFile, IdentityText(identity));
}

std::string NewStoreId() {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", random());
  return id;
}

}  // namespace strata::storage
