#include "bench/traffic.h"

#include <fmt/format.h>

#include "bench/process.h"

namespace strata::bench {

double Meter::Cpu() const {
  return ProcessCpuSeconds(0) + (system_->embedded() ? 0 : system_->CpuSeconds());
}

uint64_t FillChannel(Connection* connection, const std::string& channel, size_t size,
                     uint64_t bytes) {
  const uint64_t count = std::max<uint64_t>(1, bytes / size);
  Payloads payloads(size);
  const auto publisher = connection->OpenPublisher(channel);
  for (uint64_t i = 0; i < count; ++i) publisher->Send(payloads.Make(i));
  publisher->Flush();
  return count;
}

void ReadChannel(Connection* connection, const std::string& channel, uint64_t count) {
  const auto subscriber = connection->OpenSubscriber(channel);
  uint64_t expected = 0;
  while (expected < count) {
    subscriber->Receive([&](std::string_view payload) {
      if (Payloads::NumberOf(payload) != expected) {
        Die(fmt::format("{}: message {} came where {} was due", channel,
                        Payloads::NumberOf(payload), expected));
      }
      ++expected;
    });
  }
}

void SettleSystem(System* system) {
  Settle(system->directory(), {system->embedded() ? 0 : system->pid()});
}

Row NewRow(const std::string& workload, const std::string& row, const System& system) {
  Row result;
  result.workload = workload;
  result.row = row;
  result.system = system.name();
  result.mode = system.mode();
  result.sync = system.sync();
  result.data = "random";
  return result;
}

std::string SizeText(uint64_t bytes) {
  if (bytes >= (1u << 30) && bytes % (1u << 30) == 0) return fmt::format("{} GB", bytes >> 30);
  if (bytes >= (1u << 20) && bytes % (1u << 20) == 0) return fmt::format("{} MB", bytes >> 20);
  if (bytes >= (1u << 10) && bytes % (1u << 10) == 0) return fmt::format("{} KB", bytes >> 10);
  return fmt::format("{} B", bytes);
}

void PrintTarget(bool holds, const std::string& text) {
  fmt::print("  {}: {}\n", holds ? "holds" : "MISSED", text);
}

}  // namespace strata::bench
