#include "tests/faults/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <thread>

#include "tests/faults/workload_actors.h"

namespace strata::testing {

std::vector<ChannelPlan> WorkloadPlans() {
  const auto retention = [](RetentionPolicy policy, int64_t bytes) {
    RetentionOverrides overrides;
    overrides.policy = policy;
    if (bytes >= 0) overrides.retention_size = bytes;
    return overrides;
  };
  std::vector<ChannelPlan> plans(kPlans);
  plans[kPlain] = {"plain", retention(RetentionPolicy::kAcked, 0), {"fast", "slow"}};
  plans[kNamed] = {"named", retention(RetentionPolicy::kTruncated, -1), {}};
  plans[kHeld] = {"held", retention(RetentionPolicy::kTruncated, -1), {}};
  plans[kLimits] = {"limits", retention(RetentionPolicy::kLimits, 20 << 10), {}};
  plans[kPhoenix] = {"phoenix", retention(RetentionPolicy::kLimits, 8 << 10), {}};
  return plans;
}

Workload::Workload(broker::Broker* broker, Ledger* ledger, uint64_t seed,
                   const WorkloadShape& shape)
    : broker_(broker), ledger_(ledger), shape_(shape), random_(seed) {
  const auto next = [this] { return random_.Below(UINT64_MAX); };
  actors_.push_back(std::make_unique<PlainAppender>(this, next()));
  actors_.push_back(std::make_unique<NamedAppender>(this, next(), "steady"));
  actors_.push_back(std::make_unique<SessionAppender>(this, next(), "piped"));
  actors_.push_back(std::make_unique<MultiAppender>(this, next()));
  actors_.push_back(std::make_unique<ExclusiveAppender>(this, next()));
  actors_.push_back(std::make_unique<Administrator>(this, next()));
  actors_.push_back(std::make_unique<Consumer>(this, next()));
  actors_.push_back(std::make_unique<Follower>(this, next()));
}

Workload::~Workload() = default;

const Status& Workload::Note(const Status& status) {
  if (status.reason() == Reason::STORE_FAILED || status.reason() == Reason::SHUTTING_DOWN)
    over_ = true;
  return status;
}

bool Workload::Create(size_t plan) {
  const ChannelPlan& wanted = ledger_->plans()[plan];
  ChannelOptions options;
  options.retention = wanted.retention;
  ledger_->CreationAsked(plan);
  const Result<ChannelInfo> created = broker_->CreateChannel(wanted.name, options);
  if (!Note(created.status()).ok()) return false;
  if (ledger_->Current(plan) != created->number) {
    // Nobody appends to it before it has its subscriptions.
    for (const std::string& subscription : wanted.subscriptions) {
      const auto made = broker_->CreateSubscription(wanted.name, subscription, {});
      if (!Note(made.status()).ok()) return false;
    }
    ledger_->Created(plan, created->number);
    return true;
  }
  for (const std::string& subscription : wanted.subscriptions) {
    if (broker_->DescribeSubscription(wanted.name, subscription).ok()) continue;
    if (!Note(broker_->CreateSubscription(wanted.name, subscription, {}).status()).ok())
      return false;
  }
  return true;
}

std::vector<size_t> Workload::RandomSizes(Random* random) const {
  std::vector<size_t> sizes(random->Between(1, 4));
  for (size_t& size : sizes) {
    size = random->Below(random->OneIn(10) ? 5000 : 300);
  }
  if (random->OneIn(12)) sizes.back() = random->Between(shape_.large, 2 * shape_.large);
  return sizes;
}

void Workload::Run() {
  for (size_t plan = 0; plan < ledger_->plans().size(); ++plan) {
    if (!over_) Create(plan);
  }
  if (shape_.threads) {
    std::vector<std::thread> threads;
    for (const auto& actor : actors_) {
      threads.emplace_back([this, &actor] {
        for (size_t i = 0; i < shape_.steps && !over_; ++i) actor->Step();
        actor->End();
      });
    }
    for (std::thread& thread : threads) thread.join();
    return;
  }
  for (size_t i = 0; i < shape_.steps * actors_.size() && !over_; ++i) {
    actors_[random_.Below(actors_.size())]->Step();
  }
  for (const auto& actor : actors_) actor->End();
}

}  // namespace strata::testing
