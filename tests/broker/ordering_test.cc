// What comes before what, where a test of the outcome alone would pass most of the time: seen from inside the store's
// calls and the wake-ups, or with a sync held up.
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using testing::Answers;
using testing::Eventually;
using testing::GatedStore;
using testing::Lines;
using testing::MemoryStore;
using testing::ReadToEnd;
using testing::TestBroker;

TEST_CASE("a reader that is woken finds the batch in the tail cache") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto reader = broker.Open("logs");
  bool needs_storage = true;
  // On the thread that publishes, at the first moment at which the message can be read.
  REQUIRE(reader->WakeWhenReady([&] { needs_storage = reader->NeedsStorage(); }));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  CHECK_FALSE(needs_storage);
  CHECK(ReadToEnd(reader.get()) == Lines{"1 a"});
}

// Lets a test look around while the store lists or forgets pages.
class SpyStore final : public GatedStore {
 public:
  using GatedStore::GatedStore;
  std::function<void()> on_forget;
  std::atomic<int> looks{0};

  void ForgetPages(ChannelNumber channel, MessageId through) override {
    if (on_forget) on_forget();
    GatedStore::ForgetPages(channel, through);
  }
  std::vector<storage::Page> Pages(ChannelNumber channel) const override {
    ++const_cast<SpyStore*>(this)->looks;
    return GatedStore::Pages(channel);
  }
};

struct Spied {
  explicit Spied(broker::BrokerOptions options)
      : Spied(std::move(options), std::make_shared<MemoryStore>()) {}
  Spied(broker::BrokerOptions options, std::shared_ptr<MemoryStore> disk)
      : Spied(std::move(options), disk, std::make_unique<SpyStore>(disk)) {}
  Spied(broker::BrokerOptions options, std::shared_ptr<MemoryStore> disk,
        std::unique_ptr<SpyStore> spy)
      : store(spy.get()), broker(std::move(options), disk, std::move(spy), disk->Recover()) {}

  SpyStore* store;
  TestBroker broker;
};

// No channel keeps a message for longer than ten seconds.
broker::BrokerOptions KeepTenSeconds() {
  broker::BrokerOptions options;
  options.retention.retention_time = 10'000'000;
  return options;
}

TEST_CASE("the store forgets pages only once readers know that they are gone") {
  Spied scene(KeepTenSeconds());
  REQUIRE(scene.broker.Create("logs"));
  REQUIRE(scene.broker.Append("logs", {"a", "b"}).ok());
  scene.broker.clock().Advance(std::chrono::seconds(11));
  int calls = 0;
  bool early = false;
  scene.store->on_forget = [&] {
    ++calls;
    early |= scene.broker->DescribeChannel("logs")->first_available != 3;
  };
  REQUIRE(scene.broker->Sweep().ok());
  CHECK(calls > 0);
  CHECK_FALSE(early);
}

TEST_CASE("a sweep takes nothing that is not acknowledged yet") {
  Spied scene(KeepTenSeconds());
  REQUIRE(scene.broker.Create("logs"));
  scene.broker.store().syncs.Close();
  Answers answers;
  scene.broker.AppendAsync("logs", {"a"}, &answers);
  scene.broker.store().syncs.AwaitWaiting(1);
  scene.broker.clock().Advance(std::chrono::seconds(11));
  Status swept;
  std::thread sweeping([&] { swept = scene.broker->Sweep(); });
  // Once for the plan, and once more in the write role, which decides.
  CHECK(Eventually([&] { return scene.store->looks >= 2; }));
  scene.broker.store().syncs.Open();
  sweeping.join();
  CHECK(swept.ok());
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(scene.broker.Read("logs") == Lines{"1 a"});
  // The next one may.
  REQUIRE(scene.broker->Sweep().ok());
  CHECK(scene.broker.Read("logs").empty());
}

TEST_CASE("a channel is there for others until its deletion is durable") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  broker.store().syncs.Close();
  Status deleted;
  std::thread deleting([&] { deleted = broker->DeleteChannel("logs"); });
  broker.store().syncs.AwaitWaiting(1);
  CHECK(broker->DescribeChannel("logs").ok());
  CHECK(broker.Read("logs") == Lines{"1 a"});
  CHECK(broker.AfterPowerCut().Read("logs") == Lines{"1 a"});
  broker.store().syncs.Open();
  deleting.join();
  CHECK(deleted.ok());
  CHECK(broker->DescribeChannel("logs").status().reason() == Reason::CHANNEL_NOT_FOUND);
}

}  // namespace
}  // namespace strata
