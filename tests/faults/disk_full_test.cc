// A disk that runs full under producers that never stop: refused in time at the hard mark of the budget, or, where no
// budget is in the way, by the file system at any place. Nothing acknowledged is lost, nothing aborts, and each way
// back that is promised works: acknowledgements, truncation, deletion, a restart on the full disk.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <thread>

#include "base/batch.h"
#include "broker/space_plan.h"
#include "tests/faults/scene.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

constexpr uint64_t kKiB = 1u << 10;
constexpr uint64_t kBudget = 8u << 20;  // a page, a stratum and the write buffer: 512 KiB each

using Violations = std::vector<std::string>;

bool Eventually(const std::function<bool()>& condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

// A broker with a budget of disk, on a disk that can run out of space.
class FullDisk {
 public:
  // budget 0: what is free, as without limits.maxFileStore.
  explicit FullDisk(uint64_t budget) : budget_(budget) {}
  ~FullDisk() { broker_.reset(); }

  // REQUIRES: not open.
  Status Open(RetentionPolicy policy = RetentionPolicy::kAcked) {
    storage::StoreOptions store = scene_.store_options();
    store.page_size = 512 * kKiB;
    store.write_buffer = 512 * kKiB;
    store.max_file_store = budget_;
    broker::BrokerOptions options;
    options.tail_cache = 256 * kKiB;
    options.retention.policy = policy;
    options.sweeper.interval = std::chrono::milliseconds(20);
    options.sweeper.rewrite_rate = 0;
    if (budget_ > 0) {
      broker::PlanSpace(storage::MeasureDirectory(store.path, store.file_system), &options, &store);
    } else {
      // Nobody looks at the space that is left, but there is ballast.
      options.sweeper.interval = std::chrono::hours(1);
      options.sweeper.page_size = uint64_t{1} << 40;
      store.ballast = options.sweeper.ballast = 1024 * kKiB;
      options.sweeper.reserve = 256 * kKiB;
    }
    STRATA_ASSIGN_OR_RETURN(auto opened, storage::Store::Open(store));
    storage::Recovered recovered = opened->TakeRecovered();
    broker_ = std::make_unique<broker::Broker>(options, std::move(opened), std::move(recovered));
    return Status::Ok();
  }
  void Kill() {
    broker_.reset();
    disk().ProcessKill();
  }
  void SetBudget(uint64_t budget) { budget_ = budget; }

  FaultFileSystem& disk() { return *scene_.disk(); }
  Witness& witness() { return scene_.witness(); }
  broker::Broker* operator->() { return broker_.get(); }
  broker::Broker& operator*() { return *broker_; }
  void Close() { broker_.reset(); }

  // Everything promised to `channel` above `through` is there, byte for byte; what else is not so.
  Violations Missing(const std::string& channel, MessageId through = 0);

 private:
  uint64_t budget_;
  Scene scene_;
  std::unique_ptr<broker::Broker> broker_;
};

Violations FullDisk::Missing(const std::string& channel, MessageId through) {
  Violations violations;
  // Before the reader: what is promised later may not be there for it.
  const Witness::Channel expected = witness().channels()[channel];
  auto reader = broker_->OpenReader(channel, StartPosition::At(through + 1));
  if (!reader.ok()) return {reader.status().ToString()};
  auto due = expected.promised.lower_bound(through + 1);
  while (due != expected.promised.end()) {
    const broker::Reader::Item item = (*reader)->Next();
    if (const auto* gap = std::get_if<Gap>(&item)) {
      if (gap->reason == GapReason::kTrimmed && gap->last <= through) continue;
      return {
          fmt::format("a {} gap over {}..{}", GapReasonName(gap->reason), gap->first, gap->last)};
    }
    if (const auto* status = std::get_if<Status>(&item)) return {status->ToString()};
    if (std::holds_alternative<broker::Reader::AtEnd>(item))
      return {fmt::format("id {} of {} was promised and is not there", due->first, channel)};
    const auto& delivery = std::get<broker::Delivery>(item);
    const Buffer bytes = delivery.batch.bytes.Contiguous();
    BatchIterator it(bytes.view(), delivery.batch.first_id, delivery.batch.append_time);
    for (MessageView message; it.Next(&message) && due != expected.promised.end();) {
      if (message.id < due->first) continue;
      if (message.id != due->first)
        return {fmt::format("id {} of {} was promised, {} came", due->first, channel, message.id)};
      if (message.payload != due->second)
        return {fmt::format("id {} of {} holds another message", due->first, channel)};
      ++due;
    }
  }
  return violations;
}

// Threads that append to one channel each until told to stop, whatever they are answered.
class Producers {
 public:
  Producers(FullDisk* disk, std::vector<std::string> channels, uint64_t seed) {
    for (const std::string& channel : channels)
      threads_.emplace_back([this, disk, channel, seed = seed++] { Run(disk, channel, seed); });
  }
  ~Producers() { Stop(); }
  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  uint64_t appended() const { return appended_; }
  uint64_t refused() const { return refused_; }
  uint64_t failed() const { return failed_; }
  // Answers that are none of these three, or that say the wrong thing about the data.
  std::vector<std::string> odd() {
    MutexLock lock(mu_);
    return odd_;
  }

 private:
  void Run(FullDisk* disk, const std::string& channel, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string noise(64 * kKiB, '\0');
    for (char& byte : noise) byte = static_cast<char>(random());
    while (!stop_) {
      const std::vector<std::string> payloads = {
          fmt::format("{}", random()) +
          noise.substr(random() % (32 * kKiB), random() % (16 * kKiB))};
      const Result<AppendResult> result = (*disk)->Append({channel, MakeBatch(payloads)});
      if (result.ok()) {
        disk->witness().Acknowledged(channel, result->first_id, payloads);
        ++appended_;
        continue;
      }
      Note(result.status());
      std::this_thread::yield();
    }
  }

  void Note(const Status& status) {
    // A test deletes it, perhaps between the look-up and the write.
    if (status.reason() == Reason::CHANNEL_NOT_FOUND) return;
    if (status.reason() == Reason::CHANNEL_DELETED) return;
    const bool refused =
        status.reason() == Reason::DISK_FULL && status.fate() == DataFate::kNotAppended;
    if (refused) ++refused_;
    if (status.reason() == Reason::STORE_FAILED) ++failed_;
    if (refused || status.reason() == Reason::STORE_FAILED) return;
    MutexLock lock(mu_);
    if (odd_.size() < 10) odd_.push_back(status.ToString());
  }

  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> appended_{0}, refused_{0}, failed_{0};
  Mutex mu_;
  std::vector<std::string> odd_ STRATA_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

#define CHECK_NONE(violations) \
  for (const std::string& each : (violations)) FAIL_CHECK(each)

// Until appends are refused: at the hard mark, or so close to it that the next one could pass it.
void FillUp(const Producers& producers) {
  const uint64_t before = producers.refused();
  REQUIRE(Eventually([&] { return producers.refused() > before + 50; }));
}

// A hundred more appends get in.
bool Resumes(const Producers& producers) {
  const uint64_t before = producers.appended();
  return Eventually([&] { return producers.appended() > before + 100; });
}

void CreateWithConsumer(FullDisk* disk, const std::string& channel) {
  REQUIRE((*disk)->CreateChannel(channel, {}).ok());
  REQUIRE((*disk)->CreateSubscription(channel, "s", {}).ok());
}

TEST_CASE(
    "at the hard mark appends are refused, all else goes on, and acknowledgements make room") {
  FullDisk disk(kBudget);
  REQUIRE(disk.Open().ok());
  for (const char* channel : {"a", "b"}) CreateWithConsumer(&disk, channel);
  Producers producers(&disk, {"a", "b"}, 1);
  for (int round = 0; round < 3; ++round) {
    FillUp(producers);
    CHECK(disk->StoreStats().disk_bytes <= kBudget);
    MessageId end_of_a = 0;
    for (const char* channel : {"a", "b"}) {
      const SubscriptionInfo info = *disk->DescribeSubscription(channel, "s");
      CHECK_NONE(disk.Missing(channel, info.cursor - 1));
      const MessageId end = disk->DescribeChannel(channel)->next_id - 1;
      REQUIRE(disk->Acknowledge(channel, "s", end).ok());
      if (std::string(channel) == "a") end_of_a = end;
    }
    CHECK(
        disk->CreateSubscription("a", fmt::format("late{}", round), StartPosition::Latest()).ok());
    CHECK(disk->DeleteSubscription("a", fmt::format("late{}", round)).ok());
    CHECK(Resumes(producers));
    CHECK(disk->DescribeChannel("a")->first_available <= end_of_a + 1);
  }
  producers.Stop();
  CHECK(producers.failed() == 0);
  CHECK_NONE(producers.odd());
  CHECK(disk->failure().ok());
}

TEST_CASE("truncation and deletion work on a full disk, and make room") {
  FullDisk disk(kBudget);
  REQUIRE(disk.Open(RetentionPolicy::kTruncated).ok());
  for (const char* channel : {"a", "b", "filler"}) REQUIRE(disk->CreateChannel(channel, {}).ok());
  Producers producers(&disk, {"a", "b", "filler"}, 7);
  FillUp(producers);
  MessageId a_through = 0;
  SECTION("a channel is truncated") {
    a_through = disk->DescribeChannel("a")->next_id - 1;
    REQUIRE(disk->TruncateChannel("a", a_through).ok());
  }
  SECTION("a channel is deleted") { REQUIRE(disk->DeleteChannel("filler").ok()); }
  CHECK(Resumes(producers));
  FillUp(producers);
  producers.Stop();
  CHECK(disk->StoreStats().disk_bytes <= kBudget);
  CHECK_NONE(producers.odd());
  CHECK_NONE(disk.Missing("a", a_through));
  CHECK_NONE(disk.Missing("b"));
  CHECK(disk->failure().ok());
}

TEST_CASE("a store killed while it is full opens full, and comes back") {
  FullDisk disk(kBudget);
  REQUIRE(disk.Open().ok());
  CreateWithConsumer(&disk, "a");
  {
    Producers producers(&disk, {"a"}, 3);
    FillUp(producers);
  }
  for (int round = 0; round < 2; ++round) {
    disk.Kill();
    REQUIRE(disk.Open().ok());
    CHECK_NONE(disk.Missing("a"));
    REQUIRE(disk->DescribeSubscription("a", "s")->cursor == kFirstMessageId);
    Producers producers(&disk, {"a"}, 4);
    FillUp(producers);
    CHECK_NONE(producers.odd());
  }
  disk.Kill();
  REQUIRE(disk.Open().ok());
  Producers producers(&disk, {"a"}, 5);
  FillUp(producers);
  const MessageId end = disk->DescribeChannel("a")->next_id - 1;
  REQUIRE(disk->Acknowledge("a", "s", end).ok());
  CHECK(Resumes(producers));
  producers.Stop();
  CHECK_NONE(disk.Missing("a", end));
}

TEST_CASE("a file system that somebody else fills refuses appends in time, too") {
  FullDisk disk(64u << 20);
  REQUIRE(disk.Open().ok());
  CreateWithConsumer(&disk, "a");
  Producers producers(&disk, {"a"}, 11);
  REQUIRE(Eventually([&] { return producers.appended() > 50; }));
  // A little more than the reserve is left, of a budget eight times as large.
  disk.disk().SetFreeSpace(20u << 20);
  FillUp(producers);
  CHECK(producers.failed() == 0);
  CHECK_NONE(disk.Missing("a"));
  disk.disk().SetUnlimitedSpace();
  CHECK(Resumes(producers));
  producers.Stop();
  CHECK_NONE(producers.odd());
}

TEST_CASE("a log that meets the end of the disk stops the store, and a restart has everything") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    FullDisk disk(0);
    REQUIRE(disk.Open(RetentionPolicy::kTruncated).ok());
    for (const char* channel : {"a", "b"}) REQUIRE(disk->CreateChannel(channel, {}).ok());
    REQUIRE(disk->Sweep().ok());  // makes the ballast
    REQUIRE(disk->StoreStats().ballast_bytes > 0);
    {
      Producers producers(&disk, {"a", "b"}, random());
      disk.disk().SetFreeSpace(256 * kKiB + random() % (4096 * kKiB));
      REQUIRE(Eventually([&] { return producers.failed() > 2; }));
      CHECK_NONE(producers.odd());
    }
    CHECK(disk->failure().reason() == Reason::STORE_FAILED);
    CHECK_FALSE(disk->TruncateChannel("a", 1).ok());
    for (const char* channel : {"a", "b"}) CHECK_NONE(disk.Missing(channel));

    // On the disk as full as it is: now with a budget, which is what is there.
    disk.Close();
    seed % 2 == 0 ? disk.disk().PowerCut(seed) : disk.disk().ProcessKill();
    disk.SetBudget(64u << 20);
    const Status opened = disk.Open(RetentionPolicy::kTruncated);
    INFO(opened.ToString());
    REQUIRE(opened.ok());
    for (const char* channel : {"a", "b"}) CHECK_NONE(disk.Missing(channel));
    const MessageId end = disk->DescribeChannel("a")->next_id - 1;
    const Result<ChannelInfo> truncated = disk->TruncateChannel("a", end);
    INFO(truncated.status().ToString());
    CHECK(truncated.ok());
    CHECK_NONE(disk.Missing("b"));

    // And with space again.
    disk.Close();
    disk.disk().SetUnlimitedSpace();
    REQUIRE(disk.Open(RetentionPolicy::kTruncated).ok());
    CHECK(disk->DescribeChannel("a")->first_available == end + 1);
    CHECK_NONE(disk.Missing("b"));
    CHECK(disk->Append({"a", MakeBatch({"again"})}).ok());
  }
}

}  // namespace
}  // namespace strata::testing
