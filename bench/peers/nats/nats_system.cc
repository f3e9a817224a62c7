// NATS JetStream as a System: nats-server as a child process, libnats as its client. README.md, in
// this folder, says how it is set up and why that is fair.
#include <fmt/format.h>
#include <nats/nats.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>

#include "base/mutex.h"
#include "bench/process.h"
#include "bench/support.h"
#include "bench/system.h"

namespace strata::bench {
namespace {

constexpr std::chrono::seconds kSoon{60};
constexpr int64_t kRequestMillis = 60'000;
constexpr int64_t kFlushMillis = 300'000;

// The Go client's default; libnats has none. The 64 KB row took 1.8 to 2.4 s with it and 2.5 to 3.4 s
// with 512; without a limit nothing was faster.
constexpr int64_t kUnacknowledged = 4000;

void DieUnless(natsStatus status, std::string_view what) {
  if (status == NATS_OK) return;
  const char* details = nats_GetLastError(nullptr);
  Die(fmt::format("nats: {}: {}: {}", what, natsStatus_GetText(status),
                  details == nullptr ? "" : details));
}

// What libnats says by itself: a dropped message (slow consumer), a broken connection.
void OnError(natsConnection* /*connection*/, natsSubscription* /*subscription*/, natsStatus error,
             void* /*closure*/) {
  Die(fmt::format("nats: {}", natsStatus_GetText(error)));
}

class NatsPublisher final : public Publisher {
 public:
  NatsPublisher(natsConnection* connection, std::string channel) : channel_(std::move(channel)) {
    jsOptions options;
    jsOptions_Init(&options);
    options.Wait = kRequestMillis;
    options.PublishAsync.MaxPending = kUnacknowledged;
    options.PublishAsync.StallWait = kRequestMillis;
    options.PublishAsync.AckHandler = OnAcknowledged;
    options.PublishAsync.AckHandlerClosure = this;
    DieUnless(natsConnection_JetStream(&jetstream_, connection, &options), "open a publisher");
  }
  ~NatsPublisher() override {
    Flush();
    jsCtx_Destroy(jetstream_);
  }

  void SendAndWait(std::string_view payload) override {
    jsPubAck* acknowledged = nullptr;
    DieUnless(js_Publish(&acknowledged, jetstream_, channel_.c_str(), payload.data(),
                         static_cast<int>(payload.size()), nullptr, nullptr),
              "publish to " + channel_);
    jsPubAck_Destroy(acknowledged);
  }

  void Send(std::string_view payload, std::function<void()> acknowledged) override {
    {
      MutexLock lock(mu_);
      waiting_.push_back(std::move(acknowledged));
    }
    DieUnless(js_PublishAsync(jetstream_, channel_.c_str(), payload.data(),
                              static_cast<int>(payload.size()), nullptr),
              "publish to " + channel_);
  }

  void Flush() override {
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MaxWait = kFlushMillis;
    DieUnless(js_PublishAsyncComplete(jetstream_, &options), "wait for acknowledgements");
  }

 private:
  // On one thread of the connection, in the order of the answers: that of the messages, which the
  // stream's growing sequence numbers confirm.
  static void OnAcknowledged(jsCtx* /*jetstream*/, natsMsg* message, jsPubAck* answer,
                             jsPubAckErr* error, void* closure) {
    natsMsg_Destroy(message);
    auto* self = static_cast<NatsPublisher*>(closure);
    if (error != nullptr) {
      Die(fmt::format("nats: publish to {}: {} {}", self->channel_, natsStatus_GetText(error->Err),
                      error->ErrText == nullptr ? "" : error->ErrText));
    }
    if (answer->Duplicate || answer->Sequence <= self->sequence_) {
      Die(fmt::format("nats: {} acknowledged {} after {}", self->channel_, answer->Sequence,
                      self->sequence_));
    }
    self->sequence_ = answer->Sequence;
    std::function<void()> acknowledged;
    {
      MutexLock lock(self->mu_);
      acknowledged = std::move(self->waiting_.front());
      self->waiting_.pop_front();
    }
    if (acknowledged) acknowledged();
  }

  const std::string channel_;
  jsCtx* jetstream_ = nullptr;
  uint64_t sequence_ = 0;  // of the last acknowledged message; that thread only
  Mutex mu_;
  std::deque<std::function<void()>> waiting_ STRATA_GUARDED_BY(mu_);
};

class NatsSubscriber final : public Subscriber {
 public:
  NatsSubscriber(jsCtx* jetstream, const std::string& channel) {
    jsSubOptions options;
    jsSubOptions_Init(&options);
    options.Stream = channel.c_str();
    options.Ordered = true;
    DieUnless(
        js_SubscribeSync(&subscription_, jetstream, channel.c_str(), nullptr, &options, nullptr),
        "subscribe to " + channel);
    DieUnless(natsSubscription_SetPendingLimits(subscription_, -1, -1), "subscribe to " + channel);
  }
  ~NatsSubscriber() override {
    natsSubscription_Unsubscribe(subscription_);
    natsSubscription_Destroy(subscription_);
  }

  void Receive(const OnMessage& on_message) override {
    natsMsg* message = nullptr;
    DieUnless(natsSubscription_NextMsg(&message, subscription_, 1000 * kSoon.count()), "receive");
    on_message({natsMsg_GetData(message), static_cast<size_t>(natsMsg_GetDataLength(message))});
    natsMsg_Destroy(message);
  }

 private:
  natsSubscription* subscription_ = nullptr;
};

class NatsConnection final : public Connection {
 public:
  NatsConnection(const std::string& url, bool prompt) {
    natsOptions* options = nullptr;
    DieUnless(natsOptions_Create(&options), "set options");
    natsOptions_SetURL(options, url.c_str());
    natsOptions_SetAllowReconnect(options, false);
    natsOptions_SetErrorHandler(options, OnError, nullptr);
    natsOptions_SetSendAsap(options, prompt);
    DieUnless(natsConnection_Connect(&connection_, options), "connect to " + url);
    natsOptions_Destroy(options);
    jsOptions requests;
    jsOptions_Init(&requests);
    requests.Wait = kRequestMillis;
    DieUnless(natsConnection_JetStream(&jetstream_, connection_, &requests), "use JetStream");
  }
  ~NatsConnection() override {
    jsCtx_Destroy(jetstream_);
    natsConnection_Destroy(connection_);
  }

  void CreateChannel(const std::string& channel) override {
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    const char* subject = channel.c_str();
    config.Name = subject;
    config.Subjects = &subject;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    config.Replicas = 1;
    DieUnless(js_AddStream(nullptr, jetstream_, &config, nullptr, nullptr), "create " + channel);
  }
  void DeleteChannel(const std::string& channel) override {
    DieUnless(js_DeleteStream(jetstream_, channel.c_str(), nullptr, nullptr), "delete " + channel);
  }
  std::unique_ptr<Publisher> OpenPublisher(const std::string& channel,
                                           uint64_t /*batch_bytes*/) override {
    return std::make_unique<NatsPublisher>(connection_, channel);
  }
  std::unique_ptr<Subscriber> OpenSubscriber(const std::string& channel) override {
    return std::make_unique<NatsSubscriber>(jetstream_, channel);
  }
  // Waits until JetStream answers.
  void Ask() {
    jsAccountInfo* info = nullptr;
    DieUnless(js_GetAccountInfo(&info, jetstream_, nullptr, nullptr), "ask JetStream");
    jsAccountInfo_Destroy(info);
  }

 private:
  natsConnection* connection_ = nullptr;
  jsCtx* jetstream_ = nullptr;
};

// Debian puts it into /usr/sbin, which is not in everybody's PATH.
std::string FindServer(const std::string& chosen) {
  if (!chosen.empty()) return chosen;
  const char* path = std::getenv("PATH");
  std::string folders = fmt::format("{}:/usr/sbin:", path == nullptr ? "" : path);
  while (!folders.empty()) {
    const size_t end = folders.find(':');
    const std::string file = folders.substr(0, end) + "/nats-server";
    if (access(file.c_str(), X_OK) == 0) return file;
    folders.erase(0, end + 1);
  }
  Die("no nats-server in PATH or /usr/sbin: install Debian's package nats-server, or give "
      "--peer-binary");
}

class NatsSystem final : public System {
 public:
  explicit NatsSystem(const SystemOptions& options)
      : System("nats", "tcp", options.sync),
        binary_(FindServer(options.binary)),
        prompt_(options.prompt),
        folder_(options.directory),
        path_(std::filesystem::absolute(folder_.path())),
        store_(path_ + "/store") {
    ReadVersion();
    WriteConfig();
    Restart();
  }

  std::unique_ptr<Connection> Connect() override {
    return std::make_unique<NatsConnection>(url_, prompt_);
  }
  double CpuSeconds() override { return ProcessCpuSeconds(pid()); }
  uint64_t PeakResidentBytes() override { return ProcessPeakResident(pid()); }
  void ForgetPeak() override { ForgetPeakResident(pid()); }
  uint64_t WrittenBytes() override { return ProcessWrittenBytes(pid()); }
  uint64_t StoredBytes() override { return DirectoryBytes(store_); }
  const std::string& directory() const override { return store_; }
  pid_t pid() const override { return server_->pid(); }

  void Kill() override { server_->Kill(); }

  double Restart() override {
    const auto start = SteadyClock::now();
    const std::vector<std::string> command = {binary_, "--config", path_ + "/nats.conf"};
    server_ = std::make_unique<Process>(command, path_ + "/output");
    server_->WaitForLine("Server is ready", kSoon);
    const std::string line = server_->WaitForLine("Listening for client connections on", kSoon);
    url_ = "nats://" + line.substr(line.rfind(' ') + 1);
    NatsConnection(url_, prompt_).Ask();
    return SecondsSince(start);
  }

 private:
  void ReadVersion() {
    Process process({binary_, "--version"}, path_ + "/version");
    const std::string line = process.WaitForLine("nats-server", kSoon);  // nats-server: v2.9.10
    version_ = line.substr(line.rfind(' ') + 1);
    if (version_.rfind('v', 0) == 0) version_.erase(0, 1);
  }

  // Since 2.10 the server can sync before it acknowledges.
  bool KnowsSyncInterval() const {
    char* rest = nullptr;
    const unsigned long major = std::strtoul(version_.c_str(), &rest, 10);
    const unsigned long minor = *rest == '.' ? std::strtoul(rest + 1, nullptr, 10) : 0;
    return major > 2 || (major == 2 && minor >= 10);
  }

  void WriteConfig() {
    if (sync() != "default" && sync() != "always") {
      Die("the sync of nats is default or always, not " + sync());
    }
    if (sync() == "always" && !KnowsSyncInterval()) {
      Die(
          fmt::format("{} is nats-server {}, which has no sync_interval and cannot sync before it "
                      "acknowledges: use --peer-sync default, or --peer-binary with 2.10 or later",
                      binary_, version_));
    }
    std::filesystem::create_directories(store_);
    std::ofstream file(path_ + "/nats.conf");
    file << "host: \"127.0.0.1\"\n"
         << "port: -1\n"
         << "max_payload: 8MB\n"
         << "jetstream {\n"
         << "  store_dir: \"" << store_ << "\"\n"
         << "  max_file_store: 1TB\n"
         << (sync() == "always" ? "  sync_interval: always\n" : "") << "}\n";
    if (!file.flush().good()) Die("cannot write " + path_ + "/nats.conf");
  }

  const std::string binary_;
  const bool prompt_;
  const TemporaryDirectory folder_;
  const std::string path_;
  const std::string store_;
  std::string url_;
  std::unique_ptr<Process> server_;
};

}  // namespace

std::unique_ptr<System> StartNats(const SystemOptions& options) {
  return std::make_unique<NatsSystem>(options);
}

}  // namespace strata::bench
