// Producers as the broker's users see them: opened, closed, listed, forgotten. The rules are in
// producers.h.
#include <algorithm>

#include "broker/broker.h"
#include "broker/channel.h"
#include "broker/committer.h"
#include "broker/producers.h"

namespace strata::broker {
namespace {

// How often producers are looked through for idle ones: often enough that one lives at most 5 %
// longer than producers.expiry, and once an hour at most.
constexpr std::chrono::microseconds kMostBetweenChecks = std::chrono::hours(1);
constexpr std::chrono::microseconds kLeastBetweenChecks = std::chrono::seconds(1);

Status CheckPlainOpening(const ChannelInfo& channel) {
  if (channel.exclusive_holder.empty()) return Status::Ok();
  return Status(Reason::FENCED, "producer '" + channel.exclusive_holder + "' holds the channel '" +
                                    channel.name + "' with term " +
                                    std::to_string(channel.exclusive_term) +
                                    " until it is closed; nobody else may append");
}

}  // namespace

Status Broker::CheckNumber(const Channel& channel, ChannelNumber number) {
  if (number == 0 || number == channel.number()) return Status::Ok();
  return Status(Reason::CHANNEL_RECREATED, "the channel '" + channel.name() +
                                               "' was opened as number " + std::to_string(number) +
                                               " and is number " +
                                               std::to_string(channel.number()) + " now");
}

Result<OpenedProducer> Broker::OpenProducer(const ProducerOpen& open) {
  STRATA_RETURN_IF_ERROR(CheckOpen(open));
  if (open.create_if_missing) {
    STRATA_RETURN_IF_ERROR(OpenChannel(open.channel, /*create_if_missing=*/true).status());
  }
  STRATA_ASSIGN_OR_RETURN(const ChannelPtr channel, FindChannel(open.channel));
  STRATA_RETURN_IF_ERROR(CheckNumber(*channel, open.channel_number));
  OpenedProducer opened;
  opened.session = std::make_shared<ProducerSession>(channel, open);
  opened.channel_number = channel->number();
  if (open.producer.empty()) {
    // Nobody has to know of it: it waits for no sync and opens after fail-stop, too. Whether it may
    // append is judged with each batch.
    const ChannelInfo info = channel->Info();
    STRATA_RETURN_IF_ERROR(CheckPlainOpening(info));
    opened.next_id = info.next_id;
    return opened;
  }
  storage::ChannelRecord record;
  STRATA_RETURN_IF_ERROR(Commit(
      [&](storage::WriteGroup* group) {
        Channel::WriteFace& face = channel->write_face();
        if (face.deleted) {
          return Status(Reason::CHANNEL_DELETED, "the channel '" + open.channel + "' was deleted");
        }
        STRATA_RETURN_IF_ERROR(face.producers.Open(&face.record, open, opened.session,
                                                   options_.clock->WallMicros(), &group->changes));
        opened.last_sequence = Producers::LastSequence(*opened.session);
        record = face.record;
        return Status::Ok();
      },
      [&] {
        channel->PublishExclusive(record.exclusive_term, record.exclusive_holder);
        // All that was written before is published by now, and what an older instance had on its
        // way with it.
        opened.next_id = channel->range().next_id;
      }));
  return opened;
}

Status Broker::CloseProducer(const std::shared_ptr<ProducerSession>& session) {
  const ChannelPtr& channel = session->channel();
  if (session->producer().empty()) {
    session->RefuseFromHere(
        Status(Reason::CLIENT_CLOSED, "this producer of '" + channel->name() + "' was closed"));
    return Status::Ok();
  }
  storage::ChannelRecord record;
  return Commit(
      [&](storage::WriteGroup* group) {
        Channel::WriteFace& face = channel->write_face();
        std::vector<storage::CatalogChange> changes;
        face.producers.Close(&face.record, session.get(), &changes);
        record = face.record;
        // Of a deleted channel nothing is left to write.
        if (face.deleted) return Status::Ok();
        for (storage::CatalogChange& change : changes) group->changes.push_back(std::move(change));
        return Status::Ok();
      },
      [&] { channel->PublishExclusive(record.exclusive_term, record.exclusive_holder); });
}

Result<std::vector<ProducerInfo>> Broker::ListProducers(const std::string& name) const {
  ChannelPtr only;
  if (!name.empty()) {
    STRATA_ASSIGN_OR_RETURN(only, FindChannel(name));
  }
  std::vector<ProducerInfo> infos;
  // By way of the write role, whose state this is; answered once all that it shows is durable.
  STRATA_RETURN_IF_ERROR(Commit(
      [&](storage::WriteGroup*) {
        if (only != nullptr) {
          if (only->write_face().deleted) {
            return Status(Reason::CHANNEL_DELETED, "the channel '" + name + "' was deleted");
          }
          only->write_face().producers.Describe(name, &infos);
          return Status::Ok();
        }
        for (const auto& [channel_name, channel] : write_channels_) {
          channel->write_face().producers.Describe(channel_name, &infos);
        }
        return Status::Ok();
      },
      [] {}));
  std::stable_sort(infos.begin(), infos.end(), [](const ProducerInfo& a, const ProducerInfo& b) {
    return a.channel < b.channel;
  });
  return infos;
}

void Broker::ForgetIdleProducers() {
  const Clock::Duration now = options_.clock->Monotonic();
  if (now < next_producer_check_) return;
  next_producer_check_ = now + BetweenProducerChecks();
  (void)Commit(
      [&](storage::WriteGroup* group) {
        const TimeMicros wall = options_.clock->WallMicros();
        const int64_t expiry = options_.producer_expiry.count();
        for (const auto& [name, channel] : write_channels_) {
          Channel::WriteFace& face = channel->write_face();
          face.producers.ForgetIdle(face.record, expiry == 0 ? INT64_MIN : wall - expiry, wall,
                                    &group->changes);
        }
        return Status::Ok();
      },
      [] {});
}

Clock::Duration Broker::BetweenProducerChecks() const {
  if (options_.producer_expiry.count() == 0) return kMostBetweenChecks;
  return std::clamp(options_.producer_expiry / 24, kLeastBetweenChecks, kMostBetweenChecks);
}

}  // namespace strata::broker
