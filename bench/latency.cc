// Latency at a fixed rate, as `strata-bench latency`: an open loop (open_loop.h).
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "bench/ceiling.h"
#include "bench/open_loop.h"
#include "bench/options.h"
#include "bench/process.h"
#include "bench/report.h"
#include "bench/support.h"
#include "bench/traffic.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

struct LatencyOptions : OpenLoopOptions {
  SystemChoice systems;
  int rounds = 5;
  std::vector<std::string> peer_clients = {"prompt", "shipped"};
};

// One system and what was measured on it.
struct Subject {
  std::string label;
  std::string suffix;  // of its rows
  std::unique_ptr<System> system;
  Rounds ack;
  Rounds deliver;
};

class LatencyBench {
 public:
  explicit LatencyBench(const LatencyOptions& options) : options_(options) {
    for (ChosenSystem chosen : options_.systems.All()) {
      if (chosen.name == "strata") {
        subjects_.push_back({chosen.Label(), "", chosen.Start(), {}, {}});
        continue;
      }
      // By default a peer's client may collect for up to a millisecond. Prompt is the harder one to
      // compare with, shipped what its users get.
      for (const std::string& client : options_.peer_clients) {
        chosen.options.prompt = client == "prompt";
        const std::string suffix = chosen.options.prompt ? "" : ", client as shipped";
        subjects_.push_back({chosen.Label() + suffix, suffix, chosen.Start(), {}, {}});
      }
    }
  }

  void Run() {
    fmt::print("latency: {} messages of {} bytes a second for {} s, from when each was due\n",
               options_.rate, options_.size, options_.seconds);
    for (int round = 0; round < options_.rounds; ++round) {
      fmt::print("round {} of {}\n", round + 1, options_.rounds);
      MeasureRaw();
      // Each round begins with another one, so that none is always the first.
      for (size_t turn = 0; turn < subjects_.size(); ++turn) {
        Measure(&subjects_[(turn + static_cast<size_t>(round)) % subjects_.size()], round);
      }
    }
    Conclude();
  }

 private:
  // The others are up, and have to be still.
  void SettleAll() {
    std::vector<pid_t> pids;
    for (const Subject& subject : subjects_) pids.push_back(subject.system->pid());
    Settle(options_.systems.directory(), pids);
  }

  void MeasureRaw() {
    SettleAll();
    Latencies from_due;
    Latencies raw = RawSync(options_.systems.directory(), options_.size, options_.count(),
                            options_.rate, &from_due);
    fmt::print("  append + fdatasync, each by itself:  {}\n", raw.Summary());
    fmt::print("  append + fdatasync, from when due:   {}\n", from_due.Summary());
    std::fflush(stdout);
    raw_.Add(&raw);
    raw_from_due_.Add(&from_due);
  }

  void Measure(Subject* subject, int round) {
    SettleAll();
    OpenLoop loop(subject->system.get(), options_, fmt::format("latency-{}", round));
    OpenLoopRound result = loop.Run();
    fmt::print("  {} ack:     {}\n", subject->label, result.ack.Summary());
    fmt::print("  {} deliver: {}\n", subject->label, result.deliver.Summary());
    fmt::print("  {} the sender itself was late by p50 {:.1f} us, p99 {:.1f} us\n", subject->label,
               result.sender.Percentile(0.5), result.sender.Percentile(0.99));
    std::fflush(stdout);
    subject->ack.Add(&result.ack);
    subject->deliver.Add(&result.deliver);
  }

  void Conclude() {
    fmt::print("medians of the rounds\n");
    fmt::print(
        "  append + fdatasync: p50 {:.1f} us, p99 {:.1f} us; from when due: {:.1f}, {:.1f}\n",
        raw_.p50(), raw_.p99(), raw_from_due_.p50(), raw_from_due_.p99());
    if (options_.size == 1024 && options_.rate == 2000) {
      for (const Subject& subject : subjects_) CheckBounds(subject);
    }
    Report report;
    for (const Subject& subject : subjects_) {
      report.AddVersion(*subject.system);
      AddRow(subject, "ack", subject.ack, &report);
      AddRow(subject, "deliver", subject.deliver, &report);
    }
    options_.systems.Finish(report);
  }

  void AddRow(const Subject& subject, const char* what, const Rounds& rounds,
              Report* report) const {
    Row row;
    row.workload = "latency";
    row.row = fmt::format("{} at {}/s {}{}", SizeText(options_.size), Grouped(options_.rate), what,
                          subject.suffix);
    row.system = subject.system->name();
    row.mode = subject.system->mode();
    row.sync = subject.system->sync();
    row.data = "random";
    row.p50_us = rounds.p50();
    row.p99_us = rounds.p99();
    row.p999_us = rounds.p999();
    row.max_us = rounds.max();
    // Nothing that is on disk before it is delivered can be faster than that.
    if (&rounds == &subject.deliver && row.sync == "always") {
      row.percent_of_ceiling = 100 * raw_.p50() / rounds.p50();
    }
    report->Add(std::move(row));
  }

  static std::string Grouped(int number) {
    std::string text = std::to_string(number);
    for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
    return text;
  }

  static void Check(bool holds, const std::string& what) {
    fmt::print("  {} {}\n", holds ? "holds: " : "MISSED:", what);
  }

  // What 1 KB at 2,000/s over the Unix socket has to show.
  void CheckBounds(const Subject& subject) const {
    const System& system = *subject.system;
    if (system.name() != "strata" || system.mode() != "unix") return;
    const double p50 = subject.deliver.p50();
    const double p99 = subject.deliver.p99();
    if (system.sync() == "none") {
      return Check(p50 <= 150, fmt::format("{} deliver: p50 {:.1f} us, at most 150",  //
                                           subject.label, p50));
    }
    if (system.sync() != "always") return;
    Check(p50 <= raw_.p50() + 250,
          fmt::format("{} deliver: p50 {:.1f} us, at most that of fdatasync + 250: {:.1f}",
                      subject.label, p50, raw_.p50() + 250));
    Check(p99 <= raw_.p99() + 2000,
          fmt::format("{} deliver: p99 {:.1f} us, at most that of fdatasync + 2,000: {:.1f}",
                      subject.label, p99, raw_.p99() + 2000));
    for (const Subject& peer : subjects_) {
      if (peer.system->name() == "strata") continue;
      Check(p50 < peer.deliver.p50(),
            fmt::format("{} deliver: p50 {:.1f} us, below {}'s: {:.1f}", subject.label, p50,
                        peer.label, peer.deliver.p50()));
      Check(p99 < peer.deliver.p99(),
            fmt::format("{} deliver: p99 {:.1f} us, below {}'s: {:.1f}", subject.label, p99,
                        peer.label, peer.deliver.p99()));
    }
  }

  const LatencyOptions& options_;
  std::vector<Subject> subjects_;
  Rounds raw_;
  Rounds raw_from_due_;
};

}  // namespace

void AddLatency(CLI::App* app) {
  auto options = std::make_shared<LatencyOptions>();
  CLI::App* command = app->add_subcommand(
      "latency", "publish to acknowledgement and to delivery at a fixed rate, open loop");
  options->systems.AddTo(command);
  options->AddTo(command, "of each round");
  command->add_option("--rounds", options->rounds)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  AddList(command, "--peer-client", &options->peer_clients,
          "a peer's client sends each message at once (prompt), or collects as it does by default "
          "(shipped)")
      ->check(CLI::IsMember({"prompt", "shipped"}));
  command->callback([options] { LatencyBench(*options).Run(); });
}

}  // namespace strata::bench
