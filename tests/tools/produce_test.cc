#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tools/command_fixture.h"
#include "tools/produce_command.h"

namespace strata::tools {
namespace {

using Payloads = std::vector<std::string>;
const Properties kMark{{"strata.unterminated", "1"}};

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Input that asks to stop once its bytes are read, and then, as a terminal would, has no end.
class InterruptedInput final : public Input {
 public:
  InterruptedInput(std::string bytes, Stop& stop) : bytes_(std::move(bytes)), stop_(stop) {}
  Result<size_t> Read(std::span<char> space) override {
    if (read_) {
      stop_.Request(SIGINT);
      return size_t{0};
    }
    read_ = true;
    std::copy(bytes_.begin(), bytes_.end(), space.begin());
    return bytes_.size();
  }

 private:
  const std::string bytes_;
  Stop& stop_;
  bool read_ = false;
};

class BrokenInput final : public Input {
 public:
  Result<size_t> Read(std::span<char>) override {
    return Status(Reason::IO_ERROR, "cannot read x: Input/output error");
  }
};

TEST_CASE("Each line becomes a message and the channel is created") {
  CommandFixture f;
  StringInput input("one\n\nthree\n", 4);
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs"}) == 0);
  CHECK(f.client.Payloads("logs") == Payloads{"one", "", "three"});
  CHECK(f.client.channels["logs"].messages.back().properties.empty());
  CHECK(f.out.text().empty());
  CHECK(Contains(f.err.text(), "3 messages, 8 B in 0.00 s"));
  CHECK(Contains(f.err.text(), ", ids 1..3 stored in logs\n"));
}

TEST_CASE("A last line without its separator is a message that says so") {
  CommandFixture f;
  StringInput input("one\ntwo");
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs"}) == 0);
  CHECK(f.client.channels["logs"].messages == std::vector<Message>{{"one", {}}, {"two", kMark}});
}

TEST_CASE("Empty input is no message and still creates the channel") {
  CommandFixture f;
  StringInput input("");
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs"}) == 0);
  CHECK(f.client.Payloads("logs").empty());
  CHECK(Contains(f.err.text(), "0 messages"));
  CHECK_FALSE(Contains(f.err.text(), "ids"));
}

TEST_CASE("Properties are set on every message") {
  CommandFixture f;
  StringInput input("one\ntwo");
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs", .properties = {{"k", "v"}}}) == 0);
  Properties last{{"k", "v"}};
  last.insert(kMark.begin(), kMark.end());
  CHECK(f.client.channels["logs"].messages ==
        std::vector<Message>{{"one", {{"k", "v"}}}, {"two", last}});
}

TEST_CASE("Raw input is one message of any bytes") {
  CommandFixture f;
  const std::string bytes("a\nb\0c\n", 6);
  StringInput input(bytes, 2);
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs", .raw = true}) == 0);
  CHECK(f.client.channels["logs"].messages == std::vector<Message>{{bytes, kMark}});
}

TEST_CASE("A raw message may have every byte that the server allows") {
  CommandFixture f;
  const std::string bytes(1'000, 'x');
  StringInput input(bytes);
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs", .raw = true}) == 0);
  CHECK(f.client.channels["logs"].messages == std::vector<Message>{{bytes, {{"", ""}}}});
}

TEST_CASE("Raw input beyond the server's limit is refused and nothing is stored") {
  CommandFixture f;
  StringInput input(std::string(1'001, 'x'));
  const auto result = Produce(f.client, f.io, input, {.channel = "logs", .raw = true});
  CHECK(result.status().reason() == Reason::MESSAGE_TOO_LARGE);
  CHECK(Contains(result.status().message(), "more than 1000 bytes"));
  CHECK(f.client.Payloads("logs").empty());
}

TEST_CASE("A line beyond the limit ends the command and says which one it is") {
  const std::string long_line(1'001, 'x');
  // With its end in the first block, and with its end never seen.
  for (const std::string& text : {"one\n" + long_line + "\ntwo\n", "one\n" + long_line}) {
    CommandFixture f;
    StringInput input(text);
    const auto result = Produce(f.client, f.io, input, {.channel = "logs"});
    CHECK(result.status().reason() == Reason::MESSAGE_TOO_LARGE);
    CHECK(Contains(result.status().message(), "message 2 of the input"));
    CHECK(f.client.Payloads("logs") == Payloads{"one"});
    CHECK(Contains(f.err.text(), "ids 1..1 stored"));
    CHECK(Contains(f.err.text(), "message 2 of the input is the first"));
  }
}

TEST_CASE("After a failed append the fate of every message read is told") {
  CommandFixture f;
  f.client.appends_until_error = 2;
  f.client.append_error = Status(Reason::STORE_FAILED, "sync failed: Input/output error")
                              .WithFate(DataFate::kMayHaveBeenAppended);
  StringInput input("a\nb\nc\nd\n");
  const auto result = Produce(f.client, f.io, input, {.channel = "logs"});
  CHECK(result.status().reason() == Reason::STORE_FAILED);
  CHECK(result.status().fate() == DataFate::kMayHaveBeenAppended);
  CHECK(Contains(f.err.text(), "2 messages, 2 B"));
  CHECK(Contains(f.err.text(), "ids 1..2 stored"));
  CHECK(Contains(f.err.text(),
                 "1 messages may have been stored, 1 were not; message 3 of the "
                 "input is the first that is not known to be stored"));
}

TEST_CASE("An interrupt stores the whole lines that were read") {
  CommandFixture f;
  InterruptedInput input("one\ntwo\nthr", f.stop);
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs"}) == 130);
  CHECK(f.client.Payloads("logs") == Payloads{"one", "two"});
  CHECK(Contains(f.err.text(),
                 "stopped before the end of the input; 3 bytes of an unfinished message"));
}

TEST_CASE("An interrupted raw input is not stored") {
  CommandFixture f;
  InterruptedInput input("half", f.stop);
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs", .raw = true}) == 130);
  CHECK(f.client.Payloads("logs").empty());
}

TEST_CASE("Input that cannot be read is an error") {
  CommandFixture f;
  BrokenInput input;
  CHECK(Produce(f.client, f.io, input, {.channel = "logs"}).status().reason() == Reason::IO_ERROR);
}

TEST_CASE("With JSON the summary is an object on standard output") {
  CommandFixture f;
  f.io.json = true;
  StringInput input("one\ntwo\n");
  CHECK(*Produce(f.client, f.io, input, {.channel = "logs"}) == 0);
  const auto json = nlohmann::json::parse(f.out.text());
  CHECK(json["channel"] == "logs");
  CHECK(json["messages"] == 2);
  CHECK(json["bytes"] == 6);
  CHECK(json["first_id"] == 1);
  CHECK(json["last_id"] == 2);
  CHECK(f.err.text().empty());
}

TEST_CASE("Progress is drawn on a terminal only and removed at the end") {
  for (const bool terminal : {false, true}) {
    CommandFixture f;
    f.io.err_is_terminal = terminal;
    // A block a second, as a slow disk would have it.
    class SlowInput final : public Input {
     public:
      explicit SlowInput(ManualClock& clock) : clock_(clock) {}
      Result<size_t> Read(std::span<char> space) override {
        clock_.Advance(std::chrono::seconds(1));
        if (++blocks_ > 4) return size_t{0};
        std::copy_n("0123456\n\n\n", 10, space.begin());
        return size_t{10};
      }
      std::optional<uint64_t> total() const override { return 40; }

     private:
      ManualClock& clock_;
      int blocks_ = 0;
    } input(f.clock);
    CHECK(*Produce(f.client, f.io, input, {.channel = "logs"}) == 0);
    INFO(f.err.text());
    CHECK(Contains(f.err.text(), "[==========>         ]  50%  20 B  10 B/s  3 msg/s") == terminal);
    CHECK(Contains(f.err.text(), "\r\x1b[K12 messages") == terminal);
    CHECK(Contains(f.err.text(), "12 messages, 28 B in 5.00 s (2 msg/s, 5 B/s), ids 1..12"));
  }
}

}  // namespace
}  // namespace strata::tools
