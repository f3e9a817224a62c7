#include "tests/server/server_fixture.h"

#include <atomic>
#include <stdexcept>
#include <thread>

#include "base/batch.h"
#include "proto/convert.h"

namespace strata::testing {
namespace {

void Require(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

}  // namespace

ServerFixture::ServerFixture(const std::vector<std::string>& settings,
                             const std::function<void(broker::Config*)>& amend)
    : socket_path_(dir_ / "strata.sock") {
  std::vector<std::string> all = {"server.port=-1", "http.port=-1", "http.address=none",
                                  "server.unixSocket=" + socket_path_};
  all.insert(all.end(), settings.begin(), settings.end());
  auto config = broker::LoadConfig("", all);
  Require(config.status());
  if (amend) amend(&*config);
  auto store = std::make_unique<MemoryStore>();
  store_ = store.get();
  storage::Recovered recovered = store->Recover();
  broker_ = std::make_shared<broker::Broker>(config->broker, std::move(store), recovered);
  server_ = std::make_unique<server::Server>(*config, Logger());
  Require(server_->Start(broker_));
  log_ = v1::Log::NewStub(Connect());
  admin_ = v1::Admin::NewStub(Connect());
}

ServerFixture::~ServerFixture() {
  store_->ReleaseSyncs();
  server_->Stop();
  broker_->Close();
}

std::shared_ptr<grpc::Channel> ServerFixture::Connect() const {
  grpc::ChannelArguments arguments;
  // Otherwise channels with equal arguments share a connection.
  static std::atomic<int> next{0};
  arguments.SetInt("strata.test.connection", next++);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("unix:" + socket_path_, grpc::InsecureChannelCredentials(),
                                   arguments);
}

ChannelNumber ServerFixture::CreateChannel(const std::string& name) {
  const auto info = broker_->CreateChannel(name, {});
  Require(info.status());
  return info->number;
}

MessageId ServerFixture::NextId(const std::string& channel) {
  const auto info = broker_->DescribeChannel(channel);
  Require(info.status());
  return info->next_id;
}

MessageId ServerFixture::Append(const std::string& channel, const std::string& payload) {
  BatchBuilder batch;
  batch.Add(payload);
  const auto result = broker_->Append({channel, batch.Take()});
  Require(result.status());
  return result->first_id;
}

v1::MessageBatch BatchOf(const std::vector<std::string>& payloads) {
  v1::MessageBatch batch;
  for (const std::string& payload : payloads) batch.add_messages()->set_payload(payload);
  return batch;
}

bool Producing::Open(const std::string& channel, ChannelNumber number) {
  v1::ProduceRequest request;
  request.mutable_open()->set_channel(channel);
  request.mutable_open()->set_channel_number(number);
  v1::ProduceResponse response;
  return stream_->Write(request) && stream_->Read(&response) && response.has_opened();
}

bool Producing::Send(const std::vector<std::string>& payloads) {
  v1::ProduceRequest request;
  *request.mutable_batch() = BatchOf(payloads);
  return stream_->Write(request);
}

std::vector<v1::AppendResult> Producing::Results() {
  v1::ProduceResponse response;
  if (!stream_->Read(&response)) return {};
  return {response.results().begin(), response.results().end()};
}

Status Producing::Finish() {
  for (v1::ProduceResponse rest; stream_->Read(&rest);) continue;
  return FromGrpc(stream_->Finish(), DataFate::kMayHaveBeenAppended);
}

MessageId Consuming::Open(const v1::ConsumeOpen& open) {
  v1::ConsumeRequest request;
  *request.mutable_open() = open;
  stream_->Write(request);
  const v1::ConsumeResponse response = Next();
  return response.has_opened() ? response.opened().position() : -1;
}

bool Consuming::AddCredit(int64_t bytes) {
  v1::ConsumeRequest request;
  request.set_add_credit(bytes);
  return Send(request);
}

bool Consuming::Acknowledge(MessageId through) {
  v1::ConsumeRequest request;
  request.set_acknowledge_through(through);
  return Send(request);
}

bool Consuming::Seek(const StartPosition& to) {
  v1::ConsumeRequest request;
  ToProto(to, request.mutable_seek());
  return Send(request);
}

v1::ConsumeResponse Consuming::Next() {
  v1::ConsumeResponse response;
  if (!stream_->Read(&response)) response.clear_event();
  return response;
}

Status Consuming::Finish() {
  for (v1::ConsumeResponse rest; stream_->Read(&rest);) continue;
  return FromGrpc(stream_->Finish(), DataFate::kNotApplicable);
}

v1::ConsumeOpen OpenFrom(const std::string& channel, const StartPosition& start, int64_t credit) {
  v1::ConsumeOpen open;
  open.set_channel(channel);
  ToProto(start, open.mutable_start());
  open.set_credit(credit);
  return open;
}

Status SendRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
               const std::vector<std::string>& requests) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  bool going = wait();
  for (const std::string& request : requests) {
    if (!going) break;
    const grpc::Slice slice(request);
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    going = wait();
  }
  if (going) {
    call->WritesDone(nullptr);
    wait();
  }
  grpc::ByteBuffer response;
  do {
    call->Read(&response, nullptr);
  } while (wait());
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
  while (wait()) continue;
  return FromGrpc(status, DataFate::kMayHaveBeenAppended);
}

}  // namespace strata::testing
