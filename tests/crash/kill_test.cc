// SIGKILL of a loaded stratad, again and again on one directory.
//
//   STRATA_KILL_ROUNDS   kills, default 5
//   STRATA_KILL_SEED     repeats the choices of another run (not the timing of its threads)
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "client/connect.h"
#include "tests/crash/ledger.h"
#include "tests/crash/load.h"
#include "tests/support/catch.h"
#include "tests/support/daemon.h"
#include "tests/support/temp_dir.h"

namespace strata::crash {
namespace {

using testing::Daemon;
using testing::DaemonOptions;
using testing::TempDir;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

class KillRounds {
 public:
  explicit KillRounds(uint64_t seed) : random_(seed) {
    for (const char* channel : {"one", "two", "three"}) ledgers_.emplace_back(channel);
  }

  // Serves, loads, kills, serves again and checks.
  void Round(int round) {
    Daemon daemon(Options());
    const std::string address = round % 2 == 0 ? daemon.tcp() : daemon.unix_socket();
    CreateChannels(address);
    Load load(address, Channels(), /*per_channel=*/2, next_producer_);
    next_producer_ += static_cast<uint32_t>(load.accounts().size());
    Follower follower(address, kFollowed, "follower", random_());
    // From a handful of messages to 100,000, each order of magnitude as often as others.
    const uint64_t target = 1 + random_() % (uint64_t{1} << (random_() % 18));
    REQUIRE(load.WaitForAcknowledged(target));
    daemon.Kill();
    const Follower::Report followed = follower.Finish();
    load.Join();
    acknowledged_ += load.acknowledged();
    INFO("killed after " << target << " acknowledged messages");
    CheckAfter(load, followed);
  }

  // A clean end, and the whole content once more.
  void CheckAll() {
    Daemon daemon(Options());
    const auto client = ConnectRemote(daemon.tcp());
    REQUIRE(client.ok());
    for (const Ledger& ledger : ledgers_) {
      INFO("channel " << ledger.channel());
      REQUIRE(ledger.CheckWhole(**client) == "");
    }
    (*client)->Close();
    const testing::Outcome stopped = daemon.Stop();
    INFO(stopped.ToString());
    REQUIRE(stopped.exit_code == 0);
    const testing::Outcome verified =
        testing::Run({testing::ProgramPath("strata"), "verify", dir_ / "data"});
    INFO(verified.ToString());
    REQUIRE(verified.exit_code == 0);
  }

  std::string Summary() {
    std::sort(reopened_.begin(), reopened_.end());
    return fmt::format(
        "{} kills, {} messages acknowledged, {} stored; reopened in {} ms (median), "
        "{} ms (longest)",
        reopened_.size(), acknowledged_, stored(), reopened_[reopened_.size() / 2].count(),
        reopened_.back().count());
  }

 private:
  static constexpr const char* kFollowed = "one";

  // Small pages and a small write buffer, so that kills meet flushes and changes of stratum, too.
  DaemonOptions Options() const {
    return {.data = dir_ / "data",
            .settings = {"rocksmq.rocksmqPageSize=1048576", "limits.writeBuffer=4194304",
                         "limits.tailCache=1048576"}};
  }

  std::vector<std::string> Channels() const {
    std::vector<std::string> channels;
    for (const Ledger& ledger : ledgers_) channels.push_back(ledger.channel());
    return channels;
  }

  void CreateChannels(const std::string& address) {
    const auto client = ConnectRemote(address);
    INFO(client.status().ToString());
    REQUIRE(client.ok());
    for (const std::string& channel : Channels()) {
      REQUIRE((*client)->OpenChannel(channel, /*create_if_missing=*/true).ok());
    }
  }

  size_t stored() const {
    size_t stored = 0;
    for (const Ledger& ledger : ledgers_) stored += ledger.size();
    return stored;
  }

  void CheckAfter(const Load& load, const Follower::Report& followed) {
    Daemon daemon(Options());
    reopened_.push_back(daemon.startup());
    const auto client = ConnectRemote(daemon.tcp());
    REQUIRE(client.ok());
    for (Ledger& ledger : ledgers_) {
      INFO("channel " << ledger.channel());
      REQUIRE(ledger.AddRound(**client, load.accounts()) == "");
    }
    CheckFollower(**client, followed);
    // Without a clean end: the next round begins after one more kill, of an idle daemon.
    (*client)->Close();
    daemon.Kill();
  }

  void CheckFollower(Client& client, const Follower::Report& followed) {
    REQUIRE(followed.problem == "");
    REQUIRE(ledgers_.front().CheckReceived(followed.received) == "");
    const auto subscription = client.DescribeSubscription(kFollowed, "follower");
    INFO(subscription.status().ToString());
    REQUIRE(subscription.ok());
    // It went on where it was, a later cursor than acknowledged would lose messages, and an
    // earlier one than an earlier life had on disk would mean that a synced write was undone.
    if (!followed.received.empty()) {
      REQUIRE(followed.received.front().first == cursor_);
      REQUIRE(cursor_ <= received_through_ + 1);
      received_through_ = std::max(received_through_, followed.received.back().first);
    }
    REQUIRE(subscription->cursor >= cursor_);
    REQUIRE(subscription->cursor <= std::max(cursor_, followed.acknowledged + 1));
    cursor_ = subscription->cursor;
  }

  TempDir dir_;
  std::mt19937_64 random_;
  std::vector<Ledger> ledgers_;
  uint32_t next_producer_ = 1;
  MessageId cursor_ = 1;            // of the subscription, as found after the last kill
  MessageId received_through_ = 0;  // of the subscription, in all its lives
  uint64_t acknowledged_ = 0;
  std::vector<std::chrono::milliseconds> reopened_;
};

TEST_CASE("A killed daemon comes back with every acknowledged message, once and in order") {
  const uint64_t seed = FromEnvironment("STRATA_KILL_SEED", std::random_device()());
  const auto rounds = static_cast<int>(FromEnvironment("STRATA_KILL_ROUNDS", 5));
  fmt::print("STRATA_KILL_SEED={}\n", seed);
  KillRounds kills(seed);
  for (int round = 0; round < rounds; ++round) {
    INFO("seed " << seed << ", round " << round);
    kills.Round(round);
  }
  kills.CheckAll();
  fmt::print("{}\n", kills.Summary());
}

}  // namespace
}  // namespace strata::crash
