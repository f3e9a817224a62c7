// What months do to a store: the clock is moved by hand, everything else is real.
//
// STRATA_SIMULATED_DAYS=365 for the whole year (default 6, after which every kind of rewrite has happened).
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/batch.h"
#include "broker/broker.h"
#include "broker/open.h"
#include "broker/space_plan.h"
#include "storage/store.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace strata::broker {
namespace {

using testing::Random;
using testing::TempDir;

constexpr auto kHour = std::chrono::hours(1);

int SimulatedDays() {
  const char* text = std::getenv("STRATA_SIMULATED_DAYS");
  return text == nullptr ? 6 : std::atoi(text);
}

// A broker that is opened again and again on one directory, with one clock.
class LongLife {
 public:
  explicit LongLife(const std::string& path) {
    store_.path = path;
    store_.page_size = 32u << 10;
    store_.write_buffer = 192u << 10;
    store_.block_cache = 1u << 20;
    store_.sync = SyncPolicy::kNone;  // syncing is not what takes months
    store_.clock = &clock_;
    options_.sync = SyncPolicy::kNone;
    options_.clock = &clock_;
    options_.sweeper.threads = false;
    options_.sweeper.page_size = store_.page_size;
    options_.sweeper.rewrite_rate = 0;
    options_.sweeper.settle = std::chrono::microseconds(0);
  }
  BrokerOptions& options() { return options_; }
  ManualClock& clock() { return clock_; }
  Broker& broker() { return *broker_; }

  std::chrono::duration<double> Open() {
    const auto begun = std::chrono::steady_clock::now();
    auto store = storage::Store::Open(store_);
    INFO(store.status().ToString());
    REQUIRE(store.ok());
    storage::Recovered recovered = (*store)->TakeRecovered();
    raw_ = store->get();
    broker_ = std::make_unique<Broker>(options_, *std::move(store), std::move(recovered));
    return std::chrono::steady_clock::now() - begun;
  }
  void Close() { broker_.reset(); }

  void Append(const std::string& channel, const std::string& payload) {
    BatchBuilder batch;
    batch.Add(Message{payload, {}});
    AppendRequest request;
    request.channel = channel;
    request.batch = batch.Take();
    const auto appended = broker_->Append(std::move(request));
    INFO(appended.status().ToString());
    REQUIRE(appended.ok());
  }
  // What the sweeper's threads do within an hour.
  void Upkeep() {
    REQUIRE(broker_->Sweep().ok());
    REQUIRE(broker_->RewriteDue().ok());
  }
  std::vector<storage::StratumInfo> strata() const { return raw_->DescribeStrata(); }

 private:
  ManualClock clock_;
  storage::StoreOptions store_;
  BrokerOptions options_;
  storage::Store* raw_ = nullptr;
  std::unique_ptr<Broker> broker_;
};

// As in the published benchmark: letters from a pool.
std::string Letters(Random& random, size_t size) {
  static constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::string text(size, ' ');
  for (char& c : text) c = kLetters[random.Below(52)];
  return text;
}

TEST_CASE("one slow channel beside fifteen busy ones does not keep their strata alive") {
  TempDir folder;
  LongLife life(folder / "store");
  life.options().retention.retention_time = 24 * 3600 * int64_t{1'000'000};
  life.Open();
  ChannelOptions for_ever;
  for_ever.retention.retention_time = kNoLimit;
  REQUIRE(life.broker().CreateChannel("slow", for_ever).ok());
  for (int i = 0; i < 15; ++i) {
    REQUIRE(life.broker().CreateChannel(fmt::format("busy-{}", i), {}).ok());
  }
  const uint64_t seed = testing::TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  const int hours = SimulatedDays() * 24;
  uint64_t most = 0;
  for (int hour = 1; hour <= hours; ++hour) {
    life.Append("slow", fmt::format("{:1024}", hour));
    // More than a stratum in all.
    for (int i = 0; i < 15; ++i) life.Append(fmt::format("busy-{}", i), Letters(random, 10'000));
    life.clock().Advance(kHour);
    life.Upkeep();
    most = std::max(most, life.broker().StoreStats().strata);
    REQUIRE(most <= 128);
  }
  const storage::StoreStats stats = life.broker().StoreStats();
  // A day of the busy ones, the slow one, and garbage below the threshold.
  const uint64_t kept = 15 * 24 * 10'000 + static_cast<uint64_t>(hours) * 1'100;
  CHECK(stats.live_bytes < kept * 5 / 4);
  life.Close();
  const auto reopened = life.Open();
  CHECK(reopened.count() < 1.0);
  auto reader = life.broker().OpenReader("slow", StartPosition::At(1));
  REQUIRE(reader.ok());
  for (int hour = 1; hour <= hours; ++hour) {
    const Reader::Item item = (*reader)->Next();
    const auto* delivery = std::get_if<Delivery>(&item);
    REQUIRE(delivery != nullptr);
    REQUIRE(delivery->first_id() == hour);
  }
  std::printf(
      "%d simulated days: at most %zu strata, %zu at the end with %.1f MB live of %.1f MB on "
      "disk; reopened in %.0f ms\n",
      SimulatedDays(), static_cast<size_t>(most), static_cast<size_t>(stats.strata),
      static_cast<double>(stats.live_bytes) / 1e6, static_cast<double>(stats.disk_bytes) / 1e6,
      reopened.count() * 1e3);
}

TEST_CASE("a store that is restarted every hour still compresses after a day") {
  TempDir folder;
  LongLife life(folder / "store");
  life.options().retention.retention_time = 3 * 24 * 3600 * int64_t{1'000'000};
  life.Open();
  REQUIRE(life.broker().CreateChannel("letters", {}).ok());
  const uint64_t seed = testing::TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  uint64_t first_compressed = 0;
  for (int hour = 1; hour <= 48; ++hour) {
    for (int i = 0; i < 20; ++i) life.Append("letters", Letters(random, 4'000));
    life.clock().Advance(kHour);
    life.Upkeep();
    life.Close();
    life.Open();
    if (first_compressed == 0 && life.broker().StoreStats().compressed_strata > 0) {
      first_compressed = static_cast<uint64_t>(hour);
    }
  }
  // Sealed after at most three hours (a time rule of three days / 24), compressed a day later.
  CHECK(first_compressed >= 24);
  CHECK(first_compressed <= 24 + 4);
  const BrokerStatus status = DescribeStatus(life.broker());
  REQUIRE(status.compressed_strata > 0);
  const double ratio = static_cast<double>(status.compressed_file_bytes) /
                       static_cast<double>(status.compressed_raw_bytes);
  CHECK(ratio <= 0.8);
  // All that is older than a day and three hours is compressed.
  for (const storage::StratumInfo& stratum : life.strata()) {
    const bool cold = stratum.sealed_at > 0 && life.clock().WallMicros() - stratum.sealed_at >
                                                   25 * 3600 * int64_t{1'000'000};
    if (cold) CHECK(stratum.rewritten);
  }
  std::printf(
      "restarted every hour: compressed first after %zu h; %zu strata hold %.2f MB in %.2f "
      "MB of files, ratio %.3f\n",
      static_cast<size_t>(first_compressed), static_cast<size_t>(status.compressed_strata),
      static_cast<double>(status.compressed_raw_bytes) / 1e6,
      static_cast<double>(status.compressed_file_bytes) / 1e6, ratio);
}

}  // namespace
}  // namespace strata::broker
