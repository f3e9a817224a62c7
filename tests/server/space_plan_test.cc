#include "broker/space_plan.h"

#include <string>
#include <vector>

#include "retention/disk_budget.h"
#include "tests/support/catch.h"

namespace strata::broker {
namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kGiB = 1u << 30;

struct Planned {
  BrokerOptions broker;
  storage::StoreOptions store;
  std::vector<std::string> log;
};

Planned Plan(uint64_t max_file_store, const storage::DiskUsage& usage) {
  Planned plan;
  plan.store.max_file_store = max_file_store;
  plan.broker.log = Logger([&](LogLevel, std::string_view line) { plan.log.emplace_back(line); });
  PlanSpace(usage, &plan.broker, &plan.store);
  plan.broker.log = Logger();  // its sink would outlive what it writes to
  return plan;
}

// Whatever was planned, store and broker have to be told the same.
void CheckAgreement(const Planned& plan) {
  CHECK(plan.broker.disk_budget == plan.store.max_file_store);
  CHECK(plan.broker.sweeper.page_size == plan.store.page_size);
  CHECK(plan.broker.sweeper.reserve == plan.broker.disk_reserve);
  CHECK(plan.broker.sweeper.ballast == plan.store.ballast);
  CHECK(plan.broker.disk_reserve == 2 * plan.store.write_buffer + plan.broker.sweeper.max_stratum);
}

TEST_CASE("a large budget leaves pages and the write buffer as they are configured") {
  const Planned plan = Plan(100 * kGiB, {0, 200 * kGiB});
  CHECK(plan.store.max_file_store == 100 * kGiB);
  CHECK(plan.store.page_size == 64 * kMiB);
  CHECK(plan.store.write_buffer == 64 * kMiB);
  CHECK(plan.store.ballast == 256 * kMiB);
  CHECK(plan.broker.sweeper.max_stratum > 0);
  CHECK(plan.broker.sweeper.max_stratum <= 100 * kGiB / 16);
  CheckAgreement(plan);
}

TEST_CASE("a small budget makes nothing larger than a sixteenth of itself") {
  const Planned plan = Plan(256 * kMiB, {0, 200 * kGiB});
  CHECK(plan.store.page_size <= 16 * kMiB);
  CHECK(plan.store.page_size > 0);
  CHECK(plan.store.write_buffer <= 16 * kMiB);
  CHECK(plan.store.write_buffer > 0);
  CHECK(plan.store.ballast <= 16 * kMiB);
  CHECK(plan.broker.sweeper.max_stratum <= 16 * kMiB);
  CheckAgreement(plan);
}

TEST_CASE("without a budget it is what the store holds and most of what is free") {
  const storage::DiskUsage usage{30 * kGiB, 50 * kGiB};
  const Planned plan = Plan(0, usage);
  CHECK(plan.store.max_file_store == retention::DefaultBudget(usage));
  CHECK(plan.store.max_file_store > 30 * kGiB);
  CHECK(plan.store.max_file_store < 80 * kGiB);
  CheckAgreement(plan);
}

TEST_CASE("a full disk is planned for like the smallest budget, not like none") {
  const Planned plan = Plan(0, {0, 0});
  CHECK(plan.store.max_file_store == kMinFileStore);
  CHECK(plan.broker.disk_budget == kMinFileStore);
  CheckAgreement(plan);
}

TEST_CASE("planning again from what was planned changes nothing") {
  Planned plan = Plan(kGiB, {0, 200 * kGiB});
  const storage::StoreOptions store = plan.store;
  const BrokerOptions broker = plan.broker;
  PlanSpace({0, 200 * kGiB}, &plan.broker, &plan.store);
  CHECK(plan.store.max_file_store == store.max_file_store);
  CHECK(plan.store.page_size == store.page_size);
  CHECK(plan.store.write_buffer == store.write_buffer);
  CHECK(plan.store.ballast == store.ballast);
  CHECK(plan.broker.disk_reserve == broker.disk_reserve);
}

TEST_CASE("the log says in one line what the budget is, its marks and what it made smaller") {
  const Planned large = Plan(100 * kGiB, {3 * kGiB, 200 * kGiB});
  REQUIRE(large.log.size() == 1);
  CHECK(large.log[0].find("disk budget 102400 MiB (limits.maxFileStore)") == 0);
  CHECK(large.log[0].find("3072 MiB are used") != std::string::npos);
  CHECK(large.log[0].find("old messages go early above 87040 MiB") != std::string::npos);
  CHECK(large.log[0].find("scaled down") == std::string::npos);
  CHECK(large.log[0].find('\n') == std::string::npos);

  const Planned small = Plan(512 * kMiB, {0, 200 * kGiB});
  REQUIRE(small.log.size() == 1);
  CHECK(small.log[0].find("rocksmq.rocksmqPageSize scaled down from 64MiB to 32MiB") !=
        std::string::npos);
  CHECK(small.log[0].find("limits.writeBuffer scaled down from 64MiB to 32MiB") !=
        std::string::npos);

  const Planned derived = Plan(0, {0, 10 * kGiB});
  REQUIRE(derived.log.size() == 1);
  CHECK(derived.log[0].find("(from the free space)") != std::string::npos);
}

}  // namespace
}  // namespace strata::broker
