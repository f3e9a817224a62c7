#include "tools/io.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::tools {
namespace {

using testing::TempDir;

struct Pipe {
  Pipe() { REQUIRE(pipe2(ends, O_CLOEXEC) == 0); }
  ~Pipe() {
    close(ends[0]);
    close(ends[1]);
  }
  int ends[2];
};

TEST_CASE("A read that waits for input ends when a stop is requested") {
  Pipe pipe;
  Stop stop;
  FdInput input(pipe.ends[0], false, "a pipe", stop);
  size_t got = 1;
  std::thread reader([&] {
    char byte;
    got = *input.Read({&byte, 1});
  });
  stop.Request(SIGINT);
  reader.join();
  CHECK(got == 0);
  CHECK(stop.exit_code() == 130);
}

TEST_CASE("What a pipe has is read before its end") {
  Pipe pipe;
  Stop stop;
  FdInput input(pipe.ends[0], false, "a pipe", stop);
  REQUIRE(write(pipe.ends[1], "abc", 3) == 3);
  close(pipe.ends[1]);
  pipe.ends[1] = -1;
  char block[16];
  CHECK(*input.Read(block) == 3);
  CHECK(*input.Read(block) == 0);
  CHECK_FALSE(input.total());
}

TEST_CASE("A file knows its size and a missing one is named") {
  TempDir dir;
  std::ofstream(dir / "file") << "12345";
  Stop stop;
  const auto input = FdInput::Open(dir / "file", stop);
  REQUIRE(input.ok());
  CHECK((*input)->total() == 5);
  const Status missing = FdInput::Open(dir / "none", stop).status();
  CHECK(missing.reason() == Reason::IO_ERROR);
  CHECK(missing.message() == "cannot open " + dir / "none" + ": No such file or directory");
}

TEST_CASE("A folder given as input is an error that names it") {
  TempDir dir;
  Stop stop;
  const auto input = FdInput::Open(dir.path(), stop);
  REQUIRE(input.ok());
  char block[16];
  const Status status = (*input)->Read(block).status();
  CHECK(status.reason() == Reason::IO_ERROR);
  CHECK(status.message() == "cannot read " + dir.path() + ": Is a directory");
}

TEST_CASE("A signal requests the stop of the object that listens") {
  Stop stop;
  stop.ListenToSignals();
  REQUIRE(raise(SIGTERM) == 0);
  CHECK(stop.requested());
  CHECK(stop.exit_code() == 143);
  CHECK_FALSE(stop.SleepFor(std::chrono::minutes(1)));
  // The second one is for the system.
  struct sigaction action = {};
  REQUIRE(sigaction(SIGTERM, nullptr, &action) == 0);
  CHECK(action.sa_handler == SIG_DFL);
}

TEST_CASE("Output comes in order whatever the sizes of its parts") {
  StringOutput out;
  std::string expected;
  for (const size_t size : {size_t{1}, Output::kBlock, size_t{0}, Output::kBlock + 1, size_t{7},
                            Output::kBlock - 7, size_t{1}}) {
    const std::string part(size, static_cast<char>('a' + expected.size() % 26));
    expected += part;
    REQUIRE(out.Append(part).ok());
  }
  REQUIRE(out.Flush().ok());
  CHECK(out.text() == expected);
}

TEST_CASE("Small output is passed on in blocks") {
  StringOutput out;
  REQUIRE(out.Append("abc").ok());
  CHECK(out.text().empty());
  REQUIRE(out.Append(std::string(Output::kBlock, 'x')).ok());
  CHECK(out.text() == "abc");
}

TEST_CASE("Output that nobody reads any more fails for good") {
  Pipe pipe;
  signal(SIGPIPE, SIG_IGN);
  close(pipe.ends[0]);
  pipe.ends[0] = -1;
  FdOutput out(pipe.ends[1]);
  REQUIRE(out.Append("x").ok());
  CHECK(out.Flush().reason() == Reason::IO_ERROR);
  CHECK(out.reader_gone());
  CHECK_FALSE(out.Append("y").ok());
}

TEST_CASE("A full device is an error of another kind") {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(full >= 0);
  FdOutput out(full);
  REQUIRE(out.Append("x").ok());
  CHECK(out.Flush().message() == "cannot write the output: No space left on device");
  CHECK_FALSE(out.reader_gone());
  close(full);
}

}  // namespace
}  // namespace strata::tools
