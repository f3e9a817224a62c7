#include "broker/standby.h"

#include <utility>

#include "broker/channel.h"
#include "broker/shared_state.h"

namespace strata::broker {

Standby::Standby(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel,
                 Attachment attached, std::string held_by, MessageId resume_at,
                 uint64_t resume_seek)
    : shared_(std::move(shared)),
      channel_(std::move(channel)),
      attached_(std::move(attached)),
      held_by_(std::move(held_by)),
      resume_at_(resume_at),
      resume_seek_(resume_seek) {}

Standby::~Standby() {
  if (attached_.claim != nullptr) channel_->Leave(*attached_.subscription, attached_.claim);
}

Result<std::unique_ptr<Reader>> Standby::Take() {
  if (attached_.claim == nullptr) return std::unique_ptr<Reader>();
  MessageId cursor = 0;
  STRATA_ASSIGN_OR_RETURN(const bool turn,
                          channel_->Begin(&attached_, shared_->clock->WallMicros(), &cursor));
  if (!turn) return std::unique_ptr<Reader>();
  // After a seek the consumer's own position means nothing.
  const bool resumes = resume_seek_ == attached_.seeks && resume_at_ > cursor;
  Attachment taken = attached_;
  attached_.claim.reset();
  return std::make_unique<Reader>(shared_, channel_, std::move(taken),
                                  resumes ? resume_at_ : cursor);
}

ChannelInfo Standby::channel() const { return channel_->Info(); }

}  // namespace strata::broker
