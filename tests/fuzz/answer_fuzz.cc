// Any bytes as what a daemon answers: the client's decoding of deliveries, gaps and fetches, the reader
// on top of it, and errors. The first byte chooses the answer.
#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/batch.h"
#include "client/batch_reader.h"
#include "client/grpc/codec.h"
#include "proto/status_mapping.h"
#include "strata/v1/log.pb.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/protobuf.h"

namespace strata {
namespace {

using std::chrono::milliseconds;

// Gives one batch, then nothing.
class OneBatch final : public BatchSource {
 public:
  explicit OneBatch(ReceivedBatch batch) : batch_(std::move(batch)) {}
  Result<ReceivedBatch> Next(milliseconds /*timeout*/) override {
    if (!batch_) return Status(Reason::TIMEOUT, "no more");
    return *std::exchange(batch_, std::nullopt);
  }
  Result<MessageId> Seek(const StartPosition& to) override { return to.id; }
  Status Acknowledge(MessageId /*through*/) override { return Status(); }
  Status AcknowledgeAsync(MessageId /*through*/) override { return Status(); }
  bool active() const override { return true; }
  OpenedAt opened_at() override { return {1, 1, 1}; }
  MessageId position() const override { return 0; }
  void Close() override {}
  void End(const Status& /*why*/) override {}

 private:
  std::optional<ReceivedBatch> batch_;
};

// What an application gets of it: ids in order, in the batch's range, and the position behind them.
// Returns how many messages came.
uint32_t CheckReader(const ReceivedBatch& batch) {
  BatchReader reader(std::make_shared<OneBatch>(batch), OpenedAt{1, 1, 1});
  MessageId next = batch.is_gap() ? batch.gap().first : batch.first_id();
  uint32_t received = 0;
  for (;;) {
    const auto item = reader.Receive(milliseconds(0));
    if (!item.ok()) {
      const bool whole = received == batch.size();
      FUZZ_CHECK(item.status().reason() == (whole ? Reason::TIMEOUT : Reason::CORRUPTION));
      break;
    }
    if (item->is_gap()) {
      FUZZ_CHECK(batch.is_gap() && item->gap() == batch.gap());
      FUZZ_CHECK(item->gap().first <= item->gap().last);
      FUZZ_CHECK(reader.position() > item->gap().last);
      continue;
    }
    FUZZ_CHECK(++received <= batch.size());
    FUZZ_CHECK(item->message().id == next && next <= batch.last_id());
    FUZZ_CHECK(reader.position() == ++next);
  }
  if (batch.is_gap()) return 0;
  BatchReader other(std::make_shared<OneBatch>(batch), OpenedAt{1, 1, 1});
  const auto rest = other.ReceiveBatch(milliseconds(0));
  FUZZ_CHECK(rest.ok() && rest->size() == batch.size());
  FUZZ_CHECK(other.position() == batch.last_id() + 1);
  return received;
}

bool Same(const ReceivedBatch& a, const ReceivedBatch& b) {
  if (a.is_gap() != b.is_gap()) return false;
  if (a.is_gap()) return a.gap() == b.gap();
  return a.size() == b.size() && a.first_id() == b.first_id() && a.last_id() == b.last_id() &&
         a.append_time() == b.append_time() && a.bytes().view() == b.bytes().view();
}

// As protobuf finds it; ids that a broker gives are positive, and their range is not empty.
bool IsSound(const v1::Delivery& delivery) {
  return delivery.first_id() >= 1 && delivery.has_batch() && delivery.skip() < delivery.count() &&
         delivery.first_id() <= std::numeric_limits<MessageId>::max() - delivery.count();
}

bool IsSound(const v1::Gap& gap) {
  return gap.first_id() <= gap.last_id() && gap.last_id() < std::numeric_limits<MessageId>::max();
}

bool Equals(const ReceivedBatch& batch, const v1::Delivery& delivery) {
  return !batch.is_gap() && batch.first_id() == delivery.first_id() + delivery.skip() &&
         batch.size() == delivery.count() - delivery.skip() &&
         batch.append_time() == delivery.append_time_micros() &&
         CheckBatch(batch.bytes(), BatchLimits()).ok() ==
             CheckBatch(Buffer(delivery.batch().SerializeAsString()), BatchLimits()).ok();
}

void CheckConsume(const std::string& bytes, testing::Random* random) {
  const auto event = ParseConsumeResponse(Buffer(bytes));
  const auto cut = ParseConsumeResponse(testing::InPieces(bytes, random, 2 + random->Below(8)));
  FUZZ_CHECK(event.status().ToString() == cut.status().ToString());
  v1::ConsumeResponse typed;
  const bool canonical = typed.ParseFromString(bytes) && typed.SerializeAsString() == bytes;
  if (canonical && typed.has_delivery()) FUZZ_CHECK(event.ok() == IsSound(typed.delivery()));
  if (canonical && typed.has_gap()) FUZZ_CHECK(event.ok() == IsSound(typed.gap()));
  if (!event.ok()) {
    FUZZ_CHECK(event.status().reason() == Reason::INTERNAL);
    FUZZ_CHECK(event.status().fate() == DataFate::kNotApplicable ||
               event.status().fate() == DataFate::kNotAppended);
    return;
  }
  FUZZ_CHECK(event->index() == cut->index());
  if (const auto* batch = std::get_if<ReceivedBatch>(&*event)) {
    FUZZ_CHECK(Same(*batch, std::get<ReceivedBatch>(*cut)));
    const uint32_t received = CheckReader(*batch);
    if (!canonical || !typed.has_delivery()) return;
    FUZZ_CHECK(Equals(*batch, typed.delivery()));
    // A batch that a broker would have stored, and counted right, arrives as a whole.
    const auto shape = CheckBatch(batch->bytes(), BatchLimits());
    if (shape.ok() && shape->count == typed.delivery().count()) {
      FUZZ_CHECK(received == batch->size());
    }
  }
}

void CheckFetch(const std::string& bytes, testing::Random* random) {
  const auto result = ParseFetchResponse(Buffer(bytes));
  const auto cut = ParseFetchResponse(testing::InPieces(bytes, random, 2 + random->Below(8)));
  FUZZ_CHECK(result.status().ToString() == cut.status().ToString());
  v1::FetchResponse typed;
  const bool canonical = typed.ParseFromString(bytes) && typed.SerializeAsString() == bytes;
  if (canonical) {
    bool sound = true;
    for (const v1::FetchItem& item : typed.items()) {
      sound =
          sound && !(item.has_delivery() && item.has_gap()) &&
          (item.has_delivery() ? IsSound(item.delivery()) : item.has_gap() && IsSound(item.gap()));
    }
    FUZZ_CHECK(!sound || result.ok());
  }
  if (!result.ok()) {
    FUZZ_CHECK(result.status().reason() == Reason::INTERNAL);
    return;
  }
  FUZZ_CHECK(result->batches.size() == cut->batches.size());
  if (canonical) {
    FUZZ_CHECK(result->batches.size() == static_cast<size_t>(typed.items_size()));
    FUZZ_CHECK(result->next_position == typed.next_position());
    FUZZ_CHECK(result->next_id == typed.next_id());
  }
  for (size_t i = 0; i < result->batches.size() && i < 16; ++i) {
    FUZZ_CHECK(Same(result->batches[i], cut->batches[i]));
    CheckReader(result->batches[i]);
  }
}

void CheckError(fuzz::Input* input) {
  const auto code = static_cast<grpc::StatusCode>(1 + input->Byte() % 16);
  const auto fate = static_cast<DataFate>(input->Byte() % 4);
  const std::string message(input->Sized());
  const Status status = FromGrpc(grpc::Status(code, message, std::string(input->rest())), fate);
  // An error stays one, with a reason of the catalog, and what it says of the data is not changed on
  // its way to the next client.
  FUZZ_CHECK(!status.ok());
  FUZZ_CHECK(GetErrorInfo(status.reason()).reason == status.reason());
  FUZZ_CHECK(status.fate() <= DataFate::kAppended);
  const grpc::Status sent = ToGrpc(status);
  FUZZ_CHECK(sent.error_message().size() + sent.error_details().size() < 8192 - 512);
  const Status received = FromGrpc(sent, DataFate::kNotApplicable);
  FUZZ_CHECK(received.reason() == status.reason());
  FUZZ_CHECK(received.fate() == status.fate());
  FUZZ_CHECK(received.actual_next_id().value_or(0) == status.actual_next_id().value_or(0));
  FUZZ_CHECK(ToGrpc(received).error_details() == sent.error_details());
}

}  // namespace
}  // namespace strata

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  fuzz::Input input(data, size);
  const uint8_t kind = input.Byte();
  if (kind % 3 == 2) {
    CheckError(&input);
    return 0;
  }
  const std::string bytes(input.rest());
  testing::Random random = fuzz::RandomOf(bytes);
  kind % 3 == 0 ? CheckConsume(bytes, &random) : CheckFetch(bytes, &random);
  return 0;
}
