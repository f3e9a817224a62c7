// HostileLoad: clients that mean harm, at stated rates, as a process of its own (`strata-bench hostile-load ADDRESS`).
//
// One thread, which does every 10 ms what is due by then; where it cannot keep up it does less and says so, it never
// catches up in a burst. What it keeps:
//
//   idle connections     greeted, answer pings, never call
//   slow readers         a Consume stream each with all the credit, and no HTTP/2 window
//   slow writers         a message of 16 MiB each, one byte every 100 ms
//
// and what it does again and again:
//
//   silent connections   opened, and closed a second later without a word
//   garbage              a greeting and 4 KB of random bytes
//   streams              Consume and Produce in turns, opened on four connections and reset at once
//   bad calls            of an unknown method, with nonsense, with names that are paths
//   pings                on one connection, until gRPC ends it
//   header floods        a header string without end, 64 KB of it
#pragma once

#include <string>

namespace strata::bench {

struct HostileRates {
  int idle = 1000;
  int slow_readers = 50;
  int slow_writers = 50;
  // A second:
  int silent = 100;
  int garbage = 50;
  int streams = 500;
  int bad_calls = 200;
  int pings = 100;
  int header_floods = 20;

  std::string ToString() const;
};

// Prints "ready" once everything that is kept is there, and at SIGTERM what was done.
void HostileLoad(const std::string& address, const std::string& channel, const HostileRates& rates);

}  // namespace strata::bench
