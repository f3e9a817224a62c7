// Fail-stop, through the whole append path: after the first failed write or sync nothing is
// acknowledged any more, reads go on, nothing aborts, and a restart has every acknowledged message.
#include <fmt/format.h>

#include <atomic>
#include <thread>

#include "tests/faults/scene.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

constexpr int kThreads = 4;

// Appends from several threads until each has got an error; returns the errors.
std::vector<Status> AppendUntilFailure(broker::Broker& broker, Witness& witness) {
  std::vector<Status> errors(kThreads);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100'000; ++i) {
        const std::vector<std::string> payloads = {fmt::format("{}/{}", t, i) +
                                                   std::string(300, 'x')};
        const Result<AppendResult> result = broker.Append({"log", MakeBatch(payloads)});
        if (!result.ok()) {
          errors[t] = result.status();
          return;
        }
        witness.Acknowledged("log", result->first_id, payloads);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

size_t ReadAll(broker::Broker& broker) {
  auto reader = broker.OpenReader("log", StartPosition::Earliest());
  REQUIRE(reader.ok());
  size_t messages = 0;
  for (;;) {
    broker::Reader::Item item = (*reader)->Next();
    if (std::holds_alternative<broker::Reader::AtEnd>(item)) return messages;
    REQUIRE(std::holds_alternative<broker::Delivery>(item));
    messages += std::get<broker::Delivery>(item).count();
  }
}

// The whole story: appends, the fault, fail-stop, reads, restart.
void FailsStopAndComesBack(const Fault& fault, bool full_disk = false) {
  Scene scene;
  Result<std::unique_ptr<broker::Broker>> broker = scene.Open();
  REQUIRE(broker.ok());
  REQUIRE((*broker)->CreateChannel("log", {}).ok());
  if (full_disk) {
    scene.disk()->SetFreeSpace(300'000);
  } else {
    scene.disk()->FailNext(fault);
  }

  const std::vector<Status> errors = AppendUntilFailure(**broker, scene.witness());
  for (const Status& error : errors) {
    CHECK(error.reason() == Reason::STORE_FAILED);
    CHECK(
        (error.fate() == DataFate::kNotAppended || error.fate() == DataFate::kMayHaveBeenAppended));
  }
  // Latched: a later append is refused without touching the disk, although the disk works again.
  scene.disk()->ClearFaults();
  scene.disk()->SetUnlimitedSpace();
  const uint64_t mutations = scene.disk()->Mutations();
  const Result<AppendResult> later = (*broker)->Append({"log", MakeBatch({"later"})});
  REQUIRE_FALSE(later.ok());
  CHECK(later.status().reason() == Reason::STORE_FAILED);
  CHECK(later.status().fate() == DataFate::kNotAppended);
  CHECK((*broker)->CreateChannel("other", {}).status().reason() == Reason::STORE_FAILED);
  CHECK_FALSE((*broker)->failure().ok());
  CHECK(scene.disk()->Mutations() == mutations);

  // Reads go on, and show what was acknowledged.
  CHECK(ReadAll(**broker) >= scene.witness().promised());

  broker->reset();
  scene.disk()->PowerCut(7);
  for (const std::string& violation : scene.Check()) FAIL_CHECK(violation);
}

}  // namespace

TEST_CASE("A failed append to the log stops the store and loses nothing acknowledged") {
  for (const uint64_t skip : {0, 1, 7, 50, 333}) {
    FailsStopAndComesBack({.ops = kAppend, .name = ".log", .skip = skip});
  }
}

TEST_CASE("A short write to the log stops the store and loses nothing acknowledged") {
  for (const uint64_t skip : {0, 5, 60}) {
    FailsStopAndComesBack({.ops = kAppend, .name = ".log", .skip = skip, .partial_bytes = 11});
  }
}

TEST_CASE("A failed sync of the log stops the store and loses nothing acknowledged") {
  for (const uint64_t skip : {0, 1, 7, 50}) {
    FailsStopAndComesBack({.ops = kSync, .name = ".log", .skip = skip});
  }
}

TEST_CASE("A full disk under the log stops the store and loses nothing acknowledged") {
  FailsStopAndComesBack({}, /*full_disk=*/true);
}

TEST_CASE("A failed flush of a stratum stops the store and loses nothing acknowledged") {
  FailsStopAndComesBack({.ops = kAppend | kSync, .name = ".sst", .skip = 2});
}

TEST_CASE("A failed write of the MANIFEST stops the store and loses nothing acknowledged") {
  FailsStopAndComesBack({.ops = kAppend | kSync, .name = "MANIFEST"});
}

}  // namespace strata::testing
