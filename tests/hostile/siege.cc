#include "tests/hostile/siege.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "base/batch.h"
#include "client/connect.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr char kChannel[] = "bystander";
// That the store may open meanwhile, for what is appended.
constexpr int kFilesOfStore = 4;
// Slow enough to leave the processor to the siege, quick enough to notice a stall.
constexpr std::chrono::milliseconds kPause{1};

template <typename Check>
bool Eventually(Check check) {
  for (const auto deadline = Clock::now() + seconds(10); Clock::now() < deadline;) {
    if (check()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return check();
}

std::string Trouble(const Status& status) { return status.ok() ? "" : status.ToString(); }

}  // namespace

std::string Toll::ToString() const {
  return fmt::format(
      "daemon {}; bystander: {} messages, slowest {:.1f} ms, {}; the daemon has grown by {} MB, "
      "has {} "
      "descriptors left and used {:.2f} s of CPU",
      alive ? "alive" : "dead", messages, slowest_ms, bystander.empty() ? "no trouble" : bystander,
      resident_mb, descriptors_left, cpu_seconds);
}

Siege::Siege(std::vector<std::string> settings)
    : daemon_(std::make_unique<Daemon>(
          DaemonOptions{.data = dir_ / "data", .settings = std::move(settings)})) {
  ClientOptions options;
  options.reconnect_timeout = std::chrono::milliseconds(0);
  auto client = ConnectRemote(daemon_->unix_socket(), options);
  if (!client.ok()) throw std::runtime_error(client.status().ToString());
  client_ = std::move(*client);
  if (const auto created = client_->CreateChannel(kChannel); !created.ok()) {
    throw std::runtime_error(created.status().ToString());
  }
  bystander_ = std::thread([this] { Behave(); });
  Eventually([this] { return messages_ > 20; });
  resident_before_ = ResidentMb();
  descriptors_before_ = Descriptors();
  cpu_before_ = CpuSeconds();
}

Siege::~Siege() {
  stop_ = true;
  if (bystander_.joinable()) bystander_.join();
}

void Siege::Behave() {
  auto reader = client_->OpenReader(kChannel, StartPosition::Earliest());
  if (!reader.ok()) {
    trouble_ = Trouble(reader.status());
    return;
  }
  while (!stop_) {
    const std::string sent = fmt::format("message {}", messages_.load());
    const auto start = Clock::now();
    BatchBuilder batch;
    batch.Add(sent);
    const auto appended = client_->Append(kChannel, batch.Take());
    trouble_ = Trouble(appended.status());
    if (!trouble_.empty()) return;
    const auto received = (*reader)->ReceiveBatch(seconds(10));
    trouble_ = Trouble(received.status());
    if (!trouble_.empty()) return;
    if (received->is_gap() || (*received->begin()).payload != sent) {
      trouble_ = "something else than '" + sent + "' came";
      return;
    }
    const std::chrono::duration<double, std::milli> took = Clock::now() - start;
    slowest_ms_ = std::max(slowest_ms_, took.count());
    ++messages_;
    std::this_thread::sleep_for(kPause);
  }
}

int64_t Siege::ResidentMb() const {
  std::ifstream statm(fmt::format("/proc/{}/statm", daemon_->pid()));
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return resident * 4096 / 1'000'000;
}

int Siege::Descriptors() const {
  int count = 0;
  std::error_code gone;
  const std::filesystem::path folder = fmt::format("/proc/{}/fd", daemon_->pid());
  for (auto it = std::filesystem::directory_iterator(folder, gone);
       !gone && it != std::filesystem::directory_iterator(); it.increment(gone)) {
    ++count;
  }
  return count;
}

double Siege::CpuSeconds() const {
  clockid_t clock;
  timespec time = {};
  if (clock_getcpuclockid(daemon_->pid(), &clock) == 0) clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Toll Siege::End() {
  Toll toll;
  const uint64_t before = messages_;
  Eventually([&] { return messages_ > before + 1; });
  stop_ = true;
  bystander_.join();
  toll.bystander = trouble_;
  toll.messages = messages_;
  toll.slowest_ms = slowest_ms_;
  if (trouble_.empty() && messages_ <= before + 1)
    toll.bystander = "it got nothing through any more";
  const int expected = descriptors_before_ + kFilesOfStore;
  Eventually([&] { return Descriptors() <= expected; });
  toll.descriptors_left = std::max(0, Descriptors() - expected);
  toll.resident_mb = ResidentMb() - resident_before_;
  toll.cpu_seconds = CpuSeconds() - cpu_before_;
  toll.alive = daemon_->Stop().ok();
  return toll;
}

uint64_t RaiseFileLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

int HostileFactor() {
  const char* const given = std::getenv("STRATA_HOSTILE_FACTOR");
  return given == nullptr ? 1 : std::max(1, std::atoi(given));
}

void CheckToll(Siege* siege, int64_t most_mb) {
  const Toll toll = siege->End();
  INFO(toll.ToString());
  CHECK(toll.alive);
  CHECK(toll.bystander == "");
  CHECK(toll.descriptors_left == 0);
  CHECK(toll.resident_mb <= MeasuredMb(most_mb));
}

}  // namespace strata::testing
