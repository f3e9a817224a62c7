// System: a message store under test. The workloads are written once, against this, and run on
// Strata (embedded, over TCP, over a Unix socket) and on its peers alike.
//
// A System is one broker on one empty directory, with its own settings, that lives from Start() to
// the end of the object. Everything here ends the program with a message when it fails: a benchmark
// has nothing to save. Connections are used by any thread, publishers and subscribers by one each.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace strata::bench {

// Sends to one channel.
class Publisher {
 public:
  virtual ~Publisher() = default;
  // One message, and waits until it is acknowledged.
  virtual void SendAndWait(std::string_view payload) = 0;
  // Copies the message and returns; waits only while as much as the system's client allows is
  // unacknowledged. `acknowledged`, if given, runs once, on any thread, and must be quick.
  virtual void Send(std::string_view payload, std::function<void()> acknowledged = nullptr) = 0;
  // Waits until everything sent is acknowledged.
  virtual void Flush() = 0;
};

// Receives one channel from its first message, without a durable position.
class Subscriber {
 public:
  using OnMessage = std::function<void(std::string_view)>;
  virtual ~Subscriber() = default;
  // Waits for messages, at most a minute, and hands on those that came together: at least one.
  virtual void Receive(const OnMessage& on_message) = 0;
};

// One client with a connection of its own.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual void CreateChannel(const std::string& channel) = 0;
  virtual void DeleteChannel(const std::string& channel) = 0;
  // `batch_bytes`: what the system's client sends together at most; 0 is its default. Peers that send
  // every message by itself ignore it.
  virtual std::unique_ptr<Publisher> OpenPublisher(const std::string& channel,
                                                   uint64_t batch_bytes = 0) = 0;
  // From the earliest message.
  virtual std::unique_ptr<Subscriber> OpenSubscriber(const std::string& channel) = 0;
};

class System {
 public:
  virtual ~System() = default;

  const std::string& name() const { return name_; }  // strata or nats
  const std::string& mode() const { return mode_; }  // embedded, tcp or unix
  // When a message is acknowledged: always (after fsync), interval or none (before).
  const std::string& sync() const { return sync_; }
  const std::string& version() const { return version_; }  // as the broker says it

  virtual std::unique_ptr<Connection> Connect() = 0;
  // For clients of another kind; empty where there is none.
  virtual std::string address() const { return ""; }

  // Of the broker's process; of this one when it is embedded. CPU: all threads, since it began.
  virtual double CpuSeconds() = 0;
  // Since the last ForgetPeak(), or its start.
  virtual uint64_t PeakResidentBytes() = 0;
  virtual void ForgetPeak() = 0;
  // Handed to the device by the broker's process so far (write_bytes of /proc/PID/io).
  virtual uint64_t WrittenBytes() = 0;
  // Of the whole directory, as du counts.
  virtual uint64_t StoredBytes() = 0;
  virtual const std::string& directory() const = 0;
  // Of the broker; 0, which means this process, when it is embedded.
  virtual pid_t pid() const = 0;
  bool embedded() const { return mode_ == "embedded"; }

  // SIGKILL, which ends every connection of it. REQUIRES: !embedded().
  virtual void Kill() = 0;
  // Starts it again after Kill(), on the same directory: seconds until it answered a client. Embedded: closes it, then
  // seconds until it was open again. REQUIRES: embedded: no Connection is left.
  virtual double Restart() = 0;

 protected:
  System(std::string name, std::string mode, std::string sync)
      : name_(std::move(name)), mode_(std::move(mode)), sync_(std::move(sync)) {}
  std::string version_;

 private:
  const std::string name_;
  const std::string mode_;
  const std::string sync_;
};

// How to start one.
struct SystemOptions {
  std::string mode = "unix";    // embedded, tcp, unix; peers know tcp only
  std::string sync = "always";  // always, interval or none; of NATS: default or always
  std::string directory = ".";  // a folder of its own is made in it, and removed at the end
  std::string binary;           // of the broker; empty: stratad beside this program, or by PATH
  // Strata: more settings, as stratad's --set.
  std::vector<std::string> settings = {};
  // NATS: sends each message at once. Otherwise its client collects them for up to a millisecond,
  // which is better for throughput and worse for latency.
  bool prompt = false;
};

// Strata, with conf/strata.yaml's defaults but for the addresses, the directory and options.sync.
std::unique_ptr<System> StartStrata(const SystemOptions& options);

// A connection to a Strata that runs already.
std::unique_ptr<Connection> ConnectStrata(const std::string& address);

// NATS JetStream with file storage (bench/peers/nats); ends the program if this build has no peers.
std::unique_ptr<System> StartNats(const SystemOptions& options);

}  // namespace strata::bench
