// Writes the inputs that tests/fuzz/corpus began with: fuzz_seeds FOLDER. They are what a fuzzer would
// take long to come upon by itself: sound messages, rows and files of each kind, made by the encoders of
// the product. Findings are added to the corpus by hand, and this leaves them alone.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

#include "base/batch.h"
#include "base/wire.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"
#include "storage/catalog.h"
#include "storage/codec.h"
#include "strata/v1/admin.pb.h"
#include "strata/v1/log.pb.h"

namespace strata {
namespace {

std::filesystem::path folder;

void Write(const std::string& target, const std::string& name, std::string_view bytes) {
  std::filesystem::create_directories(folder / target);
  std::ofstream out(folder / target / name, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// With the byte in front that chooses what the bytes are.
void Write(const std::string& target, const std::string& name, int kind, std::string_view bytes) {
  Write(target, name, std::string(1, static_cast<char>(kind)).append(bytes));
}

std::string Sized(std::string_view bytes) {
  std::string out = {static_cast<char>(bytes.size() & 0xff), static_cast<char>(bytes.size() >> 8)};
  return out.append(bytes);
}

std::string Batch(int messages, bool properties) {
  BatchBuilder builder;
  for (int i = 0; i < messages; ++i) {
    builder.Add(std::string(static_cast<size_t>(i * 7), 'x'),
                properties ? Properties{{"key", "value"}, {"\xc3\xa9", ""}} : Properties());
  }
  return builder.Take().ToString();
}

void Batches() {
  Write("batch", "one", Batch(1, false));
  Write("batch", "properties", Batch(2, true));
  Write("batch", "many", Batch(20, false));
  Write("batch", "nothing", "");
  std::string entry;
  wire::AppendBytes(&entry, 2, "value");
  wire::AppendBytes(&entry, 1, "key");
  std::string message;
  wire::AppendBytes(&message, 2, entry);
  wire::AppendBytes(&message, 1, "payload");
  std::string batch;
  wire::AppendBytes(&batch, 1, message);
  Write("batch", "other_order", batch);
  // A length in six bytes, which protobuf's own parsers refuse.
  Write("batch", "long_length", std::string("\x0a\x82\x80\x80\x80\x80\x00\x0a\x00", 9));
  Write("batch", "long_tag", std::string("\x8a\x80\x80\x80\x80\x00\x02\x0a\x00", 9));
}

v1::AppendRequest Append() {
  v1::AppendRequest append;
  append.set_channel("c");
  append.mutable_batch()->ParseFromString(Batch(3, true));
  return append;
}

void Requests() {
  v1::AppendRequest append = Append();
  Write("request", "append", 0, append.SerializeAsString());
  Write("server", "append", 0, Sized(append.SerializeAsString()));
  append.set_producer("p");
  append.set_term(1);
  append.set_sequence(1);
  append.set_expected_next_id(3);
  Write("request", "append_producer", 0, append.SerializeAsString());
  Write("server", "append_producer", 0, Sized(append.SerializeAsString()));

  v1::ProduceRequest open;
  open.mutable_open()->set_channel("c");
  v1::ProduceRequest produce;
  *produce.mutable_batch() = Append().batch();
  Write("request", "produce_open", 1, open.SerializeAsString());
  Write("request", "produce", 1, produce.SerializeAsString());
  Write("server", "produce", 2,
        Sized(open.SerializeAsString()) + Sized(produce.SerializeAsString()) +
            Sized(produce.SerializeAsString()));
  open.mutable_open()->set_producer("p");
  open.mutable_open()->set_term(2);
  open.mutable_open()->set_exclusive(true);
  produce.set_sequence(1);
  Write("server", "produce_exclusive", 2,
        Sized(open.SerializeAsString()) + Sized(produce.SerializeAsString()));

  v1::AppendMultiRequest multi;
  *multi.add_appends() = Append();
  *multi.add_appends() = Append();
  multi.mutable_appends(1)->set_channel("d");
  Write("request", "append_multi", 3, multi.SerializeAsString());
  Write("server", "append_multi", 1, Sized(multi.SerializeAsString()));
}

void Readers() {
  v1::ConsumeRequest open;
  open.mutable_open()->set_channel("c");
  open.mutable_open()->set_credit(1000);
  open.mutable_open()->set_subscription("s");
  open.mutable_open()->set_holder("h");
  open.mutable_open()->mutable_start()->set_id(1);
  v1::ConsumeRequest next;
  next.set_add_credit(10);
  next.set_acknowledge_through(1);
  next.mutable_seek()->mutable_time()->set_seconds(1'700'000'000);
  Write("request", "consume_open", 4, open.SerializeAsString());
  Write("request", "consume_seek", 4, next.SerializeAsString());
  Write("server", "consume", 3, Sized(open.SerializeAsString()) + Sized(next.SerializeAsString()));
  v1::FetchRequest fetch;
  fetch.set_channel("c");
  fetch.mutable_start()->set_after_id(0);
  fetch.set_max_bytes(100);
  Write("request", "fetch", 5, fetch.SerializeAsString());
  Write("server", "fetch", 4, Sized(fetch.SerializeAsString()));
  fetch.mutable_start()->mutable_latest();
  Write("server", "fetch_latest", 4, Sized(fetch.SerializeAsString()));
  v1::ChannelOptions options;
  options.set_first_id(5);
  options.mutable_retention()->set_policy(v1::RETENTION_POLICY_LIMITS);
  options.mutable_retention()->set_retention_time_micros(-1);
  options.mutable_retention()->set_max_messages(10);
  Write("request", "options", 6, options.SerializeAsString());
}

v1::Delivery Delivery() {
  v1::Delivery delivery;
  delivery.set_first_id(10);
  delivery.set_skip(1);
  delivery.set_count(3);
  delivery.set_append_time_micros(1'700'000'000'000'000);
  *delivery.mutable_batch() = Append().batch();
  return delivery;
}

void Answers() {
  Write("request", "delivery", 2, Delivery().SerializeAsString());
  v1::ConsumeResponse response;
  *response.mutable_delivery() = Delivery();
  Write("answer", "delivery", 0, response.SerializeAsString());
  response.mutable_gap()->set_first_id(1);
  response.mutable_gap()->set_last_id(9);
  response.mutable_gap()->set_reason(v1::GAP_REASON_TRIMMED);
  Write("answer", "gap", 0, response.SerializeAsString());
  response.mutable_opened()->set_position(3);
  Write("answer", "opened", 0, response.SerializeAsString());
  response.mutable_sought()->set_seek_number(3);
  Write("answer", "sought", 0, response.SerializeAsString());
  response.mutable_standby()->set_holder("somebody");
  Write("answer", "standby", 0, response.SerializeAsString());
  v1::FetchResponse fetch;
  *fetch.add_items()->mutable_delivery() = Delivery();
  fetch.add_items()->mutable_gap()->set_last_id(7);
  fetch.set_next_position(13);
  Write("answer", "fetch", 1, fetch.SerializeAsString());
  for (const Reason reason : {Reason::ID_MISMATCH, Reason::STORE_FAILED, Reason::BACK_PRESSURE}) {
    const Status status = Status(reason, "so it is").WithActualNextId(17);
    const grpc::Status sent = ToGrpc(status);
    const std::string head = {static_cast<char>(sent.error_code() - 1), '\x02'};
    Write("answer", std::string("error_") + GetErrorInfo(reason).name, 2,
          head + Sized(sent.error_message()) + sent.error_details());
  }
}

template <size_t N>
std::string Bytes(const std::array<char, N>& bytes) {
  return {bytes.data(), bytes.size()};
}

void StoredBatches() {
  using namespace storage;
  BatchRecord record;
  record.channel = 1;
  record.first_id = 10;
  record.count = 3;
  record.append_time = 1'700'000'000'000'000;
  record.producer = 2;
  record.sequence = 7;
  record.bytes = Buffer(Batch(3, true));
  const MessageKey key = EncodeMessageKey(1, 10);
  const std::string header = Bytes(EncodeBatchHeader(key, record));
  for (const int kind : {0, 1}) {
    Write("stored_batch", kind == 0 ? "row" : "row_mended", kind,
          Bytes(key) + header + record.bytes.ToString());
  }
  const EncodedReference reference = EncodeReference({4, 4096, 100'000, 99});
  Write("stored_batch", "reference", 0,
        Bytes(key) + Bytes(EncodeBatchHeader(key, record, reference)) + Bytes(reference));
  std::string old = header;
  old[0] = 1;
  Write("stored_batch", "version_1", 1, Bytes(key) + old + record.bytes.ToString());
  Write("stored_batch", "fields", 2, std::string(100, '\x01'));
  Write("stored_batch", "body_name", 3, "stratum-0000000042.body");
  Write("stored_batch", "stratum_name", 3, "stratum-0000000042");
}

// Keeps the rows of a WriteBatch in the form of the fuzzer's input.
class RowWriter final : public rocksdb::WriteBatch::Handler {
 public:
  rocksdb::Status PutCF(uint32_t /*family*/, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    rows_ += static_cast<char>(key.size()) + key.ToString() + Sized(value.ToString());
    return rocksdb::Status::OK();
  }
  const std::string& rows() const { return rows_; }

 private:
  std::string rows_;
};

void Catalogs() {
  using namespace storage;
  rocksdb::WriteBatch batch;
  CatalogWriter writer(nullptr);
  writer.PutFormat(&batch);
  writer.PutRun(&batch, {"boot", SyncPolicy::kAlways, true, 5});
  writer.PutCommit(&batch, 9);
  writer.PutNextChannel(&batch, 3);
  ChannelRecord channel;
  channel.number = 1;
  channel.name = "c";
  channel.next_id = 40;
  channel.lost = {{20, 29, GapReason::kLost}};
  channel.options.retention.policy = RetentionPolicy::kLimits;
  channel.options.retention.max_messages = kNoLimit;
  channel.exclusive_term = 3;
  channel.exclusive_holder = "p";
  channel.next_producer = 2;
  writer.PutChannel(&batch, channel);
  writer.PutPage(&batch, 1, {1, 20, 1000, 3, 1, 5, 6, 8});
  writer.PutPage(&batch, 1, {30, 40, 1000, 3, 2, 7, 8, 9});
  writer.PutStratum(&batch, {1, 5, 6, "why"});
  writer.PutSubscription(&batch, {1, "s", 4, 5, 6, 1});
  writer.PutProducer(&batch, {1, 1, "p", 3, 4, 5});
  for (uint64_t sequence = 5; sequence < 8; ++sequence) {
    BatchRecord stored;
    stored.channel = 1;
    stored.producer = 1;
    stored.sequence = sequence;
    stored.first_id = static_cast<MessageId>(30 + sequence);
    stored.count = 1;
    stored.content = 77;
    writer.PutResult(&batch, stored);
  }
  RowWriter rows;
  batch.Iterate(&rows).PermitUncheckedError();
  Write("catalog", "all", rows.rows());
  Write("catalog", "long_commit_key",
        std::string("\x02Gx\x08\x00\x00\x00\x00\x00\x00\x00\x00\x09", 13));
}

}  // namespace
}  // namespace strata

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds FOLDER\n";
    return 2;
  }
  using namespace strata;
  folder = argv[1];
  Batches();
  Requests();
  Readers();
  Answers();
  StoredBatches();
  Catalogs();
  return 0;
}
