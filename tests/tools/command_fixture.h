// What a command test needs: a fake client, strings for streams, a clock of its own.
#pragma once

#include <string>
#include <utility>

#include "base/clock.h"
#include "tests/tools/fake_client.h"
#include "tools/io.h"

namespace strata::tools {

struct CommandFixture {
  explicit CommandFixture(std::string input = "", size_t output_capacity = SIZE_MAX)
      : in(std::move(input)), out(output_capacity) {}

  FakeClient client;
  StringInput in;
  StringOutput out;
  StringOutput err;
  Stop stop;
  ManualClock clock;
  Io io{.in = in, .out = out, .err = err, .stop = stop, .clock = clock};
};

}  // namespace strata::tools
