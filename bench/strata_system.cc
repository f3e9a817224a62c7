// Strata as a System: stratad as a child process, or a broker in this one.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "bench/process.h"
#include "bench/support.h"
#include "bench/system.h"

namespace strata::bench {
namespace {

constexpr std::chrono::seconds kSoon{60};

class StrataPublisher final : public Publisher {
 public:
  StrataPublisher(Client* client, std::string channel, const ProducerOptions& options)
      : client_(client),
        channel_(std::move(channel)),
        producer_(ValueOrDie(client->OpenProducer(channel_, options), "open a producer")) {}
  ~StrataPublisher() override { DieUnlessOk(producer_->Close(), "close the producer"); }

  // The call for it: embedded it does its work on this thread.
  void SendAndWait(std::string_view payload) override {
    BatchBuilder batch;
    batch.Reserve(payload.size() + 16);
    batch.Add(payload);
    ValueOrDie(client_->Append(channel_, batch.Take()), "append");
  }

  void Send(std::string_view payload, std::function<void()> acknowledged) override {
    DieUnlessOk(producer_->Send(payload,
                                [done = std::move(acknowledged)](const Result<MessageId>& id) {
                                  DieUnlessOk(id.status(), "append");
                                  if (done) done();
                                }),
                "send");
  }

  void Flush() override { DieUnlessOk(producer_->Flush(std::chrono::minutes(5)), "flush"); }

 private:
  Client* const client_;
  const std::string channel_;
  std::unique_ptr<Producer> producer_;
};

class StrataSubscriber final : public Subscriber {
 public:
  StrataSubscriber(Client* client, const std::string& channel)
      : reader_(
            ValueOrDie(client->OpenReader(channel, StartPosition::Earliest()), "open a reader")) {}

  void Receive(const OnMessage& on_message) override {
    const ReceivedBatch batch = ValueOrDie(reader_->ReceiveBatch(kSoon), "receive");
    if (batch.is_gap()) Die("a gap where there must be none");
    for (const MessageView& message : batch) on_message(message.payload);
  }

 private:
  std::unique_ptr<Reader> reader_;
};

class StrataConnection final : public Connection {
 public:
  explicit StrataConnection(const std::string& address)
      : client_(ValueOrDie(strata::Connect(address), "connect to " + address)) {}

  void CreateChannel(const std::string& channel) override {
    ValueOrDie(client_->CreateChannel(channel), "create a channel");
  }
  void DeleteChannel(const std::string& channel) override {
    DieUnlessOk(client_->DeleteChannel(channel), "delete a channel");
  }
  std::unique_ptr<Publisher> OpenPublisher(const std::string& channel,
                                           uint64_t batch_bytes) override {
    ProducerOptions options;
    if (batch_bytes > 0) options.batch_bytes = batch_bytes;
    return std::make_unique<StrataPublisher>(client_.get(), channel, options);
  }
  std::unique_ptr<Subscriber> OpenSubscriber(const std::string& channel) override {
    return std::make_unique<StrataSubscriber>(client_.get(), channel);
  }
  std::string Version() {
    return ValueOrDie(client_->GetServerInfo(), "ask for the version").version;
  }

 private:
  std::unique_ptr<Client> client_;
};

// The neighbour of this program, or whatever PATH finds.
std::string FindStratad() {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto neighbour = self.parent_path() / "stratad";
  return std::filesystem::exists(neighbour) ? neighbour.string() : "stratad";
}

class StrataSystem final : public System {
 public:
  explicit StrataSystem(const SystemOptions& options)
      : System("strata", options.mode, options.sync),
        binary_(options.binary.empty() ? FindStratad() : options.binary),
        settings_(options.settings),
        folder_(options.directory),
        store_(std::filesystem::absolute(folder_.path()) / "store") {
    if (embedded()) {
      StartEmbedded();
    } else {
      StartDaemon();
    }
    version_ = StrataConnection(address_).Version();
  }

  std::unique_ptr<Connection> Connect() override {
    return std::make_unique<StrataConnection>(address_);
  }
  std::string address() const override { return address_; }
  double CpuSeconds() override { return ProcessCpuSeconds(pid()); }
  uint64_t PeakResidentBytes() override { return ProcessPeakResident(pid()); }
  void ForgetPeak() override { ForgetPeakResident(pid()); }
  uint64_t WrittenBytes() override { return ProcessWrittenBytes(pid()); }
  uint64_t StoredBytes() override { return DirectoryBytes(store_); }
  const std::string& directory() const override { return store_; }
  pid_t pid() const override { return daemon_ == nullptr ? 0 : daemon_->pid(); }

  void Kill() override { daemon_->Kill(); }

  double Restart() override {
    open_.reset();
    const auto start = SteadyClock::now();
    if (embedded()) {
      open_ = std::make_unique<StrataConnection>(address_);
      return SecondsSince(start);
    }
    StartDaemon();
    StrataConnection(address_).Version();
    return SecondsSince(start);
  }

 private:
  void StartEmbedded() {
    const std::string config = folder_.path() + "/strata.yaml";
    std::map<std::string, std::string> sections = {{"durability", "  sync: " + sync() + "\n"}};
    for (const std::string& setting : settings_) {
      const size_t dot = setting.find('.');
      const size_t equals = setting.find('=');
      if (dot > equals || equals == std::string::npos) Die(setting + " is not SECTION.KEY=VALUE");
      sections[setting.substr(0, dot)] += fmt::format(
          "  {}: {}\n", setting.substr(dot + 1, equals - dot - 1), setting.substr(equals + 1));
    }
    std::ofstream file(config);
    for (const auto& [name, keys] : sections) file << name << ":\n" << keys;
    file.close();
    address_ = fmt::format("embedded:{}?config={}", store_, config);
    open_ = std::make_unique<StrataConnection>(address_);
  }

  void StartDaemon() {
    std::vector<std::string> command = {binary_};
    const auto set = [&](const std::string& setting) {
      command.insert(command.end(), {"--set", setting});
    };
    set("rocksmq.path=" + store_);
    set("durability.sync=" + sync());
    set("http.address=none");
    const bool tcp = mode() == "tcp";
    set("server.port=-1");
    if (!tcp) set("server.unixSocket=" + folder_.path() + "/socket");
    for (const std::string& setting : settings_) set(setting);
    daemon_ = std::make_unique<Process>(command, folder_.path() + "/output");
    address_ = AddressOf(daemon_->WaitForLine(tcp ? "127.0.0.1:" : "unix:", kSoon));
  }

  // The last word of what stratad prints when it serves.
  static std::string AddressOf(const std::string& line) { return line.substr(line.rfind(' ') + 1); }

  const std::string binary_;
  const std::vector<std::string> settings_;
  const TemporaryDirectory folder_;
  const std::string store_;
  std::string address_;
  std::unique_ptr<Process> daemon_;         // unless embedded
  std::unique_ptr<StrataConnection> open_;  // embedded: keeps the broker open
};

}  // namespace

std::unique_ptr<System> StartStrata(const SystemOptions& options) {
  return std::make_unique<StrataSystem>(options);
}

std::unique_ptr<Connection> ConnectStrata(const std::string& address) {
  return std::make_unique<StrataConnection>(address);
}

}  // namespace strata::bench
