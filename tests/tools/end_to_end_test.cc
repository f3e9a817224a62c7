// The built `strata` as its users meet it: exit codes, messages, signals.
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/tools/command_line.h"

namespace strata::tools {
namespace {

using nlohmann::json;
using std::chrono::seconds;
using testing::Outcome;
using testing::Process;
using testing::ProgramPath;
using testing::TempDir;

constexpr seconds kPatience{30};

Outcome RunStrata(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), ProgramPath("strata"));
  return testing::Run(arguments);
}

TEST_CASE("Mistakes on the command line end with 2 and name what is wrong", "[end-to-end]") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes = {
      {{}, "subcommand"},
      {{"channel"}, "subcommand"},
      {{"chanel", "list"}, "there is no command or argument 'chanel'"},
      {{"channel", "lst"}, "there is no command or argument 'lst'"},
      {{"produce"}, "CHANNEL"},
      {{"produce", "c", "--separator", ""}, "--separator"},
      {{"produce", "c", "--separator", "\\q"}, "'\\q'"},
      {{"produce", "c", "--raw", "--separator", "x"}, "--separator"},
      {{"produce", "c", "--property", "novalue"}, "'novalue' is no property; write name=value"},
      {{"produce", "c", "--property", "a=1", "--property", "a=2"}, "second time"},
      {{"consume", "c", "--from", "yesterday"}, "'yesterday' is no position"},
      {{"consume", "c", "--max", "many"}, "--max"},
      {{"consume", "c", "-o", "xml"}, "-o"},
      {{"channel", "create", "c", "--first-id", "0"}, "--first-id"},
      {{"channel", "truncate", "c"}, "--through"},
      {{"subscription", "seek", "c", "s"}, "--to"},
      {{"status", "--wach"}, "--wach"},
      {{"status", "--watch", "--space"}, "--space"},
      {{"channel", "alter", "c"}, "--retention-time, --retention-size, --max-msgs or"},
      {{"channel", "alter", "c", "--retention-time", "3"}, "'3' is no time; write 3d"},
      {{"channel", "create", "c", "--retention-size", "big"}, "'big' is no size"},
      {{"channel", "create", "c", "--max-msgs", "-5"}, "--max-msgs"},
      {{"channel", "create", "c", "--retention-policy", "none"}, "'none' is no policy"},
  };
  for (const auto& [arguments, part] : mistakes) {
    const Outcome outcome = RunStrata(arguments);
    INFO((arguments.empty() ? "" : arguments.front()) << ": " << outcome.ToString());
    CHECK(outcome.exit_code == 2);
    CHECK(Contains(outcome.err, part));
    CHECK(outcome.out.empty());
  }
}

TEST_CASE("Help and version are answers", "[end-to-end]") {
  const Outcome help = RunStrata({"--help"});
  CHECK(help.exit_code == 0);
  CHECK(Contains(help.out, "Exit codes: 0 done"));
  CHECK(Contains(help.out, "STRATA_SERVER"));
  const Outcome version = RunStrata({"--version"});
  CHECK(version.exit_code == 0);
  CHECK(version.out.starts_with("strata "));
  CHECK(RunStrata({"consume", "--help"}).exit_code == 0);
}

TEST_CASE("Without a daemon the error says where none was found", "[end-to-end]") {
  const TempDir dir;
  // Port 1 is reserved and nobody listens on it.
  for (const std::string& address : {std::string("127.0.0.1:1"), "unix:" + dir / "none.sock"}) {
    const Outcome outcome = RunStrata({"--server", address, "status"});
    INFO(outcome.ToString());
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.err.starts_with("strata: CONNECTION_LOST: "));
    CHECK(Contains(outcome.err, address));
    CHECK(Contains(outcome.err, "Check the address and that stratad serves"));
  }
}

TEST_CASE("An address of no known form is refused", "[end-to-end]") {
  const Outcome outcome = RunStrata({"--server", "nonsense", "status"});
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.err.starts_with("strata: INVALID_ARGUMENT: "));
  CHECK(Contains(outcome.err, "nonsense"));
}

TEST_CASE("The address can come from the environment", "[end-to-end]") {
  const Place place("embedded");
  const Outcome outcome = testing::Run({.argv = {ProgramPath("strata"), "channel", "list"},
                                        .environment = {"STRATA_SERVER=" + place.address()}});
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out.starts_with("CHANNEL"));
  CHECK(std::filesystem::exists(place.data()));
}

TEST_CASE("Channels live through create, list, truncate and delete", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix", "embedded");
  INFO(kind);
  const Place place(kind);
  place.Do({"channel", "create", "logs", "--first-id", "100"});
  place.Do({"produce", "logs"}, "a\nb\nc\n");
  const json described = json::parse(place.Do({"channel", "describe", "logs", "-o", "json"}));
  CHECK(described["first_available_id"] == 100);
  CHECK(described["next_id"] == 103);
  // The same options again are no mistake, others are.
  CHECK(place.Try({"channel", "create", "logs", "--first-id", "100"}).exit_code == 0);
  const Outcome other = place.Try({"channel", "create", "logs"});
  CHECK(other.exit_code == 1);
  CHECK(Contains(other.err, "strata: CHANNEL_EXISTS: "));

  place.Do({"channel", "truncate", "logs", "--through", "101"});
  CHECK(place.Do({"consume", "logs", "-o", "raw"}) == "c\n");
  // From an id that is gone there is a gap, told where it does not mix with the data.
  const Outcome gap = place.Try({"consume", "logs", "--from", "100", "-o", "raw"});
  CHECK(gap.out == "c\n");
  CHECK(gap.err ==
        "strata: ids 100..101 are missing: TRIMMED, truncated, or removed by retention\n");
  CHECK(gap.exit_code == 0);

  place.Do({"channel", "create", "other"});
  const json list = json::parse(place.Do({"-o", "json", "channel", "list"}));
  REQUIRE(list.size() == 2);
  CHECK(list[0]["name"] == "logs");
  CHECK(json::parse(place.Do({"-o", "json", "channel", "list", "oth"})).size() == 1);

  const Outcome unasked = place.Try({"channel", "delete", "logs"});
  CHECK(unasked.exit_code == 2);
  CHECK(Contains(unasked.err, "--yes"));
  place.Do({"channel", "delete", "logs", "--yes"});
  const Outcome gone = place.Try({"channel", "describe", "logs"});
  CHECK(gone.exit_code == 1);
  CHECK(Contains(gone.err, "strata: CHANNEL_NOT_FOUND: "));
  CHECK(Contains(gone.err, "logs"));
}

TEST_CASE("Consuming a channel that is not there says how to get one", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "embedded");
  const Place place(kind);
  const Outcome outcome = place.Try({"consume", "nope"});
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("strata: CHANNEL_NOT_FOUND: "));
  CHECK(Contains(outcome.err, "nope"));
  CHECK(Contains(outcome.err, "strata channel create NAME"));
}

TEST_CASE("A name that no channel can have is refused", "[end-to-end]") {
  const Place place("embedded");
  const Outcome outcome = place.Try({"produce", "a/b"}, "x\n");
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.err.starts_with("strata: INVALID_CHANNEL_NAME: "));
}

TEST_CASE("Positions choose what is consumed", "[end-to-end]") {
  const Place place("embedded");
  place.Do({"produce", "logs"}, "1\n2\n3\n4\n5\n");
  const auto raw = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"consume", "logs", "-o", "raw"});
    return place.Do(more);
  };
  CHECK(raw({"--from", "4"}) == "4\n5\n");
  CHECK(raw({"--from", "after:4"}) == "5\n");
  CHECK(raw({"--from", "0"}) == "1\n2\n3\n4\n5\n");
  CHECK(raw({"--from", "latest"}).empty());
  CHECK(raw({"--from", "-1h", "--max", "2"}) == "1\n2\n");
  CHECK(raw({"--from=-1h30m", "--max", "1"}) == "1\n");
  CHECK(raw({"--from", "2999-01-01T00:00:00Z"}).empty());
  CHECK(raw({"--max", "0"}).empty());
}

TEST_CASE("A subscription goes on where it was", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "embedded");
  INFO(kind);
  const Place place(kind);
  place.Do({"produce", "logs"}, "1\n2\n3\n4\n5\n");
  const auto take = [&](const std::string& max) {
    return place.Do({"consume", "logs", "--subscription", "s", "-o", "raw", "--max", max});
  };
  CHECK(take("2") == "1\n2\n");
  CHECK(take("2") == "3\n4\n");
  CHECK(take("9") == "5\n");
  CHECK(take("9").empty());
  place.Do({"subscription", "seek", "logs", "s", "--to", "4"});
  const json s = json::parse(place.Do({"-o", "json", "subscription", "describe", "logs", "s"}));
  CHECK(s["cursor"] == 4);
  CHECK(s["backlog"] == 2);
  CHECK(take("9") == "4\n5\n");
  place.Do({"subscription", "create", "logs", "late", "--from", "latest"});
  CHECK(json::parse(place.Do({"-o", "json", "subscription", "list", "logs"})).size() == 2);
  place.Do({"subscription", "delete", "logs", "s"});
  const Outcome gone = place.Try({"subscription", "describe", "logs", "s"});
  CHECK(gone.exit_code == 1);
  CHECK(Contains(gone.err, "strata: SUBSCRIPTION_NOT_FOUND: "));
}

TEST_CASE("A second consumer of a subscription learns who holds it", "[end-to-end]") {
  Place place("unix");
  place.Do({"produce", "logs"}, "1\n");
  Process first(
      {.argv = place.Command({"consume", "logs", "--subscription", "s", "--follow", "-o", "raw"})});
  REQUIRE(Contains(first.WaitForOutput("1\n", kPatience), "1\n"));
  const Outcome second = place.Try({"consume", "logs", "--subscription", "s"});
  INFO(second.ToString());
  CHECK(second.exit_code == 1);
  CHECK(second.err.starts_with("strata: SUBSCRIPTION_HELD: "));
  CHECK(Contains(second.err, std::to_string(first.pid())));
  first.Signal(SIGINT);
  CHECK(first.Wait().exit_code == 0);
}

TEST_CASE("Following prints what comes until a signal ends it", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix");
  INFO(kind);
  const Place place(kind);
  place.Do({"produce", "logs"}, "old\n");
  Process follower({.argv = place.Command({"consume", "logs", "--follow", "-o", "raw"})});
  REQUIRE(Contains(follower.WaitForOutput("old\n", kPatience), "old\n"));
  place.Do({"produce", "logs"}, "new\n");
  REQUIRE(Contains(follower.WaitForOutput("new\n", kPatience), "new\n"));
  follower.Signal(SIGINT);
  const Outcome outcome = follower.Wait();
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out == "old\nnew\n");
  CHECK(outcome.err.empty());
}

TEST_CASE("An interrupted produce stores the whole lines it has read", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "embedded");
  INFO(kind);
  const Place place(kind);
  Process producer({.argv = place.Command({"produce", "logs", "-o", "json"}),
                    .input = "one\ntwo\nthr",
                    .keep_input_open = true});
  // Then it waits in a read for more.
  REQUIRE(producer.WaitUntilInputIsRead(kPatience));
  producer.Signal(SIGINT);
  const Outcome outcome = producer.Wait(kPatience);
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 130);
  const json summary = json::parse(outcome.out);
  CHECK(summary["messages"] == 2);
  CHECK(place.Do({"consume", "logs", "-o", "raw"}) == "one\ntwo\n");
}

TEST_CASE("A daemon that dies under a producer leaves a report of what is stored", "[end-to-end]") {
  Place place("tcp");
  Process producer({.argv = place.Command({"produce", "logs", "--reconnect", "0"}),
                    .input = "one\ntwo\n",
                    .keep_input_open = true});
  place.Do({"channel", "create", "logs"});
  REQUIRE(place.Do({"consume", "logs", "--follow", "--max", "2", "-o", "raw"}) == "one\ntwo\n");
  place.daemon()->Kill();
  // The break is seen at once or with the next append; both end the program.
  for (int i = 0; i < 3; ++i) producer.WriteInput("three\n");
  producer.CloseInput();
  const Outcome outcome = producer.Wait(kPatience);
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 1);
  CHECK(Contains(outcome.err, "2 messages, 6 B in "));
  CHECK(Contains(outcome.err, "ids 1..2 stored in logs\n"));
  CHECK(Contains(outcome.err, "message 3 of the input is the first that is not known"));
  CHECK(Contains(outcome.err, "strata: CONNECTION_LOST: "));
}

TEST_CASE("A reader of the output that has had enough ends it quietly", "[end-to-end]") {
  const Place place("embedded");
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "line " + std::to_string(i) + '\n';
  place.Do({"produce", "logs"}, text);
  const std::string script = "'" + ProgramPath("strata") + "' --server '" + place.address() +
                             "' consume logs -o raw 2>'" + place.path("err") + "'; echo $? >'" +
                             place.path("code") + "'";
  const Outcome outcome = testing::Run({"/bin/sh", "-c", "{ " + script + "; } | head -n 1"});
  CHECK(outcome.out == "line 0\n");
  std::string code;
  std::ifstream(place.path("code")) >> code;
  CHECK(code == "0");
  CHECK(std::filesystem::file_size(place.path("err")) == 0);
}

TEST_CASE("Input that cannot be opened is named", "[end-to-end]") {
  const Place place("embedded");
  const Outcome outcome = place.Try({"produce", "logs", place.path("none")});
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 1);
  CHECK(Contains(outcome.err, "strata: IO_ERROR: cannot open " + place.path("none")));
}

TEST_CASE("Status is one answer, or a line a second until a signal", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "embedded");
  INFO(kind);
  const Place place(kind);
  place.Do({"produce", "logs"}, "a\nb\n");
  const std::string text = place.Do({"status"});
  CHECK(Contains(text, "server:      " + place.address() + ", version "));
  CHECK(Contains(text, "state:       serving, durability.sync always\n"));
  CHECK(Contains(text, "channels:    1\n"));
  const json status = json::parse(place.Do({"status", "-o", "json"}));
  CHECK(status["status"]["accepts_appends"] == true);
  CHECK(status["status"]["channels"] == 1);
  CHECK(status["server"]["limits"]["max_payload"] == 16'777'216);
  CHECK(status["status"]["disk_free_bytes"] > 0);

  Process watch({.argv = place.Command({"status", "--watch", "-o", "json"})});
  REQUIRE(Contains(watch.WaitForOutput("}\n", kPatience), "per_second"));
  watch.Signal(SIGINT);
  CHECK(watch.Wait(kPatience).exit_code == 0);
}

// --- verify
// ---------------------------------------------------------------------------------------

// The largest table file of a store, where its messages are.
std::filesystem::path LargestTable(const std::string& data) {
  std::filesystem::path largest;
  uint64_t size = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data)) {
    if (entry.path().extension() != ".sst" || entry.file_size() <= size) continue;
    largest = entry.path();
    size = entry.file_size();
  }
  return largest;
}

TEST_CASE("A clean store verifies with 0 and its numbers", "[end-to-end]") {
  const Place place("embedded");
  place.Do({"produce", "logs"}, "a\nb\nc\n");
  const Outcome outcome = RunStrata({"verify", place.data()});
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 0);
  CHECK(Contains(outcome.out, place.data() + ": no problems; read 3 messages in "));
  const json report = json::parse(RunStrata({"-o", "json", "verify", place.data()}).out);
  CHECK(report["ok"] == true);
  CHECK(report["channels"] == 1);
  CHECK(report["messages"] == 3);
  // It changed nothing.
  CHECK(place.Do({"consume", "logs", "-o", "raw"}) == "a\nb\nc\n");
}

TEST_CASE("A damaged store verifies with 1 and says where the damage is", "[end-to-end]") {
  const Place place("embedded");
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i * 7'919) + " of the input\n";
  place.Do({"produce", "logs"}, text);
  const std::filesystem::path table = LargestTable(place.data());
  INFO(table);
  REQUIRE(!table.empty());
  {
    std::fstream file(table, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(table) / 2);
    file.seekg(middle);
    const auto byte = static_cast<char>(file.get());
    file.seekp(middle);
    file.put(static_cast<char>(byte ^ 0x40));
    REQUIRE(file.flush().good());
  }
  const Outcome outcome = RunStrata({"verify", place.data()});
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 1);
  CHECK(Contains(outcome.out, " problems; read "));
  CHECK((Contains(outcome.out, "logs") || Contains(outcome.out, table.filename())));
  const json report = json::parse(RunStrata({"-o", "json", "verify", place.data()}).out);
  CHECK(report["ok"] == false);
  CHECK(report["problem_count"] > 0);
}

TEST_CASE("What is no store cannot be verified: 2", "[end-to-end]") {
  const TempDir dir;
  const Outcome missing = RunStrata({"verify", dir / "none"});
  INFO(missing.ToString());
  CHECK(missing.exit_code == 2);
  CHECK(Contains(missing.err, dir / "none"));
  CHECK_FALSE(std::filesystem::exists(dir / "none"));

  std::filesystem::create_directory(dir / "foreign");
  std::ofstream(dir / "foreign/letter.txt") << "Dear reader";
  const Outcome foreign = RunStrata({"verify", dir / "foreign"});
  INFO(foreign.ToString());
  CHECK(foreign.exit_code == 2);
  CHECK(Contains(foreign.err, "strata: FOREIGN_DIRECTORY: "));
}

TEST_CASE("A store in use cannot be verified: 2", "[end-to-end]") {
  Place place("unix");
  const Outcome outcome = RunStrata({"verify", place.data()});
  INFO(outcome.ToString());
  CHECK(outcome.exit_code == 2);
  CHECK(Contains(outcome.err, "strata: STORE_LOCKED: "));
}

}  // namespace
}  // namespace strata::tools
