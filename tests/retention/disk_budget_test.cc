#include "retention/disk_budget.h"

#include <atomic>
#include <chrono>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace strata {
namespace {

using retention::DefaultBudget;
using retention::DiskBudget;
using retention::Judge;
using retention::Marks;
using retention::MarksFor;
using retention::ScaleToBudget;
using retention::Sizes;
using retention::SpaceState;
using retention::SpaceStateName;
using std::chrono::milliseconds;
using storage::DiskUsage;

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kGiB = 1u << 30;
constexpr uint64_t kTiB = kGiB << 10;
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr DiskUsage kRoomy{0, 100 * kTiB};

TEST_CASE("a large budget is soft at 85 %, hard before the reserve, and resumes 5 % below that") {
  const uint64_t reserve = 2 * 64 * kMiB + 4 * kGiB;
  const Marks marks = MarksFor(kTiB, reserve, kRoomy);
  CHECK(marks.budget == kTiB);
  CHECK(marks.soft == 934'584'883'609u);
  CHECK(marks.hard == kTiB - reserve);
  CHECK(marks.resume == marks.hard - 54'975'581'388u);
}

TEST_CASE("a small budget keeps the order of its marks, in steps of 5 %") {
  // Sizes as ScaleToBudget makes them: the reserve is three sixteenths.
  for (const uint64_t budget : {48 * kMiB, kGiB, uint64_t{1'000'000'000}}) {
    INFO("budget " << budget);
    const Sizes sizes = ScaleToBudget(budget, 64 * kMiB, 64 * kMiB);
    const Marks marks = MarksFor(budget, 2 * sizes.write_buffer + sizes.stratum, kRoomy);
    const uint64_t step = budget / 20;
    CHECK(marks.budget == budget);
    CHECK(marks.hard == budget - budget / 16 * 3);
    CHECK(marks.resume == marks.hard - step);
    CHECK(marks.soft == marks.resume - step);
    CHECK(marks.soft > budget / 2);
  }
}

TEST_CASE("however large the reserve, half of the budget may be filled") {
  for (const uint64_t reserve : {uint64_t{500}, uint64_t{501}, uint64_t{1'000}, kMax}) {
    INFO("reserve " << reserve);
    CHECK(MarksFor(1'000, reserve, kRoomy) == Marks{1'000, 400, 500, 450});
  }
  CHECK(MarksFor(1'000, 499, kRoomy).hard == 501);
  CHECK(MarksFor(999, kMax, kRoomy).hard == 500);
}

TEST_CASE("what a file system has left bounds the budget") {
  CHECK(MarksFor(1'000, 0, {300, 700}).budget == 1'000);
  CHECK(MarksFor(1'000, 0, {300, 699}).budget == 999);
  CHECK(MarksFor(1'000, 100, {300, 100}) == Marks{400, 260, 300, 280});
  CHECK(MarksFor(1'000, 100, {0, 0}) == Marks{});
  CHECK(MarksFor(kMax, 0, {kMax, kMax}).budget == kMax);
  CHECK(MarksFor(kMax, 0, {kMax, kMax}).soft == kMax / 100 * 85 + kMax % 100 * 85 / 100);
}

TEST_CASE("a store is full from the hard mark on, until it is below resume") {
  const Marks marks{1'000, 700, 900, 850};
  struct Case {
    uint64_t used;
    SpaceState before;
    SpaceState expected;
  };
  const SpaceState normal = SpaceState::kNormal, pressure = SpaceState::kPressure,
                   full = SpaceState::kFull;
  const Case cases[] = {
      {0, normal, normal},       {700, normal, normal},   {701, normal, pressure},
      {899, normal, pressure},   {900, normal, full},     {2'000, normal, full},
      {0, pressure, normal},     {700, pressure, normal}, {701, pressure, pressure},
      {899, pressure, pressure}, {900, pressure, full},   {900, full, full},
      {899, full, full},         {850, full, full},       {849, full, pressure},
      {701, full, pressure},     {700, full, normal},     {0, full, normal},
  };
  for (const Case& c : cases) {
    INFO("used " << c.used << " before " << SpaceStateName(c.before));
    CHECK(SpaceStateName(Judge(c.before, marks, c.used)) == SpaceStateName(c.expected));
  }
}

TEST_CASE("no size is above a sixteenth of the budget") {
  const uint64_t mib64 = 64 * kMiB;
  CHECK(ScaleToBudget(kTiB, mib64, mib64) == Sizes{mib64, mib64, 4 * kGiB, 256 * kMiB});
  CHECK(ScaleToBudget(kGiB, mib64, mib64) == Sizes{mib64, mib64, mib64, mib64});
  CHECK(ScaleToBudget(48 * kMiB, mib64, mib64) == Sizes{3 * kMiB, 3 * kMiB, 3 * kMiB, 3 * kMiB});
  CHECK(ScaleToBudget(8 * kGiB, kMiB, mib64) == Sizes{kMiB, mib64, mib64, 256 * kMiB});
  CHECK(ScaleToBudget(kTiB, mib64, kGiB).ballast == 2 * kGiB);
  CHECK(ScaleToBudget(kMax, kMax, kMax) == Sizes{kMax / 16, kMax / 16, kMax / 16, kMax / 16});
}

TEST_CASE("without a budget sizes stay as they are") {
  CHECK(ScaleToBudget(0, kMiB, kGiB) == Sizes{kMiB, kGiB, 64 * kMiB, 2 * kGiB});
}

TEST_CASE("the default budget is what the store takes and 80 % of what is free") {
  CHECK(DefaultBudget({0, 1'000}) == 800);
  CHECK(DefaultBudget({300, 1'000}) == 1'100);
  CHECK(DefaultBudget({300, 0}) == 300);
  CHECK(DefaultBudget({kMax, kMax}) == kMax);
}

TEST_CASE("states have the names that the status shows") {
  CHECK(SpaceStateName(SpaceState::kNormal) == "normal");
  CHECK(SpaceStateName(SpaceState::kPressure) == "pressure");
  CHECK(SpaceStateName(SpaceState::kFull) == "full");
}

// Budget 10,000, reserve 1,000: soft 8,000 (5 % below resume), resume 8,500, hard 9,000.
struct Fixture {
  ManualClock clock;
  DiskBudget budget{10'000, 1'000, &clock};
  bool measure = false;

  explicit Fixture(uint64_t used) { Measured(used); }
  void Measured(uint64_t used, uint64_t free = kTiB) {
    budget.Measured({used, free}, budget.charged());
  }
  bool Admits(uint64_t bytes) { return budget.Admit(bytes, &measure).ok(); }
};

TEST_CASE("appends are let in until twice their size reaches the hard mark") {
  Fixture f(8'000);
  CHECK(f.budget.marks() == Marks{10'000, 8'000, 9'000, 8'500});
  CHECK(f.Admits(300));
  CHECK(f.Admits(199));
  CHECK_FALSE(f.Admits(2));
  CHECK(f.Admits(1));
  CHECK_FALSE(f.Admits(1));
  CHECK(f.budget.charged() == 500);
}

TEST_CASE("what is refused is not charged") {
  Fixture f(8'000);
  CHECK_FALSE(f.Admits(501));
  CHECK(f.budget.charged() == 0);
  CHECK(f.Admits(500));
  CHECK(f.budget.charged() == 500);
}

TEST_CASE("half a byte of room lets nothing in") {
  Fixture f(8'999);
  CHECK(f.budget.state() == SpaceState::kPressure);
  CHECK_FALSE(f.Admits(1));
}

TEST_CASE("before the first measurement an append asks for one") {
  ManualClock clock;
  DiskBudget budget(10'000, 1'000, &clock);
  bool measure = false;
  CHECK(budget.Admit(1, &measure).reason() == Reason::DISK_FULL);
  CHECK(measure);
  budget.Measured({0, kTiB}, budget.charged());
  CHECK(budget.Admit(1, &measure).ok());
  CHECK_FALSE(measure);
}

TEST_CASE("an estimate that reaches the mark asks for a measurement, which lets the append in") {
  Fixture f(8'000);
  CHECK(f.Admits(500));
  CHECK_FALSE(f.measure);
  f.clock.Advance(DiskBudget::kMinMeasureInterval);
  CHECK_FALSE(f.Admits(100));
  CHECK(f.measure);
  f.Measured(8'500);  // half of what was charged
  CHECK(f.Admits(100));
  CHECK_FALSE(f.measure);
}

TEST_CASE("measurements are asked for once in an interval at most") {
  Fixture f(8'000);
  CHECK(f.Admits(500));
  CHECK_FALSE(f.Admits(1));
  CHECK_FALSE(f.measure);
  f.clock.Advance(DiskBudget::kMinMeasureInterval - std::chrono::microseconds(1));
  CHECK_FALSE(f.Admits(1));
  CHECK_FALSE(f.measure);
  f.clock.Advance(std::chrono::microseconds(1));
  CHECK_FALSE(f.Admits(1));
  CHECK(f.measure);
  f.Measured(8'999);
  CHECK_FALSE(f.Admits(1));
  CHECK_FALSE(f.measure);
  f.clock.Advance(DiskBudget::kMinMeasureInterval);
  CHECK_FALSE(f.Admits(1));
  CHECK(f.measure);
}

TEST_CASE("however old the last measurement, what fits asks for none") {
  Fixture f(1'000);
  f.clock.Advance(std::chrono::hours(1));
  CHECK(f.Admits(4'000));
  CHECK_FALSE(f.measure);
}

TEST_CASE("a wall clock that is set back does not put a measurement off") {
  Fixture f(9'000);
  f.clock.SetWall(0);
  f.clock.Advance(DiskBudget::kMinMeasureInterval);
  CHECK_FALSE(f.Admits(1));
  CHECK(f.measure);
}

TEST_CASE("what is let in while the disk is measured stays charged") {
  Fixture f(8'000);
  CHECK(f.Admits(200));
  const uint64_t before = f.budget.charged();
  CHECK(f.Admits(100));  // the walk may have seen it, or not
  f.budget.Measured({8'400, kTiB}, before);
  CHECK_FALSE(f.Admits(201));
  CHECK(f.Admits(200));  // 8,400 + 2 x 100 + 2 x 200
}

TEST_CASE("a full store lets nothing in until it is measured below resume") {
  Fixture f(9'000);
  CHECK(f.budget.state() == SpaceState::kFull);
  CHECK_FALSE(f.Admits(1));
  f.Measured(8'500);
  CHECK(f.budget.state() == SpaceState::kFull);
  CHECK_FALSE(f.Admits(1));
  f.Measured(8'499);
  CHECK(f.budget.state() == SpaceState::kPressure);
  CHECK(f.Admits(250));
  CHECK_FALSE(f.Admits(1));
}

TEST_CASE("a full store asks for a measurement when its last one is old") {
  Fixture f(9'500);
  CHECK_FALSE(f.Admits(1));
  CHECK_FALSE(f.measure);
  f.clock.Advance(DiskBudget::kMinMeasureInterval);
  CHECK_FALSE(f.Admits(1));
  CHECK(f.measure);
  f.Measured(1'000);
  CHECK(f.Admits(1));
  CHECK_FALSE(f.measure);
}

TEST_CASE("a single append larger than the room left is refused though the store is not full") {
  Fixture f(1'000);
  f.clock.Advance(DiskBudget::kMinMeasureInterval);
  CHECK_FALSE(f.Admits(4'001));
  CHECK(f.measure);
  f.Measured(1'000);
  CHECK_FALSE(f.Admits(4'001));
  CHECK_FALSE(f.measure);
  CHECK_FALSE(f.Admits(kMax));
  CHECK(f.budget.state() == SpaceState::kNormal);
  CHECK(f.Admits(4'000));
}

TEST_CASE("a file system that runs low fills the store, and space there lets appends in again") {
  Fixture f(2'000);
  CHECK(f.budget.state() == SpaceState::kNormal);
  f.Measured(2'000, 500);  // 2,500 in all, of which 1,000 are kept back
  CHECK(f.budget.marks() == Marks{2'500, 1'250, 1'500, 1'375});
  CHECK(f.budget.state() == SpaceState::kFull);
  CHECK_FALSE(f.Admits(1));
  f.Measured(2'000, 5'000);
  CHECK(f.budget.state() == SpaceState::kNormal);
  CHECK(f.Admits(1));
}

TEST_CASE("the excess is what has to go to end the pressure") {
  Fixture f(8'000);
  CHECK(f.budget.Excess() == 0);
  f.Measured(8'001);
  CHECK(f.budget.Excess() == 1);
  f.Measured(9'700);
  CHECK(f.budget.Excess() == 1'700);
  CHECK(f.budget.usage().used == 9'700);
  f.Measured(9'700 - f.budget.Excess());
  CHECK(f.budget.state() == SpaceState::kNormal);
  CHECK(f.budget.Excess() == 0);
}

TEST_CASE("an unlimited budget lets everything in and has no marks") {
  ManualClock clock;
  DiskBudget budget(0, 1'000, &clock);
  bool measure = true;
  CHECK(budget.Admit(kTiB, &measure).ok());
  CHECK_FALSE(measure);
  budget.Measured({kTiB, 0}, budget.charged());
  clock.Advance(std::chrono::hours(1));
  CHECK(budget.Admit(kTiB, &measure).ok());
  CHECK_FALSE(measure);
  CHECK(budget.charged() == 2 * kTiB);
  CHECK(budget.state() == SpaceState::kNormal);
  CHECK(budget.Excess() == 0);
  CHECK(budget.marks() == Marks{});
  CHECK(budget.usage().used == kTiB);
}

void CheckSays(const Status& status, const std::vector<std::string>& parts) {
  CHECK(status.reason() == Reason::DISK_FULL);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(status.retryable());
  for (const std::string& part : parts) {
    INFO(status.ToString());
    CHECK(status.message().find(part) != std::string::npos);
  }
}

TEST_CASE("a refusal by a full store names its marks and what to do") {
  Fixture f(9'500);
  CheckSays(f.budget.Admit(1, &f.measure),
            {"9.3 KiB", "8.8 KiB", "8.3 KiB", "limits.maxFileStore", "9.8 KiB",
             "truncate or delete", "consumers", "retention"});
}

TEST_CASE("a refusal for want of room names the append and what is charged") {
  ManualClock clock;
  DiskBudget budget(10 * kGiB, kGiB, &clock);
  budget.Measured({8 * kGiB, kTiB}, 0);
  bool measure = false;
  CHECK(budget.Admit(100 * kMiB, &measure).ok());
  CheckSays(budget.Admit(500 * kMiB, &measure),
            {"500.0 MiB", "1000.0 MiB", "8.00 GiB", "200.0 MiB", "9.00 GiB", "10.00 GiB"});
}

TEST_CASE("a refusal by a file system that runs low names what it has left") {
  Fixture f(0);
  f.Measured(3'000, 700);
  CheckSays(f.budget.Admit(1, &f.measure), {"700 bytes", "file system", "Free space"});
}

TEST_CASE("threads that append at the same time do not pass the mark together") {
  ManualClock clock;
  DiskBudget budget(1'000'000, 100'000, &clock);
  budget.Measured({100'000, kTiB}, 0);
  std::atomic<uint64_t> admitted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      bool measure = false;
      for (int n = 0; n < 20'000; ++n) {
        if (budget.Admit(7, &measure).ok()) admitted += 7;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(admitted == budget.charged());
  CHECK(admitted <= 400'000);
  CHECK(admitted > 400'000 - 7);
}

}  // namespace
}  // namespace strata
