#include <vector>

#include "retention/policy.h"
#include "tests/retention/pages.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using retention::ChannelView;
using retention::PlanTrims;
using retention::Rule;
using retention::Trim;
using testing::kNow;
using testing::MakePage;
using testing::Pages;
using testing::Subscription;

// Channel `number` with pages of `bytes` each, whose newest messages are from `times`.
ChannelView Timed(ChannelNumber number, uint64_t bytes, const std::vector<TimeMicros>& times) {
  ChannelView channel;
  channel.number = number;
  MessageId first = 1;
  for (const TimeMicros time : times) {
    channel.pages.push_back(MakePage(first, first + 10, bytes, time));
    first += 10;
  }
  return channel;
}

TEST_CASE("pressure takes the oldest pages of all channels and not one more than it needs") {
  const std::vector<ChannelView> channels = {Timed(1, 100, {10, 40, 50}), Timed(2, 100, {20, 30}),
                                             Timed(3, 100, {35})};
  const auto trim = [](ChannelNumber channel, uint64_t pages) {
    return Trim{channel, static_cast<MessageId>(10 * pages), pages, 100 * pages, Rule::kPressure};
  };
  using Trims = std::vector<Trim>;
  CHECK(PlanTrims(channels, kNow, 0) == Trims{});
  CHECK(PlanTrims(channels, kNow, 1) == Trims{trim(1, 1)});
  CHECK(PlanTrims(channels, kNow, 100) == Trims{trim(1, 1)});
  CHECK(PlanTrims(channels, kNow, 101) == Trims{trim(1, 1), trim(2, 1)});
  CHECK(PlanTrims(channels, kNow, 300) == Trims{trim(1, 1), trim(2, 2)});
  CHECK(PlanTrims(channels, kNow, 400) == Trims{trim(1, 1), trim(2, 2), trim(3, 1)});
  CHECK(PlanTrims(channels, kNow, 600) == Trims{trim(1, 3), trim(2, 2), trim(3, 1)});
  CHECK(PlanTrims(channels, kNow, 10'000) == Trims{trim(1, 3), trim(2, 2), trim(3, 1)});
}

TEST_CASE("pressure goes beyond what rules take, and passes over channels that may give nothing") {
  std::vector<ChannelView> channels = {Timed(1, 100, {10, 40}), Timed(2, 100, {20, 30}),
                                       Timed(3, 100, {1, 2}), Timed(4, 100, {25, 60})};
  channels[0].truncated_through = 10;
  channels[1].cursors = {Subscription("s", 11)};
  channels[2].rules.policy = RetentionPolicy::kTruncated;
  const std::vector<Trim> expected = {{1, 10, 1, 100, Rule::kTruncated},
                                      {2, 10, 1, 100, Rule::kPressure},
                                      {4, 10, 1, 100, Rule::kPressure}};
  CHECK(PlanTrims(channels, kNow, 200) == expected);
}

TEST_CASE("pages of the same age go by pressure in the order of the channels") {
  const std::vector<ChannelView> channels = {Timed(9, 100, {10}), Timed(2, 100, {10})};
  const std::vector<Trim> expected = {{9, 10, 1, 100, Rule::kPressure}};
  CHECK(PlanTrims(channels, kNow, 50) == expected);
}

TEST_CASE("ten thousand channels are planned in one call, each for itself") {
  constexpr uint64_t kChannels = 10'000;
  std::vector<ChannelView> channels;
  for (uint64_t i = 0; i < kChannels; ++i) {
    channels.push_back(Pages(10, {.retention_size = i % 2 == 0 ? 3'500 : kNoLimit}));
    channels.back().number = i + 1;
  }
  // Of every second channel size takes 6 pages, so that the next ones are newer than the 5 that pressure needs of each
  // of the others.
  const std::vector<Trim> trims = PlanTrims(channels, kNow, kChannels / 2 * 5'000);
  REQUIRE(trims.size() == kChannels);
  uint64_t by_pressure = 0;
  for (uint64_t i = 0; i < kChannels; ++i) {
    REQUIRE(trims[i].channel == i + 1);
    if (i % 2 == 0) {
      REQUIRE(trims[i].pages == 6);
      REQUIRE(trims[i].rule == Rule::kSize);
    } else {
      REQUIRE(trims[i].rule == Rule::kPressure);
      by_pressure += trims[i].pages;
    }
  }
  CHECK(by_pressure == kChannels / 2 * 5);
}

}  // namespace
}  // namespace strata
