// Files in the tree that come from tables in the code. With STRATA_UPDATE_DOCS=1 in the environment
// they are written instead of compared.
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "base/status.h"
#include "broker/config.h"
#include "broker/config_table.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

std::string InTree(const std::string& path) { return std::string(STRATA_SOURCE_DIR "/") + path; }

std::string Read(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void CheckGenerated(const std::string& path, const std::string& wanted) {
  const char* update = std::getenv("STRATA_UPDATE_DOCS");
  if (update != nullptr && *update == '1') std::ofstream(InTree(path)) << wanted;
  INFO(path << " differs from its table; write it anew with STRATA_UPDATE_DOCS=1 test_config");
  CHECK(Read(InTree(path)) == wanted);
}

const char* CodeName(CanonicalCode code) {
  switch (code) {
    case CanonicalCode::kOk:
      return "OK";
    case CanonicalCode::kCancelled:
      return "CANCELLED";
    case CanonicalCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case CanonicalCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case CanonicalCode::kNotFound:
      return "NOT_FOUND";
    case CanonicalCode::kAlreadyExists:
      return "ALREADY_EXISTS";
    case CanonicalCode::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case CanonicalCode::kAborted:
      return "ABORTED";
    case CanonicalCode::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case CanonicalCode::kOutOfRange:
      return "OUT_OF_RANGE";
    case CanonicalCode::kUnimplemented:
      return "UNIMPLEMENTED";
    case CanonicalCode::kInternal:
      return "INTERNAL";
    case CanonicalCode::kUnavailable:
      return "UNAVAILABLE";
    case CanonicalCode::kDataLoss:
      return "DATA_LOSS";
  }
  return "?";
}

const char* FateText(DataFate fate) {
  switch (fate) {
    case DataFate::kNotApplicable:
      return "no data is concerned";
    case DataFate::kNotAppended:
      return "not appended";
    case DataFate::kMayHaveBeenAppended:
      return "may have been appended";
    case DataFate::kAppended:
      return "appended";
  }
  return "?";
}

constexpr char kErrorsHead[] =
    R"(# Errors

Every failed call of Strata has one of these reasons, in process and over the network. They come from one
table, [base/error_catalog.inc](../base/error_catalog.inc), and so does this page: edit the table, then write
the page anew with `STRATA_UPDATE_DOCS=1 build/dev/test_config`.

In C++ a reason is `Status::reason()`. On the wire it is the number in `strata.v1.ErrorDetail`, which every
error status carries in its details; the gRPC code is for clients that know nothing of reasons, and the
status message (`REASON: text`) is for people. Match on the number, never on the text. Numbers never change
their meaning and are never reused.

**What happened to the data.** Every error of an append says one of:

| fate | meaning | sending it again |
|---|---|---|
| not appended | none of it is stored or ever will be | makes no duplicate |
| may have been appended | stored or not, and nobody knows yet | may make a duplicate |
| appended | stored, although the call failed | makes a duplicate |

A reason's usual fate is below; what the error itself carries counts, because it may differ: STORE_FAILED
means "not appended" for an append that came later, and "may have been appended" for one that was on its way.

**Retryable** means that the same call may succeed later with nothing else changed.
)";

// As a heading's anchor is written.
std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string ErrorsPage() {
  std::ostringstream page;
  page << kErrorsHead
       << "\n| # | reason | gRPC code | retryable | usual fate |\n|---|---|---|---|---|\n";
  std::ostringstream sections;
#define STRATA_ERROR(number, name, canonical, retryable, fate, text, what)                   \
  page << "| " << number << " | [" #name "](#" << Lower(#name) << ") | "                     \
       << CodeName(CanonicalCode::canonical) << " | " << (retryable ? "yes" : "no") << " | " \
       << FateText(DataFate::fate) << " |\n";                                                \
  sections << "\n### " #name "\n\n" << text << "\n\nWhat to do: " << what << "\n";
#include "base/error_catalog.inc"
#undef STRATA_ERROR
  return page.str() + sections.str();
}

constexpr char kConfigurationHead[] =
    R"(# Configuration

One YAML file, read by `stratad --config FILE` and by embedded clients (`embedded:DIR?config=FILE`). Every key
has a default; [conf/strata.yaml](../conf/strata.yaml) has all of them with their documentation, ready to be
changed. The names are those of Milvus where Milvus has one: the `rocksmq` section of a `milvus.yaml` works
as it is.

- `STRATA__SECTION__KEY` in `stratad`'s environment counts over the file: `STRATA__SERVER__UNIXSOCKET` is
  `server.unixSocket`. `--set section.key=value` counts over both; the last one of a key counts. Embedded clients
  take neither.
- Of a `milvus.yaml` only `rocksmq` means something here; each line of a `natsmq` section is told what to write
  instead.
- `--check-config` only checks. Unknown keys and wrong values are refused, all of them at once, each with
  its line, the reason and the nearest known name.
- Sizes are bytes, or have a unit: KiB, MiB, GiB, TiB (1024), kB, MB, GB, TB (1000). Times have a unit: us, ms, s,
  min, h, d; a bare number counts in the unit that the key's line names.
- SIGHUP takes over the keys that say so, and logs which; everything else counts from the next start. Where
  something is wrong, nothing is taken over.
- [retention.md](retention.md) explains what the keys of retention and `limits.maxFileStore` do together, with
  examples and how to choose values.

The tables come from [broker/config_table.cc](../broker/config_table.cc), as conf/strata.yaml does; after a
change write both anew with `STRATA_UPDATE_DOCS=1 build/dev/test_config`.
)";

std::string ConfigurationPage() {
  std::string page = kConfigurationHead;
  for (const broker::ConfigSection& section : broker::ConfigSections()) {
    page += "\n## " + section.name + "\n\n" + section.doc +
            "\n\n| key | default | takes | what it does |\n|---|---|---|---|\n";
    for (const broker::ConfigKey& key : broker::ConfigKeys()) {
      if (!key.name.starts_with(section.name + ".")) continue;
      page += "| `" + key.name + "` | `" + key.default_text + "` | " + key.values + " | " +
              key.doc + (key.reloads ? " SIGHUP takes it over." : "") + " |\n";
    }
  }
  return page;
}

TEST_CASE("docs/configuration.md is what the table of keys says") {
  CheckGenerated("docs/configuration.md", ConfigurationPage());
}

// "  type name = 7;". An enum's value has no type, and an option is no field.
bool IsField(const std::string& line) {
  std::istringstream words(line.substr(0, line.find(" = ")));
  std::string type;
  std::string name;
  return line.find(" = ") != std::string::npos && line.find("//") == std::string::npos &&
         words >> type >> name && type != "option";
}

TEST_CASE("every field of strata.v1 is documented") {
  size_t fields = 0;
  for (const char* file : {"types", "log", "admin"}) {
    std::istringstream lines(Read(InTree("proto/strata/v1/" + std::string(file) + ".proto")));
    std::string before;
    for (std::string line; std::getline(lines, line); before = line) {
      if (!IsField(line)) continue;
      ++fields;
      INFO(file << ".proto: " << line);
      CHECK(before.find("// ") != std::string::npos);
    }
  }
  CHECK(fields > 100);
}

TEST_CASE("docs/errors.md is what the error catalog says") {
  CheckGenerated("docs/errors.md", ErrorsPage());
}

TEST_CASE("conf/strata.yaml documents every key with its default") {
  CheckGenerated("conf/strata.yaml", broker::DefaultConfigFile());
}

TEST_CASE("conf/strata.yaml loads, and is the defaults") {
  const auto file = broker::LoadConfig(InTree("conf/strata.yaml"), {});
  const auto defaults = broker::LoadConfig("", {});
  REQUIRE(file.ok());
  REQUIRE(defaults.ok());
  CHECK(file->store.path == defaults->store.path);
  CHECK(file->store.block_cache == defaults->store.block_cache);
  CHECK(file->store.compression_types == defaults->store.compression_types);
  CHECK(file->broker.max_pending_total == defaults->broker.max_pending_total);
  CHECK(file->server.port == defaults->server.port);
  CHECK(file->server.unix_socket == defaults->server.unix_socket);
  CHECK(file->monitor.log_size_limit == defaults->monitor.log_size_limit);
  CHECK(file->broker.retention == defaults->broker.retention);
  CHECK(file->store.max_file_store == defaults->store.max_file_store);
}

}  // namespace
}  // namespace strata
