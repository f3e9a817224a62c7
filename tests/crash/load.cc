#include "tests/crash/load.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <random>
#include <utility>

#include "client/connect.h"

namespace strata::crash {
namespace {

using std::chrono::milliseconds;

// What happens to a connection shows: nothing comes back by itself.
const ClientOptions kAsItIs = {.reconnect_timeout = milliseconds(0)};

// A well-mixed number made of a stamp (the finalizer of MurmurHash3).
uint64_t Mix(Stamp stamp) {
  uint64_t x = uint64_t{stamp.producer} << 32 | stamp.counter;
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
  return x ^ x >> 33;
}

}  // namespace

std::string PayloadOf(Stamp stamp) {
  const uint64_t mixed = Mix(stamp);
  // Mostly up to 600 bytes; one in 512 is larger than a batch of the producers.
  const size_t filler = mixed % 512 == 0 ? 100'000 : mixed % 600;
  std::string payload = std::to_string(stamp.producer) + ' ' + std::to_string(stamp.counter) + ' ';
  payload.append(filler, static_cast<char>(mixed >> 32));
  return payload;
}

bool ReadStamp(std::string_view payload, Stamp* stamp) {
  const char* end = payload.data() + payload.size();
  const auto producer = std::from_chars(payload.data(), end, stamp->producer);
  if (producer.ec != std::errc() || producer.ptr == end) return false;
  const auto counter = std::from_chars(producer.ptr + 1, end, stamp->counter);
  return counter.ec == std::errc() && payload == PayloadOf(*stamp);
}

Load::Load(const std::string& address, const std::vector<std::string>& channels, int per_channel,
           uint32_t first_producer) {
  for (const std::string& channel : channels) {
    for (int i = 0; i < per_channel; ++i) {
      Account& account = accounts_.emplace_back();
      account.channel = channel;
      account.producer = first_producer++;
    }
  }
  {
    MutexLock lock(mu_);
    running_ = accounts_.size();
  }
  for (Account& account : accounts_) {
    threads_.emplace_back([this, address, &account] { Produce(address, &account); });
  }
}

Load::~Load() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  Join();
}

void Load::Produce(const std::string& address, Account* account) {
  Result<std::unique_ptr<Client>> client = ConnectRemote(address, kAsItIs);
  Status status = client.status();
  if (client.ok()) {
    // Small bounds, so that a kill meets batches in every state: collected, sent, stored,
    // acknowledged. Many tiny batches from one producer, few large ones from another.
    ProducerOptions options;
    options.create_if_missing = true;
    options.batch_bytes = uint64_t{1} << (9 + 2 * (account->producer % 4));
    options.max_in_flight = 1u << 20;
    Result<std::unique_ptr<Producer>> producer = (*client)->OpenProducer(account->channel, options);
    status = producer.status();
    if (producer.ok()) SendUntilError(**producer, account);
  }
  MutexLock lock(mu_);
  if (account->first_error.ok()) account->first_error = status;
  --running_;
  changed_.NotifyAll();
}

void Load::SendUntilError(Producer& producer, Account* account) {
  Status status;
  for (uint32_t counter = 0; status.ok(); ++counter) {
    {
      MutexLock lock(mu_);
      if (stopping_) break;
      account->entries.emplace_back();
    }
    const std::string payload = PayloadOf({account->producer, counter});
    status = producer.Send(payload, [this, account, counter](const Result<MessageId>& id) {
      MutexLock lock(mu_);
      Account::Entry& entry = account->entries[counter];
      if (!id.ok()) {
        entry.fate = id.status().fate();
        if (account->first_error.ok()) account->first_error = id.status();
        return;
      }
      entry = {*id, DataFate::kAppended};
      if (++acknowledged_ == wanted_) changed_.NotifyAll();
    });
    if (!status.ok()) {
      MutexLock lock(mu_);
      account->entries[counter].fate = DataFate::kNotAppended;
      if (account->first_error.ok()) account->first_error = status;
    }
  }
  // Every callback has run once the producer is gone; waiting for its end is the caller's.
  (void)producer.Close();
}

bool Load::WaitForAcknowledged(uint64_t messages) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  MutexLock lock(mu_);
  wanted_ = messages;
  while (acknowledged_ < messages) {
    if (running_ == 0) return false;
    if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout) return false;
  }
  return true;
}

void Load::Join() {
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

uint64_t Load::acknowledged() {
  MutexLock lock(mu_);
  return acknowledged_;
}

Follower::Follower(const std::string& address, const std::string& channel,
                   const std::string& subscription, uint64_t seed) {
  const Status status = Open(address, channel, subscription);
  if (!status.ok()) {
    report_.problem = status.ToString();
    return;
  }
  thread_ = std::thread(&Follower::Run, this, seed);
}

Status Follower::Open(const std::string& address, const std::string& channel,
                      const std::string& subscription) {
  STRATA_ASSIGN_OR_RETURN(client_, ConnectRemote(address, kAsItIs));
  STRATA_ASSIGN_OR_RETURN(consumer_, client_->OpenConsumer(channel, subscription));
  return Status::Ok();
}

Follower::~Follower() { Finish(); }

Follower::Report Follower::Finish() {
  if (consumer_) consumer_->Close();
  if (thread_.joinable()) thread_.join();
  return report_;
}

void Follower::Run(uint64_t seed) {
  std::mt19937_64 random(seed);
  for (;;) {
    Result<ReceivedBatch> batch = consumer_->ReceiveBatch(milliseconds(1'000));
    if (batch.status().reason() == Reason::TIMEOUT) continue;
    if (!batch.ok() || !Note(*batch)) return;
    if (random() % 4 != 0) continue;
    // Anywhere up to what was received, never back.
    const MessageId first = report_.received.front().first;
    const MessageId last = report_.received.back().first;
    const MessageId low = std::max(report_.acknowledged, first);
    report_.acknowledged = low + static_cast<MessageId>(random() % (last - low + 1));
    if (!consumer_->Acknowledge(report_.acknowledged).ok()) return;
  }
}

bool Follower::Note(const ReceivedBatch& batch) {
  if (batch.is_gap()) {
    report_.problem = "a gap from " + std::to_string(batch.gap().first);
    return false;
  }
  for (const MessageView& message : batch) {
    Stamp stamp;
    if (!ReadStamp(message.payload, &stamp)) {
      report_.problem = "a payload that nobody sent at id " + std::to_string(message.id);
    } else if (!report_.received.empty() && message.id != report_.received.back().first + 1) {
      report_.problem = "id " + std::to_string(message.id) + " after " +
                        std::to_string(report_.received.back().first);
    }
    if (!report_.problem.empty()) return false;
    report_.received.emplace_back(message.id, stamp);
  }
  return true;
}

}  // namespace strata::crash
