#include "server/consume_opening.h"

#include <utility>

#include "proto/convert.h"

namespace strata::server {
namespace {

constexpr size_t kMaxHolder = 256;

Status Invalid(const std::string& why) { return Status(Reason::INVALID_ARGUMENT, why); }

}  // namespace

Status ConsumeOpening::Check(const v1::ConsumeRequest& first) {
  if (!first.has_open()) return Invalid("the first request of a Consume stream has `open`");
  const v1::ConsumeOpen& open = first.open();
  if (open.mode() != v1::ConsumeOpen::MODE_EXCLUSIVE &&
      open.mode() != v1::ConsumeOpen::MODE_FAILOVER) {
    return Status(Reason::NOT_SUPPORTED, "this version does not know the mode " +
                                             std::to_string(open.mode()) +
                                             " of consumers: use MODE_EXCLUSIVE or MODE_FAILOVER");
  }
  if (open.holder().size() > kMaxHolder) {
    return Invalid("open.holder has " + std::to_string(open.holder().size()) + " bytes; " +
                   std::to_string(kMaxHolder) + " is the limit");
  }
  // Before it waits for anything.
  STRATA_RETURN_IF_ERROR(FromProto(open.start()).status());
  if (!open.subscription().empty() && !IsValidName(open.subscription())) {
    return Invalid("'" + open.subscription().substr(0, 300) +
                   "' is not a subscription name: 1 to 249 of A-Z a-z 0-9 . _ -");
  }
  if (open.credit() < 0 || first.add_credit() < 0) return Invalid("credit is never negative");
  if (open.resume_at() < 0) return Invalid("open.resume_at is never negative");
  if (open.subscription().empty() && open.resume_at() != 0) {
    return Invalid("open.resume_at is for subscriptions; a reader resumes with `start`");
  }
  if (first.acknowledge_through() != 0 || first.has_seek()) {
    return Invalid("acknowledging and seeking come after `open`, in requests of their own");
  }
  return Status();
}

ConsumeOpening::ConsumeOpening(std::shared_ptr<CallContext> context, v1::ConsumeOpen open,
                               std::string peer, std::function<void()> news)
    : context_(std::move(context)),
      open_(std::move(open)),
      peer_(std::move(peer)),
      news_(std::move(news)) {}

Result<std::optional<v1::ConsumeResponse>> ConsumeOpening::Advance() {
  const bool stood_by = standby_ != nullptr;
  while (standby_ == nullptr && reader_ == nullptr) {
    STRATA_ASSIGN_OR_RETURN(const bool waits, WaitsForChannel());
    if (waits) return std::optional<v1::ConsumeResponse>();
    const Status status = Enter();
    if (status.ok()) break;
    // Deleted as soon as it was created: that one was not meant either.
    const bool again = status.reason() == Reason::CHANNEL_NOT_FOUND && open_.wait_for_channel() &&
                       open_.channel_number() == 0;
    if (!again) return status;
  }
  if (standby_ != nullptr) {
    STRATA_ASSIGN_OR_RETURN(reader_, standby_->Take());
    if (reader_ == nullptr) {
      if (stood_by) return std::optional<v1::ConsumeResponse>();
      v1::ConsumeResponse response;
      response.mutable_standby()->set_channel_number(standby_->channel().number);
      response.mutable_standby()->set_holder(standby_->held_by());
      return std::make_optional(std::move(response));
    }
    standby_.reset();
  }
  return std::make_optional(Opened());
}

Result<bool> ConsumeOpening::WaitsForChannel() {
  wait_.reset();
  // A channel with a number cannot come back.
  if (!open_.wait_for_channel() || open_.channel_number() != 0) return false;
  STRATA_ASSIGN_OR_RETURN(wait_, context_->broker->WaitForChannel(open_.channel(), news_));
  if (wait_ == nullptr) return false;
  // Whatever will be in the channel is later than now.
  if (open_.start().has_latest()) open_.clear_start();
  return true;
}

Status ConsumeOpening::Enter() {
  STRATA_ASSIGN_OR_RETURN(const StartPosition start, FromProto(open_.start()));
  broker::Broker& broker = *context_->broker;
  if (open_.channel_number() != 0) {
    // Before anything is created on a channel that is not meant.
    STRATA_ASSIGN_OR_RETURN(const ChannelInfo info, broker.DescribeChannel(open_.channel()));
    STRATA_RETURN_IF_ERROR(CheckChannelNumber(info.name, info.number, open_.channel_number()));
  }
  ChannelInfo info;
  if (open_.subscription().empty()) {
    STRATA_ASSIGN_OR_RETURN(reader_, broker.OpenReader(open_.channel(), start));
    info = reader_->channel();
  } else {
    const broker::SubscriptionOpen open{
        .channel = open_.channel(),
        .subscription = open_.subscription(),
        .start = start,
        .holder = open_.holder().empty() ? peer_ : open_.holder(),
        .instance = open_.instance(),
        .resume_at = open_.resume_at(),
        .resume_seek = open_.resume_seek(),
        .news = news_,
    };
    if (open_.mode() == v1::ConsumeOpen::MODE_FAILOVER) {
      STRATA_ASSIGN_OR_RETURN(standby_, broker.StandBy(open));
      info = standby_->channel();
    } else {
      STRATA_ASSIGN_OR_RETURN(reader_, broker.OpenSubscription(open));
      info = reader_->channel();
    }
  }
  return CheckChannelNumber(info.name, info.number, open_.channel_number());
}

v1::ConsumeResponse ConsumeOpening::Opened() {
  const ChannelInfo info = reader_->channel();
  v1::ConsumeResponse response;
  v1::ConsumeOpened& opened = *response.mutable_opened();
  opened.set_channel_number(info.number);
  opened.set_position(reader_->position());
  opened.set_next_id(info.next_id);
  opened.set_first_available_id(info.first_available);
  opened.set_store_id(context_->broker->store_id());
  opened.set_seek_number(reader_->seek_number());
  return response;
}

}  // namespace strata::server
