#include "client/client.h"

namespace strata {

std::future<Result<MessageId>> Producer::Send(const Message& message) {
  auto promise = std::make_shared<std::promise<Result<MessageId>>>();
  std::future<Result<MessageId>> future = promise->get_future();
  const Status refused =
      Send(message, [promise](const Result<MessageId>& result) { promise->set_value(result); });
  if (!refused.ok()) promise->set_value(refused);
  return future;
}

ReceivedBatch::iterator ReceivedBatch::begin() const {
  if (is_gap()) return end();
  BatchIterator it(bytes_.view(), first_id_, append_time_);
  MessageView skipped;
  for (uint32_t i = 0; i < skip_ && it.Next(&skipped); ++i) {
  }
  return iterator(it);
}

}  // namespace strata
