// The disk by itself: what a durable append costs at least, and what it takes in a row.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "bench/ceiling.h"
#include "bench/pace.h"

namespace strata::bench {
namespace {

// A new file that only grows.
class GrowingFile {
 public:
  explicit GrowingFile(std::string path)
      : path_(std::move(path)),
        file_(open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600)) {
    if (file_ < 0) Die("cannot create " + path_);
  }
  ~GrowingFile() { close(file_); }
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  void Append(std::string_view data) {
    while (!data.empty()) {
      const ssize_t written = write(file_, data.data(), data.size());
      if (written <= 0) Die("cannot write " + path_);
      data.remove_prefix(static_cast<size_t>(written));
    }
  }
  void Sync() {
    if (fdatasync(file_) != 0) Die("fdatasync failed on " + path_);
  }

 private:
  const std::string path_;
  const int file_;
};

}  // namespace

Latencies RawSync(const std::string& directory, size_t size, uint64_t count, double rate,
                  Latencies* from_due) {
  const TemporaryDirectory folder(directory);
  GrowingFile file(folder.path() + "/appended");
  Payloads payloads(size);
  Latencies latencies;
  latencies.Reserve(count);
  const PunctualThread punctual;
  const Pace pace(rate);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view payload = payloads.Make(i);
    if (rate > 0) pace.AwaitDue(i);
    const auto start = SteadyClock::now();
    file.Append(payload);
    file.Sync();
    const auto end = SteadyClock::now();
    latencies.Add(end - start);
    if (from_due != nullptr && rate > 0) from_due->Add(end - pace.Due(i));
  }
  return latencies;
}

double RawSequentialWrite(const std::string& directory, uint64_t bytes) {
  constexpr uint64_t kPiece = 1u << 20;
  const TemporaryDirectory folder(directory);
  GrowingFile file(folder.path() + "/written");
  Payloads payloads(kPiece);
  const auto start = SteadyClock::now();
  for (uint64_t written = 0; written < bytes; written += kPiece) {
    file.Append(payloads.Make(written).substr(0, std::min(kPiece, bytes - written)));
  }
  file.Sync();
  return static_cast<double>(bytes) / 1e6 / SecondsSince(start);
}

}  // namespace strata::bench
