// Every example of docs/sdk.md, to be compiled and run: each function is one of them, between
// "// [name]" and "// [/name]", and tests/style/sdk_docs.sh wants the same text there.
//
//   example_sdk_tour
//
// It works on a broker in this process, in a temporary directory that it removes.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "client/client.h"
#include "client/connect.h"
#include "client/testing/in_memory.h"

namespace {

using namespace std::chrono_literals;

std::atomic<int64_t> used_bytes{0};

// What a program would do with its messages.
void Use(std::string_view payload) { used_bytes += static_cast<int64_t>(payload.size()); }
void Report(const strata::Status& status) { Use(status.ToString()); }
void Note(const strata::Gap& gap) { Use(strata::GapReasonName(gap.reason)); }

strata::Status Unexpected(const std::string& what) {
  return strata::Status(strata::Reason::INTERNAL, "the tour went astray: " + what);
}

// --- Connecting ---

strata::Status Connecting(const std::string& address) {
  // [connect]
  strata::ClientOptions options;
  options.log = [](strata::LogLevel, std::string_view text) { std::cerr << text << "\n"; };
  auto client = strata::Connect(address, options);  // "127.0.0.1:7470", "embedded:/var/lib/x", ...
  if (!client.ok()) return client.status();
  auto info = (*client)->GetServerInfo();
  if (!info.ok()) return info.status();
  const bool survives_power_cut = info->sync == "always";
  // [/connect]
  return survives_power_cut ? strata::Status() : Unexpected("sync");
}

strata::Status ConnectingRemote(const std::string& socket) {
  // [connect_remote]
  auto client = strata::ConnectRemote("unix:" + socket, {.connect_timeout = 200ms});
  if (client.status().reason() == strata::Reason::CONNECTION_LOST) {
    Report(client.status());  // nobody serves there; the text has the address and the cause
  }
  // [/connect_remote]
  return client.ok() ? Unexpected("a daemon") : strata::Status();
}

// --- Channels ---

strata::Status Channels(strata::Client& client) {
  // [channels]
  strata::ChannelOptions options;
  options.first_id = 1000;               // of the first message; 1 if you do not care
  options.retention.max_messages = 500;  // of this channel only
  STRATA_ASSIGN_OR_RETURN(strata::ChannelInfo info, client.CreateChannel("audit.eu", options));

  STRATA_ASSIGN_OR_RETURN(info, client.OpenChannel("logs", /*create_if_missing=*/true));
  STRATA_ASSIGN_OR_RETURN(info, client.DescribeChannel("audit.eu"));
  const bool empty = info.first_available == info.next_id;
  STRATA_ASSIGN_OR_RETURN(const auto audits, client.ListChannels("audit."));
  STRATA_RETURN_IF_ERROR(client.DeleteChannel("audit.eu"));
  // [/channels]
  return empty && audits.size() == 1 ? strata::Status() : Unexpected("channels");
}

strata::Status Retention(strata::Client& client) {
  STRATA_RETURN_IF_ERROR(client.Append("logs", std::vector<strata::Message>(10)).status());
  // [retention]
  strata::RetentionOverrides rules;
  rules.policy = strata::RetentionPolicy::kLimits;
  rules.retention_time = int64_t{3600} * 1'000'000;  // microseconds
  rules.retention_size = strata::kNoLimit;
  STRATA_RETURN_IF_ERROR(client.AlterChannel("logs", rules).status());

  // Ids up to and including 4 are gone for every reader when this returns.
  STRATA_ASSIGN_OR_RETURN(const auto info, client.TruncateChannel("logs", 4));
  STRATA_ASSIGN_OR_RETURN(const auto space, client.DescribeSpace("logs"));
  const bool only_rules_keep_it = space.front().held_by == strata::HeldBy::kRules;
  // [/retention]
  return info.first_available == 5 && only_rules_keep_it ? strata::Status() : Unexpected("rules");
}

// --- Producing ---

strata::Status Producing(strata::Client& client) {
  // [producer]
  std::atomic<strata::MessageId> last{0};  // before the producer, so that it outlives it
  STRATA_ASSIGN_OR_RETURN(auto producer,
                          client.OpenProducer("orders", {.create_if_missing = true}));
  const auto done = [&last](const strata::Result<strata::MessageId>& id) {
    if (id.ok()) {
      last = *id;  // durable
    } else {
      Report(id.status());  // fate() says what is known of this message
    }
  };
  for (int i = 0; i < 1000; ++i) {
    STRATA_RETURN_IF_ERROR(producer->Send("order " + std::to_string(i), done));
  }
  STRATA_RETURN_IF_ERROR(producer->Flush(30s));  // all callbacks have run, none with an error
  STRATA_RETURN_IF_ERROR(producer->Close());
  // [/producer]
  return last >= 1000 ? strata::Status() : Unexpected("ids");
}

strata::Status ProducingWithFutures(strata::Client& client) {
  STRATA_ASSIGN_OR_RETURN(auto producer, client.OpenProducer("orders"));
  // [future]
  std::future<strata::Result<strata::MessageId>> sent =
      producer->Send({.payload = "paid", .properties = {{"order", "17"}, {"by", "card"}}});
  const strata::Result<strata::MessageId> id = sent.get();
  if (!id.ok()) return id.status();
  // [/future]
  return producer->Close();
}

strata::Status Fencing(strata::Client& client) {
  // [fenced]
  strata::ProducerOptions options{.create_if_missing = true, .name = "billing", .term = 7};
  STRATA_ASSIGN_OR_RETURN(auto old_instance, client.OpenProducer("bills", options));
  options.term = 8;  // elected after it
  STRATA_ASSIGN_OR_RETURN(auto new_instance, client.OpenProducer("bills", options));

  const auto late = old_instance->Send({.payload = "too late", .properties = {}}).get();
  if (late.status().reason() == strata::Reason::FENCED) old_instance.reset();  // stop for good
  const auto in_time = new_instance->Send({.payload = "in time", .properties = {}}).get();
  // [/fenced]
  return old_instance == nullptr ? in_time.status() : Unexpected("fencing");
}

strata::Status Exclusive(strata::Client& client) {
  // [exclusive]
  STRATA_ASSIGN_OR_RETURN(
      auto writer,
      client.OpenProducer(
          "wal", {.create_if_missing = true, .name = "node-7", .term = 42, .exclusive = true}));
  // Everything below this id is there, and only this producer adds to it.
  const strata::MessageId replay_until = writer->end_at_open();
  const auto other = client.Append("wal", std::vector<strata::Message>{{"intruder", {}}});
  const bool kept_out = other.status().reason() == strata::Reason::FENCED;
  STRATA_RETURN_IF_ERROR(writer->Close());  // now others may
  // [/exclusive]
  return kept_out && replay_until == 1 ? strata::Status() : Unexpected("exclusive");
}

strata::Status BackPressure(strata::Client& client) {
  // [back_pressure]
  STRATA_ASSIGN_OR_RETURN(auto producer, client.OpenProducer("orders", {.linger = 2ms,
                                                                        .max_in_flight = 64 << 10,
                                                                        .block_when_full = false}));
  const std::string payload(1000, 'x');
  for (int i = 0; i < 500; ++i) {
    strata::Status sent = producer->Send(payload, nullptr);
    while (sent.reason() == strata::Reason::PRODUCER_FULL) {  // not taken: do something else
      STRATA_RETURN_IF_ERROR(producer->Flush());
      sent = producer->Send(payload, nullptr);
    }
    STRATA_RETURN_IF_ERROR(sent);
  }
  // [/back_pressure]
  return producer->Close();
}

// --- Appending without a producer ---

strata::Status Appending(strata::Client& client) {
  // [append]
  const std::vector<strata::Message> messages = {{"debit 5", {}}, {"credit 5", {}}};
  STRATA_ASSIGN_OR_RETURN(const strata::AppendResult stored, client.Append("logs", messages));
  const strata::MessageId debit = stored.first_id, credit = stored.first_id + 1;
  // [/append]
  return credit == debit + 1 ? strata::Status() : Unexpected("ids");
}

strata::Status AppendingEncoded(strata::Client& client) {
  // [batch_builder]
  strata::BatchBuilder builder;
  builder.Reserve(1 << 20);
  while (builder.count() < strata::kMaxBatchMessages && builder.bytes() < (1 << 20)) {
    builder.Add("one row", {{"table", "users"}});
  }
  STRATA_ASSIGN_OR_RETURN(const auto stored, client.Append("logs", builder.Take()));
  // [/batch_builder]
  return stored.count > 0 && builder.empty() ? strata::Status() : Unexpected("builder");
}

strata::Status AppendingWhereExpected(strata::Client& client) {
  // [expected_next_id]
  strata::AppendOptions options;
  options.expected_next_id = 1;  // only if the channel ends where I think it does
  const std::vector<strata::Message> entry = {{"set x = 1", {}}};
  auto stored = client.Append("logs", entry, options);
  while (stored.status().reason() == strata::Reason::ID_MISMATCH) {
    // Nothing was stored. Read what others appended, decide again, then:
    options.expected_next_id = *stored.status().actual_next_id();
    stored = client.Append("logs", entry, options);
  }
  // [/expected_next_id]
  return stored.status();
}

strata::Status AppendingNumbered(strata::Client& client) {
  // [numbered]
  strata::AppendOptions options;
  options.producer = "importer";
  options.sequence = 1;  // the next batch has 2; a new run goes on where ListProducers() says
  const std::vector<strata::Message> batch = {{"file 1", {}}};
  STRATA_ASSIGN_OR_RETURN(const auto first, client.Append("logs", batch, options));
  // After CONNECTION_LOST or TIMEOUT: the same again. It is stored once, and this is its id.
  STRATA_ASSIGN_OR_RETURN(const auto again, client.Append("logs", batch, options));
  // [/numbered]
  return first.first_id == again.first_id ? strata::Status() : Unexpected("a duplicate");
}

strata::Status AppendingToSeveral(strata::Client& client) {
  // [append_multi]
  std::vector<strata::ChannelAppend> appends(2);
  strata::BatchBuilder builder;
  builder.Add("order 17 paid");
  appends[0] = {.channel = "orders", .batch = builder.Take()};
  builder.Add("bill for order 17");
  appends[1] = {.channel = "bills", .batch = builder.Take()};
  STRATA_ASSIGN_OR_RETURN(const auto results, client.AppendMulti(appends));  // both, or none
  // [/append_multi]
  return results.size() == 2 ? strata::Status() : Unexpected("results");
}

// --- Reading ---

strata::Status Reading(strata::Client& client) {
  // [reader]
  STRATA_ASSIGN_OR_RETURN(auto reader,
                          client.OpenReader("orders", strata::StartPosition::Earliest()));
  while (reader->position() < reader->end_at_open()) {  // what is there now, and no more
    auto received = reader->Receive(1s);
    if (received.status().reason() == strata::Reason::TIMEOUT) continue;  // reconnecting, perhaps
    if (!received.ok()) return received.status();                         // final
    if (received->is_gap()) {
      Note(received->gap());  // first, last, reason
    } else {
      Use(received->message().payload);
    }
  }
  // [/reader]
  return strata::Status();
}

strata::Status ReadingBatches(strata::Client& client) {
  // [receive_batch]
  STRATA_ASSIGN_OR_RETURN(auto reader, client.OpenReader("orders", strata::StartPosition::At(500)));
  STRATA_ASSIGN_OR_RETURN(const strata::ReceivedBatch batch, reader->ReceiveBatch(5s));
  if (batch.is_gap()) return strata::Status();
  for (const strata::MessageView& message : batch) {
    Use(message.payload);  // a view into batch.bytes(): keep the batch, or copy
    for (const auto& [key, value] : message.properties()) Use(key), Use(value);
  }
  const strata::MessageId next = batch.last_id() + 1;
  // [/receive_batch]
  return next > 500 ? strata::Status() : Unexpected("a batch");
}

strata::Status Seeking(strata::Client& client) {
  STRATA_ASSIGN_OR_RETURN(auto reader,
                          client.OpenReader("orders", strata::StartPosition::Latest()));
  // [seek]
  strata::Status moved = reader->Seek(strata::StartPosition::At(10));
  if (!moved.ok()) return moved;
  const strata::MessageId now_at = reader->position();  // 10
  reader->Close();
  moved = reader->Receive(0ms).status();  // CLIENT_CLOSED
  // [/seek]
  return now_at == 10 && moved.reason() == strata::Reason::CLIENT_CLOSED ? strata::Status()
                                                                         : Unexpected("seek");
}

strata::Status WaitingForAChannel(strata::Client& client) {
  // [wait_for_channel]
  const auto reader = client.OpenReader("not.yet", strata::StartPosition::Latest(),
                                        {.read_ahead = 1 << 20, .wait_for_channel = 50ms});
  const bool missing = reader.status().reason() == strata::Reason::CHANNEL_NOT_FOUND;
  // [/wait_for_channel]
  return missing ? strata::Status() : Unexpected("not.yet");
}

// --- Consumers ---

strata::Status Consuming(strata::Client& client) {
  // [consumer]
  STRATA_ASSIGN_OR_RETURN(auto consumer, client.OpenConsumer("orders", "shipping"));
  for (;;) {
    const auto received = consumer->Receive(100ms);
    if (received.status().reason() == strata::Reason::TIMEOUT) break;
    if (!received.ok()) return received.status();
    if (received->is_gap()) continue;
    Use(received->message().payload);
    STRATA_RETURN_IF_ERROR(consumer->AcknowledgeAsync(received->message().id));
  }
  // Where the broker has to know before the program goes on:
  STRATA_RETURN_IF_ERROR(consumer->Acknowledge(consumer->position() - 1));
  consumer->Close();  // the subscription is free for the next one
  // [/consumer]
  STRATA_ASSIGN_OR_RETURN(const auto info, client.DescribeSubscription("orders", "shipping"));
  return info.backlog == 0 ? strata::Status() : Unexpected("a backlog");
}

strata::Status FailingOver(strata::Client& client) {
  // [failover]
  const strata::ConsumerOptions options{.start = strata::StartPosition::Latest(),
                                        .holder = "worker-2",
                                        .mode = strata::ConsumerOptions::Mode::kFailover};
  STRATA_ASSIGN_OR_RETURN(auto first, client.OpenConsumer("orders", "mail", options));
  STRATA_ASSIGN_OR_RETURN(auto second, client.OpenConsumer("orders", "mail", options));
  const bool waits = !second->active();  // its Receive() answers TIMEOUT
  first.reset();                         // closes it, or its program dies
  (void)second->Receive(0ms);            // notices that its turn has come
  const bool works = second->active();
  // [/failover]
  return waits && works ? strata::Status() : Unexpected("failover");
}

strata::Status Fetching(strata::Client& client) {
  // [fetch]
  strata::MessageId next = 1;
  for (;;) {
    STRATA_ASSIGN_OR_RETURN(const strata::FetchResult page,
                            client.Fetch("orders", strata::StartPosition::At(next),
                                         {.max_bytes = 256 << 10, .max_wait = 0ms}));
    for (const strata::ReceivedBatch& batch : page.batches) {
      for (const strata::MessageView& message : batch) Use(message.payload);  // a gap has none
    }
    next = page.next_position;
    if (next >= page.next_id) break;  // at the end as it was then
  }
  // [/fetch]
  return strata::Status();
}

strata::Status Subscriptions(strata::Client& client) {
  // [subscriptions]
  STRATA_ASSIGN_OR_RETURN(
      auto info, client.CreateSubscription("orders", "audit", strata::StartPosition::At(100)));
  STRATA_RETURN_IF_ERROR(client.Acknowledge("orders", "audit", 199));
  STRATA_ASSIGN_OR_RETURN(info, client.DescribeSubscription("orders", "audit"));  // cursor 200
  STRATA_ASSIGN_OR_RETURN(const auto all, client.ListSubscriptions("orders"));
  STRATA_ASSIGN_OR_RETURN(
      info, client.SeekSubscription("orders", "audit", strata::StartPosition::Earliest()));
  STRATA_RETURN_IF_ERROR(client.DeleteSubscription("orders", "audit"));
  // [/subscriptions]
  return info.cursor == 1 && !all.empty() ? strata::Status() : Unexpected("subscriptions");
}

strata::Status State(strata::Client& client) {
  // [state]
  STRATA_ASSIGN_OR_RETURN(const strata::BrokerStatus status, client.GetStatus());
  if (!status.accepts_appends) std::cerr << status.state << ": " << status.failure << "\n";
  STRATA_ASSIGN_OR_RETURN(const auto producers, client.ListProducers("bills"));
  for (const strata::ProducerInfo& producer : producers) Use(producer.name);

  STRATA_ASSIGN_OR_RETURN(strata::CompactionInfo work, client.StartCompaction());
  STRATA_ASSIGN_OR_RETURN(work, client.DescribeCompaction());  // strata_done of strata_total
  // [/state]
  return status.accepts_appends && producers.size() == 1 ? strata::Status() : Unexpected("state");
}

// --- Errors ---

strata::Status Errors(strata::Client& client) {
  // [errors]
  const auto stored = client.Append("logs", std::vector<strata::Message>{{"x", {}}});
  if (!stored.ok()) {
    const strata::Status& why = stored.status();
    Report(why);  // "DISK_FULL: ... (not appended)"
    if (why.fate() == strata::DataFate::kNotAppended && why.retryable()) {
      // Later, the same again: no duplicate.
    } else if (why.fate() == strata::DataFate::kMayHaveBeenAppended) {
      // Stored or not: again may make a duplicate, unless the append was numbered.
    }
    Use(strata::GetErrorInfo(why.reason()).what_to_do);
    return why.WithContext("while writing the log");
  }
  // [/errors]
  return strata::Status();
}

// --- Testing ---

strata::Status InMemory() {
  // [in_memory]
  strata::ManualClock clock;  // moves when the test says so
  auto client =
      strata::testing::ConnectInMemory({.settings = {"limits.maxPayload=2000"}, .clock = &clock});
  if (!client.ok()) return client.status();
  STRATA_RETURN_IF_ERROR((*client)->OpenChannel("events", true).status());
  const auto refused =
      (*client)->Append("events", std::vector<strata::Message>{{std::string(2001, 'x'), {}}});
  const bool too_large = refused.status().reason() == strata::Reason::MESSAGE_TOO_LARGE;
  // [/in_memory]
  return too_large ? strata::Status() : Unexpected("a limit");
}

strata::Status InMemoryFaults() {
  const std::vector<strata::Message> one = {{"x", {}}};
  // [in_memory_faults]
  STRATA_ASSIGN_OR_RETURN(const auto broker, strata::testing::InMemoryBroker::Start());
  auto client = broker->NewClient();
  STRATA_RETURN_IF_ERROR(client->CreateChannel("events").status());
  STRATA_RETURN_IF_ERROR(client->Append("events", one).status());

  STRATA_RETURN_IF_ERROR(broker->Damage("events", 1));  // readers get a CORRUPT gap for it
  broker->FailWrites();                                 // STORE_FAILED from now on; reads go on
  const auto failed = client->Append("events", one);

  broker->Restart();  // mended; what was acknowledged is there, this client is at its end
  const auto ended = client->Append("events", one);  // SHUTTING_DOWN
  client = broker->NewClient();
  STRATA_ASSIGN_OR_RETURN(const auto stored, client->Append("events", one));
  // [/in_memory_faults]
  return !failed.ok() && stored.first_id > 1 ? ended.status() : Unexpected("faults");
}

}  // namespace

int main() {
  std::string folder = (std::filesystem::temp_directory_path() / "sdk_tour.XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const std::string store = folder + "/store";
  int failures = 0;
  const auto expect = [&](const char* name, const strata::Status& status, strata::Reason reason) {
    if (status.reason() == reason) return;
    std::cerr << name << ": " << status.ToString() << "\n";
    ++failures;
  };
  const auto check = [&](const char* name, const strata::Status& status) {
    expect(name, status, strata::Reason::OK);
  };
  using Example = strata::Status (*)(strata::Client&);
  const std::vector<std::pair<const char*, Example>> examples = {
      {"channels", Channels},
      {"retention", Retention},
      {"producer", Producing},
      {"future", ProducingWithFutures},
      {"fenced", Fencing},
      {"exclusive", Exclusive},
      {"back_pressure", BackPressure},
      {"append", Appending},
      {"batch_builder", AppendingEncoded},
      {"expected_next_id", AppendingWhereExpected},
      {"numbered", AppendingNumbered},
      {"append_multi", AppendingToSeveral},
      {"reader", Reading},
      {"receive_batch", ReadingBatches},
      {"seek", Seeking},
      {"wait_for_channel", WaitingForAChannel},
      {"consumer", Consuming},
      {"failover", FailingOver},
      {"fetch", Fetching},
      {"subscriptions", Subscriptions},
      {"state", State},
      {"errors", Errors}};
  check("connect", Connecting("embedded:" + store));
  check("connect_remote", ConnectingRemote(folder + "/no.sock"));
  {
    const auto client = strata::ConnectEmbedded(store);
    check("ConnectEmbedded", client.status());
    if (client.ok()) {
      for (const auto& [name, example] : examples) check(name, example(**client));
    }
  }
  check("in_memory", InMemory());
  expect("in_memory_faults", InMemoryFaults(), strata::Reason::SHUTTING_DOWN);
  std::filesystem::remove_all(folder);
  std::cout << examples.size() + 4 << " examples, " << failures << " failed\n";
  return failures == 0 ? 0 : 1;
}
