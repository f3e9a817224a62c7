#include "tests/chaos/streams.h"

#include <algorithm>
#include <utility>

#include "client/connect.h"

namespace strata::testing {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

const std::vector<std::string>& SoakChannels() {
  static const std::vector<std::string> kChannels = {"a", "b", "c"};
  return kChannels;
}

// --- Canceller ---

Canceller::~Canceller() {
  {
    MutexLock lock(mu_);
    end_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void Canceller::CancelAt(grpc::ClientContext* context, steady_clock::time_point when) {
  MutexLock lock(mu_);
  due_[context] = when;
  changed_.NotifyAll();
}

void Canceller::Forget(grpc::ClientContext* context) {
  MutexLock lock(mu_);
  due_.erase(context);
}

void Canceller::Run() {
  MutexLock lock(mu_);
  while (!end_) {
    const auto now = steady_clock::now();
    auto next = now + std::chrono::seconds(1);
    for (auto it = due_.begin(); it != due_.end();) {
      if (it->second <= now) {
        it->first->TryCancel();
        ++cancelled_;
        it = due_.erase(it);
      } else {
        next = std::min(next, it->second);
        ++it;
      }
    }
    changed_.WaitUntil(mu_, next);
  }
}

// --- StreamUser ---

class StreamUser::Context {
 public:
  explicit Context(StreamUser* user) : canceller_(user->canceller_) {
    Random& random = user->random_;
    // The server, too, takes its time to notice; what nobody cancels ends by itself.
    context_.set_deadline(std::chrono::system_clock::now() + milliseconds(random.Between(50, 800)));
    if (random.OneIn(2)) {
      // Early ones meet the opening, late ones the stream in full flow.
      canceller_->CancelAt(
          &context_, steady_clock::now() + milliseconds(random.Below(random.OneIn(2) ? 5 : 300)));
    }
  }
  ~Context() { canceller_->Forget(&context_); }
  grpc::ClientContext* get() { return &context_; }

 private:
  Canceller* const canceller_;
  grpc::ClientContext context_;
};

StreamUser::StreamUser(std::string address, const std::shared_ptr<grpc::Channel>& channel,
                       uint64_t seed, steady_clock::time_point end, Canceller* canceller,
                       StreamCounts* counts)
    : address_(std::move(address)),
      stub_(v1::Log::NewStub(channel)),
      random_(seed),
      end_(end),
      canceller_(canceller),
      counts_(counts),
      thread_(&StreamUser::Run, this) {}

void StreamUser::Run() {
  while (steady_clock::now() < end_) {
    if (client_ == nullptr || random_.OneIn(20)) Connect();
    switch (random_.Below(6)) {
      case 0:
      case 1:
        RawProduce();
        break;
      case 2:
      case 3:
        RawConsume();
        break;
      case 4:
        SdkProduce();
        break;
      default:
        SdkConsume();
    }
  }
  client_.reset();
}

void StreamUser::Connect() {
  Result<std::unique_ptr<Client>> client = ConnectRemote(address_);
  client_ = client.ok() ? std::move(client).value() : nullptr;
}

std::string StreamUser::AnyChannel() {
  // Once in a while one that does not exist.
  if (random_.OneIn(50)) return "missing";
  return SoakChannels()[random_.Below(SoakChannels().size())];
}

void StreamUser::RawProduce() {
  ++counts_->produced;
  Context context(this);
  const auto stream = stub_->Produce(context.get());
  v1::ProduceRequest request;
  request.mutable_open()->set_channel(AnyChannel());
  const bool named = random_.OneIn(2);
  if (named) {
    request.mutable_open()->set_producer("p" + std::to_string(random_.Below(10)));
    request.mutable_open()->set_term(static_cast<int64_t>(random_.Between(1, 1000)));
    request.mutable_open()->set_forget_when_closed(random_.OneIn(2));
  }
  if (stream->Write(request)) {
    v1::ProduceResponse response;
    // Some never read the answers.
    const bool reads = !random_.OneIn(4);
    uint64_t sequence = 0;
    if (reads && stream->Read(&response)) sequence = response.opened().last_sequence();
    for (uint64_t batches = random_.Below(200); batches > 0; --batches) {
      request.Clear();
      for (uint64_t i = random_.Between(1, 5); i > 0; --i) {
        request.mutable_batch()->add_messages()->set_payload(random_.Bytes(random_.Below(2000)));
      }
      // A jump now and then: refused, and the end of the stream.
      if (named) request.set_sequence(++sequence + (random_.OneIn(30) ? 1 : 0));
      if (!stream->Write(request)) break;
      if (reads && !stream->Read(&response)) break;
    }
    if (random_.OneIn(4)) stream->WritesDone();
    // Some are cancelled where they are.
    if (random_.OneIn(4)) context.get()->TryCancel();
    while (stream->Read(&response)) continue;
  }
  (void)stream->Finish();
}

void StreamUser::RawConsume() {
  ++counts_->consumed;
  Context context(this);
  const auto stream = stub_->Consume(context.get());
  v1::ConsumeRequest request;
  v1::ConsumeOpen* open = request.mutable_open();
  open->set_channel(AnyChannel());
  if (random_.OneIn(2)) open->set_subscription("s" + std::to_string(random_.Below(4)));
  if (random_.OneIn(2)) open->set_mode(v1::ConsumeOpen::MODE_FAILOVER);
  open->set_wait_for_channel(random_.OneIn(10));
  open->set_credit(static_cast<int64_t>(random_.Below(1 << 20)));
  if (stream->Write(request)) {
    v1::ConsumeResponse response;
    // One in four never reads; what was sent to it waits in the server, at most one batch beyond its
    // credit.
    for (uint64_t reads = random_.OneIn(4) ? 0 : random_.Below(300); reads > 0; --reads) {
      if (!stream->Read(&response)) break;
      if (!response.has_delivery()) continue;
      ++counts_->messages;
      request.Clear();
      if (random_.OneIn(2)) {
        request.set_add_credit(static_cast<int64_t>(random_.Below(100'000)));
      } else if (random_.OneIn(5)) {
        request.mutable_seek()->set_id(static_cast<int64_t>(random_.Below(1000)));
      } else {
        request.set_acknowledge_through(response.delivery().first_id());
      }
      if (!stream->Write(request)) break;
    }
    if (random_.OneIn(4)) stream->WritesDone();
    if (random_.OneIn(4)) context.get()->TryCancel();
    while (stream->Read(&response)) continue;
  }
  (void)stream->Finish();
}

void StreamUser::SdkProduce() {
  if (client_ == nullptr) return;
  ++counts_->from_sdk;
  ProducerOptions options;
  if (random_.OneIn(2)) options.name = "sdk" + std::to_string(random_.Below(10));
  const auto producer = client_->OpenProducer(AnyChannel(), options);
  if (!producer.ok()) return;
  for (uint64_t i = random_.Below(50); i > 0; --i) {
    if (!(*producer)->Send(random_.Bytes(random_.Below(2000)), nullptr).ok()) break;
  }
  // Half of them are destroyed with everything under way.
  if (random_.OneIn(2)) (void)(*producer)->Flush(std::chrono::seconds(10));
}

void StreamUser::SdkConsume() {
  if (client_ == nullptr) return;
  ++counts_->from_sdk;
  const std::string channel = AnyChannel();
  const auto receive = [&](Reader& reader) {
    for (uint64_t i = random_.Below(300); i > 0; --i) {
      if (!reader.ReceiveBatch(milliseconds(20)).ok()) break;
      ++counts_->messages;
    }
  };
  if (random_.OneIn(2)) {
    const auto reader = client_->OpenReader(channel, StartPosition::Earliest(),
                                            {.read_ahead = random_.Below(1 << 18)});
    if (reader.ok()) receive(**reader);
    return;
  }
  ConsumerOptions options;
  if (random_.OneIn(2)) options.mode = ConsumerOptions::Mode::kFailover;
  const auto consumer =
      client_->OpenConsumer(channel, "s" + std::to_string(random_.Below(4)), options);
  if (!consumer.ok()) return;
  receive(**consumer);
  const MessageId position = (*consumer)->position();
  if (position > 1 && random_.OneIn(2)) (void)(*consumer)->AcknowledgeAsync(position - 1);
}

}  // namespace strata::testing
