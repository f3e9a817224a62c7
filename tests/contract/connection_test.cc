// What clients of a daemon see when it ends, dies or hangs.
#include <signal.h>

#include <fstream>
#include <thread>

#include "base/mutex.h"
#include "client/connect.h"
#include "tests/contract/place.h"
#include "tests/support/process.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;

// A stratad in a process of its own.
class Daemon {
 public:
  explicit Daemon(const TempDir& dir) : socket_(dir / "socket"), store_(dir / "store") { Start(); }

  void Start() {
    process_ = std::make_unique<Process>(
        ProcessOptions{.argv = {ProgramPath("stratad"), "--set", "rocksmq.path=" + store_, "--set",
                                "server.address=none", "--set", "http.address=none", "--set",
                                "server.unixSocket=" + socket_}});
    const std::string output = process_->WaitForOutput("listening on", kSoon);
    INFO(output);
    REQUIRE(output.find("listening on") != std::string::npos);
  }
  // A client that does not come back by itself: what is behind that shows.
  std::unique_ptr<Client> Connect(ClientOptions options = {}) {
    options.reconnect_timeout = milliseconds(0);
    return Get(strata::Connect("unix:" + socket_, options));
  }
  Process& process() { return *process_; }

 private:
  const std::string socket_;
  const std::string store_;
  std::unique_ptr<Process> process_;
};

TEST_CASE("A killed daemon: readers are told, messages learn their fate, and nothing lied") {
  TempDir dir;
  Daemon daemon(dir);
  auto client = daemon.Connect();
  Create(*client, "c");
  auto reader = Read(*client, "c", StartPosition::Latest());
  auto consumer = Consume(*client, "c", "s");

  struct Sent {
    MessageId id = 0;
    DataFate fate = DataFate::kNotApplicable;
    int answers = 0;
  };
  constexpr size_t kMessages = 20'000;
  std::vector<Sent> sent(kMessages);
  Mutex mu;
  size_t acknowledged = 0;
  auto producer = Produce(*client, "c", {.batch_bytes = 2000, .max_in_flight = 20'000});
  size_t accepted = 0;
  for (size_t i = 0; i < kMessages; ++i) {
    const Status status = producer->Send(std::to_string(i), [&, i](const Result<MessageId>& id) {
      MutexLock lock(mu);
      ++sent[i].answers;
      if (id.ok()) sent[i].id = *id;
      if (id.ok()) ++acknowledged;
      sent[i].fate = id.status().fate();
    });
    if (!status.ok()) {
      CHECK(Why(status) == "CONNECTION_LOST not");
      break;
    }
    ++accepted;
    // In the middle of it, with some acknowledged and some on their way.
    MutexLock lock(mu);
    if (acknowledged > 1000) {
      lock.Unlock();
      daemon.process().Signal(SIGKILL);
      lock.Lock();
      acknowledged = 0;
    }
  }
  CHECK(producer->Flush().reason() == Reason::CONNECTION_LOST);
  Strings ends = {Why(producer->Send("late", nullptr)),
                  Why(client->Append("c", std::vector<Message>{{"late", {}}}))};
  CHECK(ends == Strings{"CONNECTION_LOST not", "CONNECTION_LOST maybe"});
  for (Reader* one : {reader.get(), static_cast<Reader*>(consumer.get())}) {
    Result<Received> last = one->Receive(kSoon);
    while (last.ok()) last = one->Receive(kSoon);
    CHECK(Why(last) == "CONNECTION_LOST");
  }
  CHECK(Why(client->DescribeChannel("c")) == "CONNECTION_LOST");
  daemon.process().Wait();

  daemon.Start();
  auto again = daemon.Connect();
  auto stored = Read(*again, "c");
  const MessageId end = stored->end_at_open();
  std::vector<MessageId> id_of(kMessages, 0);
  int previous = -1;
  while (stored->position() < end) {
    const Received received = Get(stored->Receive(kSoon));
    const int number = std::stoi(std::string(received.message().payload));
    REQUIRE(number == previous + 1);
    previous = number;
    id_of[static_cast<size_t>(number)] = received.message().id;
  }
  MutexLock lock(mu);
  size_t maybe = 0;
  for (size_t i = 0; i < accepted; ++i) {
    INFO("message " << i);
    REQUIRE(sent[i].answers == 1);
    if (sent[i].id != 0) REQUIRE(id_of[i] == sent[i].id);
    if (sent[i].fate == DataFate::kNotAppended) REQUIRE(id_of[i] == 0);
    if (sent[i].fate == DataFate::kMayHaveBeenAppended) ++maybe;
  }
  CHECK(maybe > 0);
  // The dead consumer holds nothing any more.
  CHECK(Consume(*again, "c", "s")->position() == 1);
}

TEST_CASE("A daemon that drains answers what it has, and says so to everybody else") {
  Place place(GENERATE(REMOTE_TRANSPORTS));
  // One that does not come back by itself.
  const auto connected = Get(Connect(place.address(), {.reconnect_timeout = milliseconds(0)}));
  Client& client = *connected;
  Create(client, "c");
  auto reader = Read(client, "c");
  auto producer = Produce(client, "c");
  std::vector<std::future<Result<MessageId>>> answers;
  for (int i = 0; i < 100; ++i) answers.push_back(producer->Send(Message{"m", {}}));
  answers.front().wait();
  CHECK(place.server()->Drain(kSoon));
  MessageId stored = 0;
  for (auto& answer : answers) {
    const Result<MessageId> id = answer.get();
    if (id.ok()) {
      CHECK(*id == ++stored);
    } else {
      CHECK(Why(id) == "SHUTTING_DOWN not");
    }
  }
  CHECK(stored > 0);
  CHECK(Why(producer->Send(Message{"late", {}}).get()) == "SHUTTING_DOWN not");
  CHECK(Why(client.Append("c", std::vector<Message>{{"late", {}}})) == "SHUTTING_DOWN not");
  Strings received;
  Result<Received> one = reader->Receive(kSoon);
  for (; one.ok(); one = reader->Receive(kSoon)) received.push_back(Describe(*one));
  CHECK(Why(one) == "SHUTTING_DOWN");
  // No gap in what came before.
  for (size_t i = 0; i < received.size(); ++i) CHECK(received[i] == std::to_string(i + 1) + ":m");
}

TEST_CASE("A daemon that hangs is noticed within the keepalive, and holds nobody up") {
  TempDir dir;
  Daemon daemon(dir);
  auto client = daemon.Connect({.keepalive = milliseconds(1200)});
  Create(*client, "c");
  auto reader = Read(*client, "c");
  auto producer = Produce(*client, "c");
  daemon.process().Signal(SIGSTOP);
  std::future<Result<MessageId>> answer = producer->Send(Message{"a", {}});
  CHECK(Why(reader->Receive(kSoon)) == "CONNECTION_LOST");
  CHECK(Why(answer.get()) == "CONNECTION_LOST maybe");
  producer.reset();
  reader.reset();
  client.reset();
  daemon.process().Signal(SIGCONT);
}

TEST_CASE("A hanging daemon does not keep a client from closing") {
  TempDir dir;
  Daemon daemon(dir);
  auto client = daemon.Connect();
  Create(*client, "c");
  auto consumer = Consume(*client, "c", "s");
  auto producer = Produce(*client, "c");
  daemon.process().Signal(SIGSTOP);
  std::future<Result<MessageId>> answer = producer->Send(Message{"a", {}});
  client->Close();
  CHECK(Why(answer.get()) == "CLIENT_CLOSED maybe");
  CHECK(Why(consumer->Receive(kSoon)) == "CLIENT_CLOSED");
  daemon.process().Signal(SIGCONT);
}

TEST_CASE("A store that a daemon has open is not opened a second time") {
  TempDir dir;
  Daemon daemon(dir);
  std::ofstream(dir / "strata.yaml") << "server:\n  initializeTimeout: 1\n";
  const auto refused = Connect("embedded:" + (dir / "store") + "?config=" + (dir / "strata.yaml"));
  CHECK(Why(refused) == "STORE_LOCKED");
}

}  // namespace
}  // namespace strata::testing
