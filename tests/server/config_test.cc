#include "broker/config.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "broker/config_table.h"
#include "broker/config_values.h"
#include "broker/memory_limit.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::broker {
namespace {

using testing::TempDir;

constexpr int64_t kMinuteMicros = 60'000'000;
constexpr int64_t kDayMicros = 24 * 60 * kMinuteMicros;

std::string WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
  return path;
}

// Loads `text` as a file that is called strata.yaml.
Result<Config> Load(const std::string& text, const std::vector<std::string>& overrides = {}) {
  TempDir dir;
  return LoadConfig(WriteFile(dir / "strata.yaml", text), overrides);
}

// The mistakes in `text`, one per line, with the file's folder taken away.
std::string Mistakes(const std::string& text, const std::vector<std::string>& overrides = {}) {
  TempDir dir;
  const auto config = LoadConfig(WriteFile(dir / "strata.yaml", text), overrides);
  if (config.ok()) return "";
  CHECK(config.status().reason() == Reason::INVALID_CONFIG);
  std::string message = config.status().message();
  const std::string folder = dir.path() + "/";
  for (size_t at; (at = message.find(folder)) != std::string::npos;) {
    message.erase(at, folder.size());
  }
  return message;
}

TEST_CASE("without a file everything has its documented default") {
  const auto config = LoadConfig("", {});
  REQUIRE(config.ok());
  CHECK(config->store.path == "/var/lib/strata");
  CHECK(config->store.page_size == 67108864);
  CHECK(config->store.compression_types == std::vector<int>{0, 0, 7, 7, 7});
  CHECK(config->store.write_buffer == 64u << 20);
  CHECK(config->store.lock_timeout == std::chrono::milliseconds(4000));
  CHECK(config->store.max_file_store == 0);
  CHECK(config->store.sync == SyncPolicy::kAlways);
  CHECK(config->broker.sync == SyncPolicy::kAlways);
  CHECK(config->broker.sync_interval == std::chrono::milliseconds(10));
  CHECK(config->broker.limits.max_payload == 16777216);
  CHECK(config->broker.max_pending_total == 67108864);
  CHECK(config->broker.tail_cache == 32u << 20);
  CHECK(config->server.max_pending == 67108864);
  CHECK(config->server.address == "127.0.0.1");
  CHECK(config->server.port == 7470);
  CHECK(config->server.unix_socket.empty());
  CHECK(config->server.keepalive == std::chrono::seconds(10));
  CHECK_FALSE(config->server.insecure);
  CHECK(config->http.address == "127.0.0.1");
  CHECK(config->http.port == 7471);
  CHECK(config->monitor.log_time);
  CHECK(config->monitor.log_file.empty());
  CHECK(config->monitor.log_size_limit == 512u << 20);
  CHECK(config->broker.retention.policy == RetentionPolicy::kAcked);
  CHECK(config->broker.retention.retention_time == 3 * kDayMicros);
  CHECK(config->broker.retention.retention_size == int64_t{8} << 30);
  CHECK(config->broker.retention.max_messages == kNoLimit);
  CHECK(config->broker.retention.truncate_grace == 0);
  CHECK(config->broker.retention.subscription_expiry == 0);
  CHECK(config->broker.producer_expiry == std::chrono::hours(7 * 24));
  CHECK(config->broker.sweeper.compaction_interval == std::chrono::hours(24));
  CHECK(config->broker.sweeper.compresses);
}

TEST_CASE("how long producers are remembered takes a time, or 0 for ever") {
  CHECK(Load("producers:\n  expiry: 36h\n")->broker.producer_expiry == std::chrono::hours(36));
  CHECK(Load("producers:\n  expiry: 0\n")->broker.producer_expiry.count() == 0);
  CHECK(Mistakes("producers:\n  expiry: never\n") != "");
}

TEST_CASE("the defaults of the configuration are those of the library's own options") {
  const auto config = LoadConfig("", {});
  REQUIRE(config.ok());
  const storage::StoreOptions store;
  CHECK(config->store.page_size == store.page_size);
  CHECK(config->store.write_buffer == store.write_buffer);
  CHECK(config->store.compression_types == store.compression_types);
  CHECK(config->store.lock_timeout == store.lock_timeout);
  CHECK(config->store.mmap_reads == store.mmap_reads);
  CHECK(LoadConfig("", {"storage.mmapReads=true"})->store.mmap_reads);
  const BrokerOptions broker;
  CHECK(config->broker.sync == broker.sync);
  CHECK(config->broker.sync_interval == broker.sync_interval);
  CHECK(config->broker.limits.max_payload == broker.limits.max_payload);
  CHECK(config->broker.max_pending_total == broker.max_pending_total);
  CHECK(config->broker.tail_cache == broker.tail_cache);
  CHECK(config->broker.sweeper.compaction_interval == broker.sweeper.compaction_interval);
  CHECK(config->broker.sweeper.compresses == broker.sweeper.compresses);
}

TEST_CASE("an empty file, a file of comments and an empty section are the defaults") {
  for (const char* text : {"", "# nothing\n", "server:\n", "server:\n  # port: 1\nhttp:\n"}) {
    INFO(text);
    const auto config = Load(text);
    REQUIRE(config.ok());
    CHECK(config->server.port == 7470);
  }
}

TEST_CASE("the rocksmq section of a milvus.yaml works as it is") {
  const char* milvus23 = R"(rocksmq:
  # The path where the message is stored in rocksmq
  # please adjust in embedded Milvus: /tmp/milvus/rdb_data
  path: /var/lib/milvus/rdb_data
  lrucacheratio: 0.06 # rocksdb cache memory ratio
  rocksmqPageSize: 67108864 # 64 MB, 64 * 1024 * 1024 bytes, The size of each page of messages in rocksmq
  retentionTimeInMinutes: 4320 # 3 days, 3 * 24 * 60 minutes, The retention time of the message in rocksmq.
  retentionSizeInMB: 8192 # 8 GB, 8 * 1024 MB, The retention size of the message in rocksmq.
  compactionInterval: 86400 # 1 day, trigger rocksdb compaction every day to remove deleted data
  compressionTypes: 0,0,7,7,7 # compaction compression type, only support use 0,7.
)";
  const auto config = Load(milvus23);
  REQUIRE(config.ok());
  CHECK(config->store.path == "/var/lib/milvus/rdb_data");
  CHECK(config->store.compression_types == std::vector<int>{0, 0, 7, 7, 7});
  CHECK(config->broker.retention.retention_time == 4320 * kMinuteMicros);
  CHECK(config->broker.retention.retention_size == int64_t{8192} << 20);
  CHECK(config->broker.sweeper.compaction_interval == std::chrono::hours(24));

  const char* milvus22 = R"(rocksmq:
  path: /var/lib/milvus/rdb_data
  lrucacheratio: 0.06
  rocksmqPageSize: 2147483648 # 2 GB
  retentionTimeInMinutes: 10080
  retentionSizeInMB: -1
  compactionInterval: 86400
  compressionTypes: [0, 0, 7, 7, 7]
)";
  const auto older = Load(milvus22);
  REQUIRE(older.ok());
  CHECK(older->store.page_size == 2147483648);
  CHECK(older->broker.retention.retention_time == 10080 * kMinuteMicros);
  CHECK(older->broker.retention.retention_size == kNoLimit);
  CHECK(older->store.compression_types == std::vector<int>{0, 0, 7, 7, 7});
}

TEST_CASE("each rule of retention reaches the broker in its own unit") {
  const auto config = Load(
      "rocksmq:\n  retentionTimeInMinutes: 90\n  retentionSizeInMB: 3\n"
      "retention:\n  maxMsgs: 1000\n  truncateGrace: 2h\n  subscriptionExpiry: 7d\n");
  REQUIRE(config.ok());
  const retention::Rules& rules = config->broker.retention;
  CHECK(rules.retention_time == 90 * kMinuteMicros);
  CHECK(rules.retention_size == 3 << 20);
  CHECK(rules.max_messages == 1000);
  CHECK(rules.truncate_grace == 120 * kMinuteMicros);
  CHECK(rules.subscription_expiry == 7 * kDayMicros);
}

TEST_CASE("minus one turns a rule off, and a rule may be nothing at all") {
  const auto off = Load("", {"rocksmq.retentionTimeInMinutes=-1", "rocksmq.retentionSizeInMB=-1",
                             "retention.maxMsgs=-1", "retention.subscriptionExpiry=off"});
  REQUIRE(off.ok());
  CHECK(off->broker.retention == retention::Rules{});
  const auto nothing = Load("", {"rocksmq.retentionTimeInMinutes=0", "rocksmq.retentionSizeInMB=0",
                                 "retention.maxMsgs=0"});
  REQUIRE(nothing.ok());
  CHECK(nothing->broker.retention.retention_time == 0);
  CHECK(nothing->broker.retention.retention_size == 0);
  CHECK(nothing->broker.retention.max_messages == 0);
}

TEST_CASE("each policy reaches the broker, and a misspelt one is told the nearest") {
  for (const auto& [text, policy] :
       {std::pair{"acked", RetentionPolicy::kAcked}, std::pair{"limits", RetentionPolicy::kLimits},
        std::pair{"truncated", RetentionPolicy::kTruncated}}) {
    const auto config = Load("", {std::string("retention.policy=") + text});
    REQUIRE(config.ok());
    CHECK(config->broker.retention.policy == policy);
  }
  CHECK(Mistakes("retention:\n  policy: limit\n") ==
        "strata.yaml:2: retention.policy: 'limit' is none of acked, limits, truncated; did you "
        "mean limits?");
}

TEST_CASE("rewriting compresses where the last level does so otherwise than the first") {
  for (const auto& [types, compresses] :
       {std::pair{"0,7", true}, std::pair{"0,0,7,7,7", true}, std::pair{"0,7,0", false},
        std::pair{"7,7", false}, std::pair{"7,0", true}}) {
    INFO(types);
    const auto config = Load("", {std::string("rocksmq.compressionTypes=") + types});
    REQUIRE(config.ok());
    CHECK(config->broker.sweeper.compresses == compresses);
  }
}

TEST_CASE("a disk budget is nothing, or enough for a store") {
  CHECK(Load("", {"limits.maxFileStore=0"})->store.max_file_store == 0);
  CHECK(Load("", {"limits.maxFileStore=16MiB"})->store.max_file_store == 16u << 20);
  CHECK(Load("", {"limits.maxFileStore=17179869184"})->store.max_file_store == 16ull << 30);
  CHECK(Mistakes("limits:\n  maxFileStore: 16777215\n") ==
        "strata.yaml:2: limits.maxFileStore: '16777215' is too little for a store; give it 16MiB "
        "or more, or 0 for what it holds at the start and 80 % of what is free then");
  CHECK(Mistakes("limits:\n  maxFileStore: 1025TiB\n").find("it takes 0 to 1024TiB") !=
        std::string::npos);
}

TEST_CASE("an unknown key is refused with its line and the nearest name") {
  CHECK(Mistakes("rocksmq:\n  path: /x\n  lruCacheRatio: 0.1\n") ==
        "strata.yaml:3: rocksmq.lruCacheRatio: unknown key; did you mean rocksmq.lrucacheratio?");
  CHECK(Mistakes("server:\n  prot: 1\n") ==
        "strata.yaml:2: server.prot: unknown key; did you mean server.port?");
  CHECK(Mistakes("\n\nsevrer:\n  port: 1\n") ==
        "strata.yaml:3: sevrer: unknown section or key; did you mean server?");
  // Right name, wrong section.
  CHECK(Mistakes("limits:\n  unixSocket: /s\n") ==
        "strata.yaml:2: limits.unixSocket: unknown key; did you mean server.unixSocket?");
  CHECK(Mistakes("flux:\n  capacitor: [a]\n") ==
        "strata.yaml:1: flux: unknown section or key; conf/strata.yaml has them all");
}

TEST_CASE("every mistake is told at once, each with its place and reason") {
  CHECK(
      Mistakes("durability:\n  sync: allways\n  syncInterval: 10\n"
               "server:\n  port: 70000\n  insecure: maybe\n"
               "limits:\n  maxPayload: 12q\n",
               {"server.keepalive=0s", "nonsense", "=1", "server.prt=1"}) ==
      "strata.yaml:2: durability.sync: 'allways' is none of always, interval, none; did you mean "
      "always?\n"
      "strata.yaml:3: durability.syncInterval: '10' is not a time; write a number and us, ms, s, "
      "min, h or d, as in 10ms\n"
      "strata.yaml:5: server.port: '70000' is not a port; it takes 1 to 65535, or -1 for a free "
      "one\n"
      "strata.yaml:6: server.insecure: 'maybe' is not true or false\n"
      "strata.yaml:8: limits.maxPayload: '12q' is not a size; write bytes, or a unit as in 64MiB\n"
      "--set server.keepalive=0s: server.keepalive: '0s' is out of range, it takes 1s to 1h\n"
      "--set nonsense: is not of the form key=value, as in server.port=7470\n"
      "--set =1: is not of the form key=value, as in server.port=7470\n"
      "--set server.prt=1: server.prt: unknown key; did you mean server.port?");
}

TEST_CASE("a file of another kind does not drown its reason in mistakes") {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "unheardOf" + std::to_string(i) + ": 1\n";
  const std::string mistakes = Mistakes(text);
  CHECK(std::count(mistakes.begin(), mistakes.end(), '\n') == 20);
  CHECK(mistakes.find("... and 10 more") != std::string::npos);
}

TEST_CASE("a key given twice is refused, in one section and in a section pasted again") {
  CHECK(Mistakes("server:\n  port: 1\n  port: 2\n") ==
        "strata.yaml:3: server.port: given twice; the first is at strata.yaml:2");
  CHECK(Mistakes("server:\n  port: 1\nhttp:\nserver:\n  port: 2\n") ==
        "strata.yaml:4: server: given twice; the first is at strata.yaml:1");
}

TEST_CASE("wrong shapes are refused: no value, a value for a section, a section for a value") {
  CHECK(
      Mistakes("server:\n  port:\n") ==
      "strata.yaml:2: server.port: has no value; it takes 1 to 65535, or -1 for a free one, which "
      "is printed");
  CHECK(Mistakes("server: 7\n") ==
        "strata.yaml:1: server: is a section; its keys go below it, indented");
  CHECK(Mistakes("server:\n  port:\n    a: 1\n")
            .find("strata.yaml:2: server.port: is not a section") == 0);
  CHECK(Mistakes("- a\n- b\n") == "strata.yaml:1: not a YAML mapping of sections");
  CHECK(Mistakes("server:\n  port: [1\n").find("strata.yaml:3: not valid YAML: ") == 0);
  CHECK(Mistakes("server:\n  port: 1\n bad\n").find("not valid YAML") != std::string::npos);
}

TEST_CASE("a zero byte in a value is refused: the system would see a shorter path or address") {
  CHECK(Mistakes("http:\n  address: \"127.0.0.1\\0x\"\n") ==
        "strata.yaml:2: http.address: has a zero byte");
  CHECK(Mistakes("rocksmq:\n  path: \"/data\\0x\"\n") ==
        "strata.yaml:2: rocksmq.path: has a zero byte");
}

TEST_CASE("a mistake is one line, also where a value or a key has several") {
  CHECK(Mistakes("server:\n  keepalive: \"1\\n2\"\n") ==
        "strata.yaml:2: server.keepalive: '1\\x0a2' is not a time; write a number and us, ms, s, "
        "min, h or d, as in 10ms");
  CHECK(Mistakes("\"some\\nthing\": 1\n") ==
        "strata.yaml:1: some\\x0athing: unknown section or key; conf/strata.yaml has them all");
}

TEST_CASE("a file that cannot be read is named") {
  TempDir dir;
  const auto config = LoadConfig(dir / "missing.yaml", {});
  REQUIRE_FALSE(config.ok());
  CHECK(config.status().reason() == Reason::INVALID_CONFIG);
  CHECK(config.status().message().find(dir / "missing.yaml") == 0);
  CHECK_FALSE(LoadConfig(dir.path(), {}).ok());
}

TEST_CASE("overrides beat the file, and the last one of a key counts") {
  const auto config = Load("server:\n  port: 7000\n",
                           {"server.port=7001", "server.port=-1", "rocksmq.compressionTypes=0,7"});
  REQUIRE(config.ok());
  CHECK(config->server.port == -1);
  CHECK(config->store.compression_types == std::vector<int>{0, 7});
  // A value may contain the sign.
  CHECK(Load("", {"rocksmq.path=/a=b"})->store.path == "/a=b");
}

TEST_CASE("the environment counts over the file and under overrides, if it is given") {
  TempDir dir;
  const std::string path = WriteFile(dir / "strata.yaml", "server:\n  port: 7001\n");
  const std::vector<std::string> environment = {
      "STRATA__SERVER__PORT=7002", "HOME=/root", "STRATA_SERVER=127.0.0.1:1",
      "STRATA_SERVER_PORT=tcp://10.0.0.1:7470", "STRATA__ROCKSMQ__RETENTIONTIMEINMINUTES=7"};
  CHECK(LoadConfig(path, {})->server.port == 7001);
  const auto config = LoadConfig(path, {}, environment);
  REQUIRE(config.ok());
  CHECK(config->server.port == 7002);
  CHECK(config->broker.retention.retention_time == 7 * kMinuteMicros);
  CHECK(LoadConfig(path, {"server.port=7003"}, environment)->server.port == 7003);
}

TEST_CASE("sizes and times are understood with their units") {
  const auto config = Load(
      "limits:\n  maxPayload: 64MiB\n  tailCache: 32 KiB\n  writeBuffer: 2GiB\n  maxPending: 1MB\n"
      "  maxPendingTotal: 0x\n");
  CHECK_FALSE(config.ok());
  const auto sizes = Load(
      "limits:\n  maxPayload: 64MiB\n  tailCache: 32 KiB\n  writeBuffer: 2GiB\n  maxPending: "
      "1MB\n");
  REQUIRE(sizes.ok());
  CHECK(sizes->broker.limits.max_payload == 64u << 20);
  CHECK(sizes->broker.tail_cache == 32u << 10);
  CHECK(sizes->store.write_buffer == 2ull << 30);
  CHECK(sizes->server.max_pending == 1'000'000);
  const auto times = Load(
      "durability:\n  syncInterval: 1500us\nserver:\n  initializeTimeout: 250\n  keepalive: 2min\n"
      "rocksmq:\n  compactionInterval: 1h\nretention:\n  subscriptionExpiry: 7d\n");
  REQUIRE(times.ok());
  CHECK(times->broker.sync_interval == std::chrono::microseconds(1500));
  CHECK(times->store.lock_timeout == std::chrono::milliseconds(250));
  CHECK(times->server.keepalive == std::chrono::minutes(2));
  CHECK(times->broker.sweeper.compaction_interval == std::chrono::hours(1));
  CHECK(times->broker.retention.subscription_expiry == 7 * kDayMicros);
}

TEST_CASE("numbers that do not fit are refused instead of wrapping") {
  for (const char* value :
       {"99999999999999999999", "18446744073709551615TiB", "-1", "1.5MiB", ""}) {
    INFO(value);
    CHECK_FALSE(Load("", {std::string("limits.tailCache=") + value}).ok());
  }
  CHECK_FALSE(Load("", {"durability.syncInterval=99999999999999999d"}).ok());
  CHECK_FALSE(Load("", {"rocksmq.retentionSizeInMB=99999999999999999"}).ok());
  CHECK_FALSE(Load("", {"rocksmq.lrucacheratio=nan"}).ok());
  CHECK_FALSE(Load("", {"rocksmq.compressionTypes=0,1"}).ok());
  CHECK_FALSE(Load("", {"rocksmq.compressionTypes=0"}).ok());
  CHECK_FALSE(Load("", {"rocksmq.compressionTypes=0,,7"}).ok());
}

TEST_CASE("the sync policy reaches the broker and the store alike") {
  for (const auto& [text, policy] :
       {std::pair{"always", SyncPolicy::kAlways}, std::pair{"interval", SyncPolicy::kInterval},
        std::pair{"none", SyncPolicy::kNone}}) {
    const auto config = Load("", {std::string("durability.sync=") + text});
    REQUIRE(config.ok());
    CHECK(config->broker.sync == policy);
    CHECK(config->store.sync == policy);
  }
}

TEST_CASE("an address beyond this machine needs server.insecure") {
  for (const char* address : {"0.0.0.0", "192.168.1.5", "::", "[::]", "2001:db8::1"}) {
    INFO(address);
    const std::string set = std::string("server.address=") + address;
    const std::string mistakes = Mistakes("", {set});
    CHECK(mistakes.find("--set " + set + ": server.address: ") == 0);
    CHECK(mistakes.find("server.insecure: true") != std::string::npos);
    CHECK(Load("", {set, "server.insecure=true"}).ok());
  }
  for (const char* address : {"127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"}) {
    INFO(address);
    CHECK(Load("", {std::string("server.address=") + address}).ok());
  }
  CHECK(Mistakes("server:\n  address: example.com\n") ==
        "strata.yaml:2: server.address: 'example.com' is not an IP address of this machine, "
        "localhost or none");
}

TEST_CASE("TCP can be turned off only with a Unix socket in its place") {
  CHECK(Mistakes("server:\n  address: none\n").find("nobody could connect") != std::string::npos);
  const auto config = Load("server:\n  address: none\n  unixSocket: /run/strata.sock\n");
  REQUIRE(config.ok());
  CHECK(config->server.address.empty());
  CHECK(config->server.unix_socket == "/run/strata.sock");
  CHECK_FALSE(Load("", {"server.unixSocket=/" + std::string(107, 'x')}).ok());
  CHECK(Load("", {"server.unixSocket=/" + std::string(106, 'x')}).ok());
}

TEST_CASE("every key's default is a value that the key takes, in a section that is known") {
  const auto& sections = ConfigSections();
  for (const ConfigKey& key : ConfigKeys()) {
    INFO(key.name);
    Config config;
    CHECK(key.set(key.default_text, &config).ok());
    CHECK_FALSE(key.doc.empty());
    const std::string section = key.name.substr(0, key.name.find('.'));
    CHECK(std::count_if(sections.begin(), sections.end(),
                        [&](const ConfigSection& s) { return s.name == section; }) == 1);
  }
}

TEST_CASE("the nearest name ignores case, allows for slips and gives up on strangers") {
  const std::vector<std::string> names = {"server.port", "server.address", "http.port"};
  CHECK(NearestName("Server.Port", names) == "server.port");
  CHECK(NearestName("server.adress", names) == "server.address");
  CHECK(NearestName("tcp.port", names) == "http.port");
  CHECK(NearestName("monitor.address", names) == "server.address");
  CHECK(NearestName("etcd.endpoints", names).empty());
}

TEST_CASE("sizes and times print as short as they are exact") {
  CHECK(FormatBytes(67108864) == "64MiB");
  CHECK(FormatBytes(1000) == "1000");
  CHECK(FormatBytes(0) == "0");
  CHECK(FormatBytes(1ull << 40) == "1TiB");
  CHECK(FormatDuration(Micros(10'000)) == "10ms");
  CHECK(FormatDuration(Micros(1'500)) == "1500us");
  CHECK(FormatDuration(Micros(0)) == "0");
  CHECK(FormatDuration(Micros(86'400'000'000)) == "1d");
}

// --- The memory of which rocksmq.lrucacheratio is a share ---

// A machine's /proc and /sys in a folder.
class FakeMachine {
 public:
  void Put(const std::string& path, const std::string& text) {
    const std::string full = dir_.path() + path;
    std::filesystem::create_directories(std::filesystem::path(full).parent_path());
    std::ofstream(full) << text;
  }
  uint64_t MemoryLimit() { return broker::MemoryLimit(dir_.path()); }

 private:
  TempDir dir_;
};

TEST_CASE("memory is limited by the nearest group that has a limit, under cgroup v2") {
  FakeMachine machine;
  const uint64_t physical = machine.MemoryLimit();
  machine.Put("/proc/self/cgroup", "0::/system.slice/strata.service\n");
  machine.Put("/sys/fs/cgroup/system.slice/strata.service/memory.max", "max\n");
  CHECK(machine.MemoryLimit() == physical);
  machine.Put("/sys/fs/cgroup/system.slice/memory.max", "200000000\n");
  CHECK(machine.MemoryLimit() == 200000000);
  machine.Put("/sys/fs/cgroup/system.slice/strata.service/memory.max", "100000000\n");
  CHECK(machine.MemoryLimit() == 100000000);
}

TEST_CASE("memory is limited by the memory controller under cgroup v1") {
  FakeMachine machine;
  machine.Put("/proc/self/cgroup", "4:cpu,cpuacct:/a\n3:memory:/docker/abc\n0::/\n");
  machine.Put("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(machine.MemoryLimit() < 9223372036854771712u);
  machine.Put("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "150000000\n");
  CHECK(machine.MemoryLimit() == 150000000);
}

TEST_CASE("a container that sees its own group at the top is limited by it") {
  FakeMachine machine;
  machine.Put("/proc/self/cgroup", "0::/kubepods/pod1/of-the-host\n");
  machine.Put("/sys/fs/cgroup/memory.max", "300000000\n");
  CHECK(machine.MemoryLimit() == 300000000);
}

TEST_CASE("the block cache is a share of memory between 8 MiB and 4 GiB") {
  CHECK(Load("", {"rocksmq.lrucacheratio=0"})->store.block_cache == 8u << 20);
  const uint64_t share = Load("", {"rocksmq.lrucacheratio=0.5"})->store.block_cache;
  CHECK(share == std::clamp<uint64_t>(MemoryLimit() / 2, 8u << 20, 4ull << 30));
}

}  // namespace
}  // namespace strata::broker
