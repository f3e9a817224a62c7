// Any bytes as a configuration file: they are settings, or a refusal that names the line of each mistake;
// and the same settings given one by one are the same configuration.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "broker/config.h"
#include "broker/config_table.h"
#include "tests/fuzz/fuzz.h"

namespace strata::broker {
namespace {

// A file that LoadConfig can open by its path, in memory.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("strata.yaml", MFD_CLOEXEC)) { FUZZ_CHECK(fd_ >= 0); }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  void Put(std::string_view bytes) const {
    FUZZ_CHECK(ftruncate(fd_, 0) == 0);
    FUZZ_CHECK(pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }

 private:
  const int fd_;
};

// Every field that a key sets.
std::string Describe(const Config& config) {
  std::ostringstream out;
  const auto put = [&out](const auto&... values) { ((out << values << '|'), ...); };
  const storage::StoreOptions& store = config.store;
  put(store.path, store.lock_timeout.count(), static_cast<int>(store.sync), store.page_size,
      store.write_buffer, store.block_cache, store.mmap_reads, store.max_file_store);
  for (const int type : store.compression_types) put(type);
  const BrokerOptions& broker = config.broker;
  put(static_cast<int>(broker.sync), broker.sync_interval.count(), broker.limits.max_payload,
      broker.max_pending_total, broker.tail_cache, broker.producer_expiry.count(),
      static_cast<int>(broker.retention.policy), broker.retention.retention_time,
      broker.retention.retention_size, broker.retention.max_messages,
      broker.retention.truncate_grace, broker.retention.subscription_expiry,
      broker.sweeper.compaction_interval.count(), broker.sweeper.compresses);
  put(config.server.address, config.server.port, config.server.unix_socket,
      config.server.keepalive.count(), config.server.insecure, config.server.max_pending);
  put(config.http.address, config.http.port);
  put(config.monitor.trace, config.monitor.debug, config.monitor.log_time, config.monitor.log_file,
      config.monitor.log_size_limit);
  return out.str();
}

// Bounds that the rest of the program relies on.
void CheckBounds(const Config& config) {
  FUZZ_CHECK(!config.store.path.empty() && config.store.compression_types.size() >= 2);
  FUZZ_CHECK(config.store.page_size > 0 && config.store.write_buffer > 0);
  FUZZ_CHECK(config.server.port == -1 || (config.server.port > 0 && config.server.port < 65536));
  FUZZ_CHECK(config.broker.retention.retention_time >= kNoLimit);
  FUZZ_CHECK(config.broker.retention.retention_size >= kNoLimit);
  // What goes to the system ends at the first zero byte: it would be another path or address.
  for (const std::string* text :
       {&config.store.path, &config.server.address, &config.server.unix_socket,
        &config.http.address, &config.monitor.log_file}) {
    FUZZ_CHECK(text->find('\0') == std::string::npos);
  }
}

// Each line names a place in the file, or is the count of those that are not shown.
void CheckMistakes(const Status& status, const std::string& path, std::string_view file) {
  FUZZ_CHECK(status.reason() == Reason::INVALID_CONFIG);
  // yaml-cpp ends lines at \n and \r; one more for the end of the file.
  const auto lines =
      1 + std::count_if(file.begin(), file.end(), [](char c) { return c == '\n' || c == '\r'; });
  std::istringstream message(status.message());
  int shown = 0;
  for (std::string line; std::getline(message, line); ++shown) {
    FUZZ_CHECK_SAY(std::all_of(line.begin(), line.end(),
                               [](char c) { return static_cast<unsigned char>(c) >= 0x20; }),
                   status.message());
    if (line.starts_with("... and ")) continue;
    const bool from_default = line.starts_with("default: ");
    FUZZ_CHECK_SAY(from_default || line.starts_with(path + ":"), status.message());
    if (from_default) continue;
    const char* begin = line.data() + path.size() + 1;
    long number = 0;
    const auto [end, error] = std::from_chars(begin, line.data() + line.size(), number);
    FUZZ_CHECK_SAY(error == std::errc() && *end == ':', status.message());
    FUZZ_CHECK_SAY(number >= 1 && number <= lines, status.message());
  }
  FUZZ_CHECK(shown > 0 && shown <= 21);
}

std::optional<std::string> TextOf(const YAML::Node& node) {
  if (node.IsScalar()) return node.Scalar();
  if (!node.IsSequence()) return std::nullopt;
  std::string text;
  for (const YAML::Node& item : node) text += (text.empty() ? "" : ",") + item.Scalar();
  return "[" + text + "]";
}

// The settings of a file that was accepted, as --set would have them.
std::vector<std::string> Overrides(const std::string& file) {
  std::vector<std::string> overrides;
  const YAML::Node root = YAML::Load(file);
  for (const auto& entry : root) {
    const std::string name = entry.first.Scalar();
    if (const auto text = TextOf(entry.second)) {
      overrides.push_back(name + "=" + *text);
      continue;
    }
    for (const auto& setting : entry.second) {
      overrides.push_back(name + "." + setting.first.Scalar() + "=" + *TextOf(setting.second));
    }
  }
  return overrides;
}

}  // namespace
}  // namespace strata::broker

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using namespace strata::broker;
  static const MemoryFile file;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  file.Put(bytes);
  const auto config = LoadConfig(file.path(), {});
  if (!config.ok()) {
    CheckMistakes(config.status(), file.path(), bytes);
    return 0;
  }
  CheckBounds(*config);
  const auto again = LoadConfig("", Overrides(bytes));
  FUZZ_CHECK_SAY(again.ok(), again.status().ToString());
  FUZZ_CHECK(Describe(*again) == Describe(*config));
  return 0;
}
