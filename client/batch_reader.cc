#include "client/batch_reader.h"

#include <string>

#include "client/calls.h"

namespace strata {

Result<std::optional<Gap>> BatchReader::Load(std::chrono::milliseconds timeout) {
  if (closed_.load(std::memory_order_relaxed)) {
    return NothingAppended(Status(Reason::CLIENT_CLOSED, "the reader was closed"));
  }
  if (left() > 0) return std::optional<Gap>();
  current_.reset();
  const bool waited = end_at_open() == 0;
  Result<ReceivedBatch> batch = source_->Next(timeout);
  // Its turn may have come.
  if (waited) end_at_open_.store(source_->opened_at().end, std::memory_order_relaxed);
  if (!batch.ok()) {
    // It may have got its turn, or have been moved by another's seek.
    position_.store(source_->position(), std::memory_order_relaxed);
    return batch.status();
  }
  if (batch->is_gap()) return std::optional<Gap>(batch->gap());
  current_ = *std::move(batch);
  next_ = current_->begin();
  taken_ = 0;
  return std::optional<Gap>();
}

Result<Received> BatchReader::Receive(std::chrono::milliseconds timeout) {
  STRATA_ASSIGN_OR_RETURN(const std::optional<Gap> gap, Load(timeout));
  if (gap.has_value()) {
    position_.store(gap->last + 1, std::memory_order_relaxed);
    return Received(*gap);
  }
  if (next_ == current_->end()) {
    const MessageId id = current_->first_id() + taken_;
    current_.reset();
    return Status(Reason::CORRUPTION, "the batch with message " + std::to_string(id) +
                                          " ends before it; the broker checked more messages");
  }
  const MessageView message = *next_;
  ++next_;
  ++taken_;
  position_.store(message.id + 1, std::memory_order_relaxed);
  return Received(message, current_->bytes().owner());
}

Result<ReceivedBatch> BatchReader::ReceiveBatch(std::chrono::milliseconds timeout) {
  STRATA_ASSIGN_OR_RETURN(const std::optional<Gap> gap, Load(timeout));
  if (gap.has_value()) {
    position_.store(gap->last + 1, std::memory_order_relaxed);
    return ReceivedBatch(*gap);
  }
  ReceivedBatch rest = current_->Without(taken_);
  current_.reset();
  position_.store(rest.last_id() + 1, std::memory_order_relaxed);
  return rest;
}

Status BatchReader::Seek(const StartPosition& to) {
  STRATA_ASSIGN_OR_RETURN(const MessageId position, source_->Seek(to));
  current_.reset();
  position_.store(position, std::memory_order_relaxed);
  return Status::Ok();
}

void BatchReader::Close() {
  closed_.store(true, std::memory_order_relaxed);
  source_->Close();
}

}  // namespace strata
