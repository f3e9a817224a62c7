// Two hundred streams at once, half of them cancelled at random moments: nothing is left of them in the
// server, and under AddressSanitizer nothing of them in memory.
//
//   STRATA_SOAK_SECONDS   how long, default 5
//   STRATA_TEST_SEED      repeats the choices of another run (not the timing of its threads)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "tests/chaos/streams.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

seconds Duration() {
  const char* text = std::getenv("STRATA_SOAK_SECONDS");
  return seconds(text != nullptr && *text != '\0' ? std::atoi(text) : 5);
}

size_t OpenFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  REQUIRE(channel->WaitForConnected(std::chrono::system_clock::now() + seconds(10)));
  return channel;
}

// Until it holds; what another thread brings about has this long.
template <typename Check>
bool Eventually(Check check) {
  const auto deadline = steady_clock::now() + seconds(30);
  while (!check()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("Two hundred streams, half of them cancelled at random moments, leave nothing behind") {
  constexpr int kUsers = 200;
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  // What is not kept is not remembered either: the test may run for long.
  Place place(Transport::kUnix,
              {.store = std::make_unique<MemoryStore>(MemoryStore::History::kNone),
               .settings = {"retention.maxMsgs=2000", "retention.policy=limits",
                            "limits.maxPending=1MiB", "limits.maxPendingTotal=8MiB"}});
  for (const std::string& channel : SoakChannels()) Create(place.client(), channel);
  const auto streams = [&] { return Get(place.client().GetStatus()).readers; };
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < 8; ++i) channels.push_back(NewChannel(place.address()));
  const size_t files_before = OpenFiles();
  REQUIRE(streams() == 0);

  StreamCounts counts;
  uint64_t cancelled = 0;
  uint64_t most_readers = 0;
  {
    Canceller canceller;
    const auto end = steady_clock::now() + Duration();
    std::vector<std::unique_ptr<StreamUser>> users;
    Random random(seed);
    for (int i = 0; i < kUsers; ++i) {
      users.push_back(
          std::make_unique<StreamUser>(place.address(), channels[static_cast<size_t>(i) % 8],
                                       random.Below(uint64_t{1} << 60), end, &canceller, &counts));
    }
    // The broker answers all the while.
    while (steady_clock::now() < end) {
      most_readers = std::max(most_readers, streams());
      std::this_thread::sleep_for(milliseconds(50));
    }
    for (const auto& user : users) user->Join();
    cancelled = canceller.cancelled();
  }
  std::printf(
      "soak, STRATA_TEST_SEED=%llu: %llu produce and %llu consume streams, %llu of the SDK, "
      "%llu cancelled, at most %llu readers at once, %llu deliveries\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(counts.produced),
      static_cast<unsigned long long>(counts.consumed),
      static_cast<unsigned long long>(counts.from_sdk), static_cast<unsigned long long>(cancelled),
      static_cast<unsigned long long>(most_readers),
      static_cast<unsigned long long>(counts.messages));
  std::fflush(stdout);

  CHECK(counts.messages > 0);
  CHECK(cancelled > 0);
  CHECK(Eventually([&] { return streams() == 0; }));
  CHECK(Eventually([&] { return Get(place.client().GetStatus()).pending_bytes == 0; }));
  CHECK(Eventually([&] {
    for (const SubscriptionInfo& info : Get(place.client().ListSubscriptions(""))) {
      if (!info.holder.empty() || info.standby != 0) return false;
    }
    return true;
  }));
  CHECK(Eventually([&] {
    for (const ProducerInfo& info : Get(place.client().ListProducers(""))) {
      if (info.open) return false;
    }
    return true;
  }));
  // Connections of the SDK's clients: closed, on both sides. (They were not while gRPC accepted them;
  // see server/acceptor.h.)
  CHECK(Eventually([&] { return OpenFiles() <= files_before; }));
  // The server knows of no stream either: it would wait for it.
  CHECK(place.server()->Drain(kSoon));
}

}  // namespace
}  // namespace strata::testing
