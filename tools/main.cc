// The `strata` program: reads the command line, connects, runs one command, says what went wrong.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "client/client.h"
#include "client/connect.h"
#include "tools/channel_command.h"
#include "tools/compact_command.h"
#include "tools/consume_command.h"
#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/io.h"
#include "tools/parse.h"
#include "tools/produce_command.h"
#include "tools/repair_command.h"
#include "tools/status_command.h"
#include "tools/subscription_command.h"
#include "tools/verify_command.h"

namespace strata::tools {
namespace {

constexpr const char* kFooter = R"(
Addresses: HOST:PORT or unix:PATH of a stratad, or embedded:DIR[?config=FILE] for a broker in this
process on the directory DIR, which no other process may have open.

Exit codes: 0 done; 1 the command failed (verify: the store has problems; repair: something is
lost); 2 the command line is wrong and nothing was tried (verify: the store could not be read;
repair: there is no new store); 128 + signal: stopped by it before the end of the input, the channel
or the compaction.)";

// What the command line asks for; its parts are filled in by the parser.
struct CommandLine {
  std::string server = "127.0.0.1:7470";
  std::string output = "text";
  double reconnect_seconds = 10;
  // One of them is set: a command that talks to a broker, or one that does not.
  std::function<Result<int>(Client&, const Io&)> command;
  std::function<int(const Io&)> offline;
};

// The value of `parsed`, or an end of the parsing that names `option`.
template <typename T>
T Check(const char* option, Result<T> parsed) {
  if (!parsed.ok()) throw CLI::ValidationError(option, parsed.status().message());
  return *std::move(parsed);
}

// An option whose text is a position; *position is set when it occurs.
CLI::Option* AddPosition(CLI::App& app, const char* name, StartPosition* position,
                         const char* description) {
  return app
      .add_option_function<std::string>(
          name,
          [name, position](const std::string& text) {
            *position = Check(name, ParseStart(text, Clock::System()->WallMicros()));
          },
          description)
      ->type_name("POSITION");
}

CLI::Option* AddSeparator(CLI::App& app, std::string* separator, const char* description) {
  return app.add_option_function<std::string>(
      "--separator",
      [separator](const std::string& text) {
        *separator = Check("--separator", ParseEscapes(text));
      },
      description);
}

// The options of a channel's retention rules, for create and alter.
void AddRetention(CLI::App& app, RetentionChange* change) {
  const auto add = [&](const char* name, const char* type, auto parse, auto* value,
                       const char* description) {
    app.add_option_function<std::string>(
           name,
           [name, parse, value](const std::string& text) {
             value->emplace(Check(name, parse(text)));
           },
           description)
        ->type_name(type);
  };
  add("--retention-time", "TIME", ParseRetentionTime, &change->time,
      "How long messages are kept: 3d, 90m, off, or default (the broker's)");
  add("--retention-size", "SIZE", ParseRetentionSize, &change->size,
      "How much the channel keeps: 256MiB, 10GB, off or default");
  add("--max-msgs", "N", ParseMaxMessages, &change->max_messages,
      "How many messages the channel keeps: a number, off or default");
  add("--retention-policy", "POLICY", ParseRetentionPolicy, &change->policy,
      "Which of them may go: acked, limits, truncated or default");
}

void AddAlter(CLI::App& channel, CommandLine& line) {
  auto name = std::make_shared<std::string>();
  auto change = std::make_shared<RetentionChange>();
  CLI::App* alter = channel.add_subcommand(
      "alter", "Change a channel's own retention rules; what is not given stays");
  alter->add_option("NAME", *name)->required();
  AddRetention(*alter, change.get());
  alter->callback([name, change, &line] {
    if (change->empty()) {
      throw CLI::RequiredError(
          "--retention-time, --retention-size, --max-msgs or --retention-policy");
    }
    line.command = [name, change](Client& client, const Io& io) {
      return AlterChannel(client, io, *name, *change);
    };
  });
}

void AddChannelCommands(CLI::App& app, CommandLine& line) {
  struct Arguments {
    std::string name;
    ChannelOptions options;
    RetentionChange retention;
    MessageId through = 0;
    bool yes = false;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* channel =
      app.add_subcommand("channel", "Create, list, describe, alter, truncate, delete");
  channel->require_subcommand(1);

  CLI::App* create = channel->add_subcommand("create", "Create a channel");
  create->add_option("NAME", args->name, "1 to 249 of A-Z a-z 0-9 . _ -")->required();
  create->add_option("--first-id", args->options.first_id, "The id of its first message")
      ->check(CLI::Range(MessageId{1}, std::numeric_limits<MessageId>::max()))
      ->type_name("ID");
  AddRetention(*create, &args->retention);
  create->callback([args, &line] {
    args->options.retention = args->retention.On({});
    line.command = [args](Client& client, const Io& io) {
      return CreateChannel(client, io, args->name, args->options);
    };
  });

  CLI::App* list = channel->add_subcommand("list", "List the channels");
  list->add_option("PREFIX", args->name, "Only those whose names begin with it");
  list->callback([args, &line] {
    line.command = [args](Client& client, const Io& io) {
      return ListChannels(client, io, args->name);
    };
  });

  CLI::App* describe = channel->add_subcommand("describe", "Show one channel");
  describe->add_option("NAME", args->name)->required();
  describe->callback([args, &line] {
    line.command = [args](Client& client, const Io& io) {
      return DescribeChannel(client, io, args->name);
    };
  });

  CLI::App* producers = channel->add_subcommand(
      "producers", "Show named producers: who writes, and how far they are");
  producers->add_option("NAME", args->name, "Of this channel only");
  producers->callback([args, &line] {
    line.command = [args](Client& client, const Io& io) {
      return ListProducers(client, io, args->name);
    };
  });

  AddAlter(*channel, line);

  CLI::App* truncate = channel->add_subcommand("truncate", "Remove messages from the old end");
  truncate->add_option("NAME", args->name)->required();
  truncate->add_option("--through", args->through, "The last id to remove")
      ->required()
      ->type_name("ID");
  truncate->callback([args, &line] {
    line.command = [args](Client& client, const Io& io) {
      return TruncateChannel(client, io, args->name, args->through);
    };
  });

  CLI::App* erase = channel->add_subcommand(
      "delete", "Delete a channel with its messages and subscriptions; asks on a terminal");
  erase->add_option("NAME", args->name)->required();
  erase->add_flag("--yes", args->yes, "Do not ask");
  erase->callback([args, &line] {
    line.command = [args](Client& client, const Io& io) {
      return DeleteChannel(client, io, args->name, args->yes);
    };
  });
}

void AddProduce(CLI::App& app, CommandLine& line) {
  struct Arguments {
    ProduceOptions options;
    std::string file = "-";
    std::vector<std::string> properties;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* produce = app.add_subcommand(
      "produce", "Append each line of a file; creates the channel if it is missing");
  produce->add_option("CHANNEL", args->options.channel)->required();
  produce->add_option("FILE", args->file, "What to read; - or nothing is standard input");
  CLI::Option* raw =
      produce->add_flag("--raw", args->options.raw, "The whole input is one message");
  AddSeparator(*produce, &args->options.separator,
               "What ends a message, is not part of it (\\n); \\n \\r \\t \\0 \\xNN are known")
      ->excludes(raw);
  produce
      ->add_option("--property", args->properties, "NAME=VALUE for every message; may be repeated")
      ->allow_extra_args(false);
  CLI::Option* name = produce->add_option(
      "--producer", args->options.producer,
      "Append as this producer: its batches are numbered, and older instances of it are fenced");
  name->type_name("NAME");
  CLI::Option* term = produce->add_option("--term", args->options.term,
                                          "Of the producer: fences those with a lower one");
  term->needs(name)->check(CLI::NonNegativeNumber)->type_name("N");
  produce
      ->add_flag("--exclusive", args->options.exclusive,
                 "The channel's only writer; an empty input releases what a dead one still holds")
      ->needs(term);
  produce->callback([args, &line] {
    for (const std::string& text : args->properties) {
      auto property = Check("--property", ParseProperty(text));
      if (!args->options.properties.insert(std::move(property)).second) {
        throw CLI::ValidationError("--property",
                                   "'" + text + "' sets a property for the second time");
      }
    }
    if (args->options.separator.empty()) {
      throw CLI::ValidationError("--separator", "needs at least one byte; --raw reads all as one");
    }
    line.command = [args](Client& client, const Io& io) -> Result<int> {
      STRATA_ASSIGN_OR_RETURN(const std::unique_ptr<Input> input,
                              FdInput::Open(args->file, io.stop));
      return Produce(client, io, *input, args->options);
    };
  });
}

void AddConsume(CLI::App& app, CommandLine& line) {
  struct Arguments {
    ConsumeOptions options;
    std::string output;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* consume = app.add_subcommand(
      "consume", "Print messages, up to the end that the channel has now unless --follow");
  consume->add_option("CHANNEL", args->options.channel)->required();
  AddPosition(*consume, "--from", &args->options.from,
              "earliest (default), latest, an ID, after:ID, a time (2026-11-20T10:00:00Z) or -10m; "
              "with --subscription it counts only if that does not exist yet");
  consume
      ->add_option("--subscription", args->options.subscription,
                   "Go on where it is, acknowledge what was printed; created if missing")
      ->type_name("NAME");
  consume
      ->add_flag("--failover", args->options.failover,
                 "If somebody else holds the subscription, wait until it is free")
      ->needs("--subscription");
  consume
      ->add_option_function<double>(
          "--wait",
          [args](double seconds) {
            args->options.wait_for_channel =
                std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
          },
          "If the channel does not exist, wait so long for its creation")
      ->check(CLI::Range(0.0, 86400.0 * 365))
      ->type_name("SECONDS");
  consume->add_option("--max", args->options.max, "Stop after this many messages")->type_name("N");
  consume->add_flag("--follow", args->options.follow, "Wait for more; Ctrl-C ends it");
  AddSeparator(*consume, &args->options.separator, "What raw output writes after a message (\\n)");
  consume
      ->add_option("-o,--output", args->output,
                   "text: id, time, properties, payload escaped; raw: payload and separator; json")
      ->check(CLI::IsMember({"text", "raw", "json"}));
  consume->callback([args, &line] {
    const std::string& output = args->output.empty() ? line.output : args->output;
    args->options.style = output == "raw"    ? MessageStyle::kRaw
                          : output == "json" ? MessageStyle::kJson
                                             : MessageStyle::kText;
    line.command = [args](Client& client, const Io& io) {
      return Consume(client, io, args->options);
    };
  });
}

void AddSubscriptionCommands(CLI::App& app, CommandLine& line) {
  struct Arguments {
    std::string channel;
    std::string name;
    StartPosition position;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* subscription =
      app.add_subcommand("subscription", "Create, list, describe, seek, delete");
  subscription->require_subcommand(1);
  const auto add = [&](const char* verb, const char* description, auto command) {
    CLI::App* added = subscription->add_subcommand(verb, description);
    added->add_option("CHANNEL", args->channel)->required();
    added->add_option("NAME", args->name)->required();
    added->callback([args, command, &line] {
      line.command = [args, command](Client& client, const Io& io) {
        return command(client, io, *args);
      };
    });
    return added;
  };

  CLI::App* create =
      add("create", "Create a subscription", [](Client& client, const Io& io, const Arguments& a) {
        return CreateSubscription(client, io, a.channel, a.name, a.position);
      });
  AddPosition(*create, "--from", &args->position, "As for consume; default earliest");
  add("describe", "Show one subscription", [](Client& client, const Io& io, const Arguments& a) {
    return DescribeSubscription(client, io, a.channel, a.name);
  });
  CLI::App* seek =
      add("seek", "Move its cursor", [](Client& client, const Io& io, const Arguments& a) {
        return SeekSubscription(client, io, a.channel, a.name, a.position);
      });
  AddPosition(*seek, "--to", &args->position, "As --from of consume")->required();
  add("delete", "Delete a subscription", [](Client& client, const Io& io, const Arguments& a) {
    return DeleteSubscription(client, io, a.channel, a.name);
  });

  CLI::App* list = subscription->add_subcommand("list", "List the subscriptions");
  list->add_option("CHANNEL", args->channel, "Only those of this channel");
  list->callback([args, &line] {
    line.command = [args](Client& client, const Io& io) {
      return ListSubscriptions(client, io, args->channel);
    };
  });
}

void AddStatus(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* status = app.add_subcommand("status", "Show what the broker does and holds");
  CLI::Option* watch =
      status->add_flag("--watch", options->watch, "A line with rates every second, until Ctrl-C");
  status->add_flag("--space", options->space, "What keeps each channel's oldest page on disk")
      ->excludes(watch);
  status->callback([options, &line] {
    options->address = line.server;
    line.command = [options](Client& client, const Io& io) {
      return ShowStatus(client, io, *options);
    };
  });
}

void AddCompact(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<CompactOptions>();
  CLI::App* compact = app.add_subcommand(
      "compact", "Rewrite everything that is not yet as small as it can be, in the background");
  compact->add_flag("--wait", options->wait, "Return when it has ended (embedded: always)");
  compact->callback([options, &line] {
    // The broker in this process takes its compaction with it.
    if (line.server.starts_with("embedded:")) options->wait = true;
    line.command = [options](Client& client, const Io& io) {
      return Compact(client, io, *options);
    };
  });
}

void AddVerify(CLI::App& app, CommandLine& line) {
  auto directory = std::make_shared<std::string>();
  CLI::App* verify = app.add_subcommand(
      "verify", "Check every byte of a store that no process has open; changes nothing");
  verify->add_option("DIR", *directory, "The store's directory (rocksmq.path)")->required();
  verify->callback([directory, &line] {
    line.offline = [directory](const Io& io) { return Verify(io, *directory); };
  });
}

void AddRepair(CLI::App& app, CommandLine& line) {
  struct Arguments {
    std::string directory;
    std::string into;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* repair = app.add_subcommand(
      "repair", "Save what is readable of a damaged store into a new one; DIR stays as it is");
  repair->add_option("DIR", args->directory, "The store's directory (rocksmq.path)")->required();
  repair->add_option("--into", args->into, "The new store's; must not exist (DIR.repaired)")
      ->type_name("NEWDIR");
  repair->callback([args, &line] {
    line.offline = [args](const Io& io) { return Repair(io, args->directory, args->into); };
  });
}

int RunCommand(const CommandLine& line, const Io& io) {
  if (line.offline) return line.offline(io);
  ClientOptions options;
  options.reconnect_timeout =
      std::chrono::milliseconds(static_cast<int64_t>(line.reconnect_seconds * 1000));
  // Called by any thread, and io.err is for this one.
  options.log = [](LogLevel, std::string_view message) {
    fprintf(stderr, "strata: %.*s\n", static_cast<int>(message.size()), message.data());
  };
  Result<std::unique_ptr<Client>> client = Connect(line.server, options);
  Result<int> code = client.ok() ? line.command(**client, io) : Result<int>(client.status());
  if (client.ok()) (*client)->Close();
  if (code.ok()) return *code;
  io.Note(FormatError(code.status()));
  return kExitFailed;
}

int Main(int argc, char** argv) {
  CLI::App app("strata: the command line of Strata, a durable log broker for one machine",
               "strata");
  CommandLine line;
  app.set_version_flag("--version", "strata " STRATA_VERSION);
  app.footer(kFooter);
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    // A word that is no command is what to tell, not that a command is missing.
    const std::vector<std::string> unknown = failed->remaining(/*recurse=*/true);
    const std::string what = unknown.empty()
                                 ? error.what()
                                 : "there is no command or argument '" + unknown.front() + "'";
    return "strata: " + what + "\n  See strata --help.\n";
  });
  app.require_subcommand(1);
  app.fallthrough();  // global options may follow the command, too
  app.add_option("--server", line.server, "Where the broker is")
      ->envname("STRATA_SERVER")
      ->capture_default_str()
      ->type_name("ADDRESS");
  app.add_option("--reconnect", line.reconnect_seconds,
                 "How long to wait for a stratad that went away; 0: not at all")
      ->check(CLI::Range(0.0, 86400.0 * 365))
      ->capture_default_str()
      ->type_name("SECONDS");
  app.add_option("-o,--output", line.output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  AddChannelCommands(app, line);
  AddProduce(app, line);
  AddConsume(app, line);
  AddSubscriptionCommands(app, line);
  AddStatus(app, line);
  AddCompact(app, line);
  AddVerify(app, line);
  AddRepair(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }

  Stop stop;
  stop.ListenToSignals();
  FdInput in(STDIN_FILENO, false, "standard input", stop);
  FdOutput out(STDOUT_FILENO);
  FdOutput err(STDERR_FILENO);
  const Io io{.in = in,
              .out = out,
              .err = err,
              .stop = stop,
              .clock = *Clock::System(),
              .json = line.output == "json",
              .in_is_terminal = isatty(STDIN_FILENO) == 1,
              .err_is_terminal = isatty(STDERR_FILENO) == 1};
  return RunCommand(line, io);
}

}  // namespace
}  // namespace strata::tools

int main(int argc, char** argv) {
  // A reader that has had enough (| head) is an error of write, not a signal.
  signal(SIGPIPE, SIG_IGN);
  // gRPC's own words about a refused connection; the error that follows says the same for people.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  try {
    return strata::tools::Main(argc, argv);
  } catch (const std::exception& error) {
    // Out of memory, for example.
    fprintf(stderr, "strata: INTERNAL: %s\n", error.what());
    return strata::tools::kExitFailed;
  }
}
