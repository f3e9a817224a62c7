// strata-bench: what Strata does per second, end to end. bench/README.md says how to read the
// figures.
#include <CLI/CLI.hpp>

#include "bench/support.h"

int main(int argc, char** argv) {
  using namespace strata::bench;  // NOLINT: the program is the benchmarks
  CLI::App app("Benchmarks of Strata, end to end");
  app.require_subcommand(1);

  PublishConsumeOptions publish_consume;
  CLI::App* pc = app.add_subcommand("publish-consume", "publish and consume at the same time");
  pc->add_option("address", publish_consume.address, "127.0.0.1:7470, unix:PATH or embedded:DIR")
      ->required();
  pc->add_option("--size", publish_consume.size, "bytes per message")
      ->check(CLI::Range(8, 16 << 20))
      ->capture_default_str();
  pc->add_option("--count", publish_consume.count, "messages per round")->capture_default_str();
  pc->add_option("--rounds", publish_consume.rounds)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  pc->add_option("--batch-bytes", publish_consume.batch_bytes, "the producer's batch size")
      ->capture_default_str();
  pc->add_option("--server-pid", publish_consume.server_pid,
                 "also report this process's CPU and peak memory");
  pc->callback([&] { PublishConsume(publish_consume); });

  AppendOptions append;
  CLI::App* ap =
      app.add_subcommand("append", "embedded synchronous single appends, beside write + fdatasync");
  ap->add_option("--directory", append.directory, "on the disk to measure")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  ap->add_option("--sync", append.sync)
      ->check(CLI::IsMember({"always", "interval", "none"}))
      ->capture_default_str();
  ap->add_option("--size", append.size, "bytes per message")
      ->check(CLI::Range(8, 16 << 20))
      ->capture_default_str();
  ap->add_option("--count", append.count, "appends per round")->capture_default_str();
  ap->add_option("--rounds", append.rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  ap->callback([&] { Append(append); });

  FanoutOptions fanout;
  CLI::App* fo = app.add_subcommand("fanout", "many consumers of one channel, one of them stopped");
  fo->add_option("address", fanout.address, "127.0.0.1:7470, unix:PATH or embedded:DIR")
      ->required();
  fo->add_option("--size", fanout.size, "bytes per message")
      ->check(CLI::Range(8, 16 << 20))
      ->capture_default_str();
  fo->add_option("--count", fanout.count, "messages")->capture_default_str();
  fo->add_option("--consumers", fanout.consumers)
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  fo->add_option("--server-pid", fanout.server_pid, "also report this process's peak memory");
  fo->callback([&] { Fanout(fanout); });

  CLI11_PARSE(app, argc, argv);
  return 0;
}
