// strata-bench: what Strata does per second, end to end. bench/README.md says how to read the
// figures.
#include <CLI/CLI.hpp>

#include "bench/space.h"
#include "bench/support.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

CLI::App* AddSpaceCommand(CLI::App* app, const char* name, const char* what, std::string* address,
                          std::string* directory) {
  CLI::App* command = app->add_subcommand(name, what);
  command->add_option("address", *address, "127.0.0.1:7470 or unix:PATH")->required();
  command
      ->add_option("--directory", *directory, "the store's (rocksmq.path), whose size is measured")
      ->check(CLI::ExistingDirectory)
      ->required();
  return command;
}

void AddBytes(CLI::App* command, uint64_t* bytes, const char* what) {
  command->add_option("--bytes", *bytes, what)
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
}

void AddSizes(CLI::App* command, std::string* message, StoreSizes* sizes) {
  command->add_option("--message", *message, "bytes per message, one size or LOW..HIGH")
      ->capture_default_str();
  command->add_option("--page-size", sizes->page, "the daemon's rocksmq.rocksmqPageSize")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--write-buffer", sizes->write_buffer, "the daemon's limits.writeBuffer")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--max-file-store", sizes->max_file_store, "the daemon's limits.maxFileStore")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
}

void AddRetention(CLI::App* app, RetentionOptions* options) {
  CLI::App* command =
      AddSpaceCommand(app, "retention", "many times what is retained goes through the store",
                      &options->address, &options->directory);
  command->add_option("--channels", options->channels)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  AddBytes(command, &options->bytes, "published in all");
  command
      ->add_option("--retained-mb", options->retained_mb, "the daemon's rocksmq.retentionSizeInMB")
      ->capture_default_str();
  AddSizes(command, &options->message, &options->sizes);
  command->add_option("--settle-seconds", options->settle_seconds, "measured on after the end")
      ->capture_default_str();
  command->callback([options] { Retention(*options); });
}

void AddHold(CLI::App* app, HoldOptions* options) {
  CLI::App* command = AddSpaceCommand(app, "hold", "one of many subscriptions never acknowledges",
                                      &options->address, &options->directory);
  command->add_option("--channels", options->channels)
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  AddBytes(command, &options->bytes, "published in all");
  command
      ->add_option("--retained-mb", options->retained_mb, "the daemon's rocksmq.retentionSizeInMB")
      ->capture_default_str();
  AddSizes(command, &options->message, &options->sizes);
  command->add_flag("--expect-trim", options->expect_trim,
                    "the daemon has retention.policy limits");
  command->add_option("--settle-seconds", options->settle_seconds, "how long the space may take")
      ->capture_default_str();
  command->callback([options] { Hold(*options); });
}

void AddTruncate(CLI::App* app, TruncateOptions* options) {
  CLI::App* command = AddSpaceCommand(app, "truncate", "half of a channel is truncated",
                                      &options->address, &options->directory);
  AddBytes(command, &options->bytes, "of the channel");
  AddSizes(command, &options->message, &options->sizes);
  command->callback([options] { Truncate(*options); });
}

void AddFullDisk(CLI::App* app, FullDiskOptions* options) {
  const auto add = [&](const char* name, const char* what) {
    CLI::App* command = app->add_subcommand(name, what);
    command->add_option("address", options->address, "127.0.0.1:7470 or unix:PATH")->required();
    command->add_option("--record", options->record, "what was acknowledged, one line per message")
        ->required();
    return command;
  };
  CLI::App* load = add("full-disk-load",
                       "appends without end, also on a full disk, and records (bench/disk-full)");
  load->add_option("--channels", options->channels)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  load->add_option("--seconds", options->seconds, "0: until SIGTERM")->capture_default_str();
  load->callback([options] { FullDiskLoad(*options); });
  add("full-disk-verify", "compares what was recorded with what the channels hold")
      ->callback([options] { FullDiskVerify(*options); });
}

void AddSeek(CLI::App* app, SeekOptions* options) {
  CLI::App* command =
      app->add_subcommand("seek", "readers that open at a random time or id of a long channel");
  command->add_option("address", options->address,
                      "127.0.0.1:7470 or unix:PATH, to be measured after embedded");
  command->add_option("--directory", options->directory, "of the embedded store")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  command->add_option("--size", options->size, "bytes per message")
      ->check(CLI::Range(8, 1 << 20))
      ->capture_default_str();
  command->add_option("--count", options->count, "messages of the channel")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000}))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "messages per append")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->add_option("--seeks", options->seeks, "of each kind")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->callback([options] { Seek(*options); });
}

// Those of space.h; the options outlive the parsing.
struct SpaceWorkloads {
  RetentionOptions retention;
  HoldOptions hold;
  TruncateOptions truncate;
  FullDiskOptions full_disk;

  void AddTo(CLI::App* app) {
    AddRetention(app, &retention);
    AddHold(app, &hold);
    AddTruncate(app, &truncate);
    AddFullDisk(app, &full_disk);
  }
};

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  using namespace strata::bench;  // NOLINT: the program is the benchmarks
  CLI::App app("Benchmarks of Strata, end to end");
  app.require_subcommand(1);
  AddSeeds(&app);
  AddLatency(&app);
  AddScale(&app);
  AddReplay(&app);
  AddRestart(&app);
  AddVolume(&app);
  AddReclaim(&app);
  AddHostile(&app);
  AddCeiling(&app);

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

  SeekOptions seek;
  AddSeek(&app, &seek);

  SpaceWorkloads space;
  space.AddTo(&app);

  CLI11_PARSE(app, argc, argv);
  return 0;
}
