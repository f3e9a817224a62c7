#include "bench/space.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>

namespace strata::bench {
namespace {

constexpr size_t kLargestPayload = 16u << 20;

uint64_t Mix(uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// Shared by all payloads: random, so that no compression helps.
const std::string& Pool() {
  static const std::string* const kPool = [] {
    auto* pool = new std::string(kLargestPayload + (1u << 20), '\0');
    std::mt19937_64 random(1);
    for (size_t i = 0; i + 8 <= pool->size(); i += 8) {
      const uint64_t word = random();
      std::memcpy(pool->data() + i, &word, 8);
    }
    return pool;
  }();
  return *kPool;
}

size_t ParseSize(const std::string& text) {
  size_t end = 0;
  uint64_t value = 0;
  try {
    value = std::stoull(text, &end);
  } catch (const std::exception&) {
    Die("'" + text + "' is not a size; 64KiB or 1000 are");
  }
  const std::string unit = text.substr(end);
  if (unit == "KiB" || unit == "k") value <<= 10;
  if (unit == "MiB" || unit == "m") value <<= 20;
  const bool known = unit.empty() || unit == "KiB" || unit == "k" || unit == "MiB" || unit == "m";
  if (!known || value < 8 || value > kLargestPayload) {
    Die("'" + text + "' is not a size from 8 to 16MiB");
  }
  return value;
}

}  // namespace

DiskUse MeasureDisk(const std::string& directory) {
  DiskUse use;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(directory, error);
  const std::filesystem::recursive_directory_iterator end;
  while (!error && it != end) {
    struct stat info {};
    if (lstat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      use.blocks += static_cast<uint64_t>(info.st_blocks) * 512;
      use.sizes += static_cast<uint64_t>(info.st_size);
      if (it->path().filename() == "BALLAST") use.ballast = static_cast<uint64_t>(info.st_size);
    }
    it.increment(error);
  }
  return use;
}

DiskSampler::DiskSampler(std::string directory, std::chrono::milliseconds every)
    : directory_(std::move(directory)), every_(every) {
  if (!std::filesystem::is_directory(directory_)) Die(directory_ + " is not a directory");
  thread_ = std::thread([this] {
    auto next = SteadyClock::now();
    while (!stop_) {
      const DiskUse use = MeasureDisk(directory_);
      {
        MutexLock lock(mu_);
        samples_.push_back({SteadyClock::now(), use});
        if (use.bounded() > max_.bounded()) max_ = use;
      }
      next = std::max(next + every_, SteadyClock::now());
      std::this_thread::sleep_until(next);
    }
  });
}

DiskSampler::~DiskSampler() {
  stop_ = true;
  thread_.join();
}

DiskUse DiskSampler::max() const {
  MutexLock lock(mu_);
  return max_;
}

DiskUse DiskSampler::last() const {
  MutexLock lock(mu_);
  return samples_.empty() ? DiskUse{} : samples_.back().use;
}

std::vector<DiskSampler::Sample> DiskSampler::samples() const {
  MutexLock lock(mu_);
  return samples_;
}

std::string Curve(const std::vector<DiskSampler::Sample>& samples, SteadyClock::time_point start) {
  std::string curve;
  for (const double at : {0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0}) {
    const auto due = start + std::chrono::duration_cast<SteadyClock::duration>(
                                 std::chrono::duration<double>(at));
    const auto found =
        std::find_if(samples.begin(), samples.end(),
                     [&](const DiskSampler::Sample& sample) { return sample.at >= due; });
    if (found == samples.end()) break;
    curve +=
        fmt::format("{}{} s: {:.0f}", curve.empty() ? "" : ", ", at, MiB(found->use.bounded()));
  }
  return curve;
}

void AwaitQuietDisk(const std::string& directory, std::chrono::seconds longest) {
  const auto end = SteadyClock::now() + longest;
  uint64_t before = MeasureDisk(directory).sizes;
  int quiet = 0;
  while (quiet < 8 && SteadyClock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    const uint64_t now = MeasureDisk(directory).sizes;
    quiet = now == before ? quiet + 1 : 0;
    before = now;
  }
}

SizeRange ParseSizes(const std::string& text) {
  const size_t dots = text.find("..");
  SizeRange sizes;
  sizes.smallest = ParseSize(text.substr(0, dots));
  sizes.largest = dots == std::string::npos ? sizes.smallest : ParseSize(text.substr(dots + 2));
  if (sizes.largest < sizes.smallest) Die("'" + text + "': the larger size comes first");
  return sizes;
}

CheckedPayloads::CheckedPayloads(uint64_t seed, SizeRange sizes) : seed_(seed), sizes_(sizes) {}

size_t CheckedPayloads::SizeOf(uint64_t number) const {
  if (sizes_.smallest == sizes_.largest) return sizes_.smallest;
  // As many between 1 and 2 KiB as between 32 and 64: small ones are common, large ones carry the bytes.
  const double share = static_cast<double>(Mix(seed_ * 31 + number) >> 11) / 0x1p53;
  const double ratio = static_cast<double>(sizes_.largest) / static_cast<double>(sizes_.smallest);
  const auto size =
      static_cast<size_t>(static_cast<double>(sizes_.smallest) * std::pow(ratio, share));
  return std::clamp(size, sizes_.smallest, sizes_.largest);
}

size_t CheckedPayloads::OffsetOf(uint64_t number) const {
  return Mix(seed_ ^ (number * 7919)) % (Pool().size() - kLargestPayload);
}

std::string_view CheckedPayloads::Make(uint64_t number) {
  current_.assign(Pool(), OffsetOf(number), SizeOf(number));
  std::memcpy(current_.data(), &number, sizeof(number));
  return current_;
}

bool CheckedPayloads::Matches(uint64_t number, std::string_view payload) const {
  return payload.size() == SizeOf(number) && Payloads::NumberOf(payload) == number &&
         std::memcmp(payload.data() + 8, Pool().data() + OffsetOf(number) + 8,
                     payload.size() - 8) == 0;
}

uint64_t StratumBytes(const StoreSizes& sizes, uint64_t live_bytes) {
  const uint64_t most = sizes.max_file_store > 0 ? sizes.max_file_store / 16 : UINT64_MAX;
  const uint64_t page = std::min(sizes.page, most);
  return std::min(std::clamp(live_bytes / 32, 4 * page, 64 * page), most);
}

uint64_t DiskBound(const StoreSizes& sizes, uint64_t retained_bytes) {
  return retained_bytes + 3 * StratumBytes(sizes, retained_bytes) + 4 * sizes.write_buffer;
}

uint64_t Fill(Client& client, const std::string& channel, CheckedPayloads payloads,
              uint64_t bytes) {
  auto producer = ValueOrDie(client.OpenProducer(channel), "open the producer");
  std::atomic<bool> failed = false;
  uint64_t number = 0;
  for (uint64_t sent = 0; sent < bytes; sent += payloads.SizeOf(number)) {
    ++number;
    DieUnlessOk(producer->Send(payloads.Make(number),
                               [&failed, number](const Result<MessageId>& id) {
                                 if (!id.ok() || *id != static_cast<MessageId>(number))
                                   failed = true;
                               }),
                "send");
  }
  DieUnlessOk(producer->Flush(std::chrono::minutes(5)), "flush");
  DieUnlessOk(producer->Close(), "close the producer");
  if (failed) Die("an append to " + channel + " failed or got another id than was due");
  return number;
}

uint64_t ReadBack(Client& client, const std::string& channel, const CheckedPayloads& payloads,
                  MessageId from, MessageId through) {
  auto reader = ValueOrDie(client.OpenReader(channel, StartPosition::At(from)), "open the reader");
  uint64_t bytes = 0;
  MessageId next = from;
  while (next <= through) {
    const ReceivedBatch batch =
        ValueOrDie(reader->ReceiveBatch(std::chrono::seconds(60)), "receive");
    if (batch.is_gap()) {
      Die(fmt::format("{}: a gap from {} to {} where {} was due", channel, batch.gap().first,
                      batch.gap().last, next));
    }
    for (const MessageView& message : batch) {
      if (message.id != next || !payloads.Matches(static_cast<uint64_t>(next), message.payload)) {
        Die(fmt::format("{}: message {} is not what was sent as {}", channel, message.id, next));
      }
      bytes += message.payload.size();
      ++next;
    }
  }
  return bytes;
}

void Verdict::Check(bool holds, const std::string& what) {
  fmt::print("  {}: {}\n", holds ? "holds" : "BROKEN", what);
  std::fflush(stdout);
  broken_ = broken_ || !holds;
}

void Verdict::Finish() const {
  if (broken_) Die("a bound was broken");
}

}  // namespace strata::bench
