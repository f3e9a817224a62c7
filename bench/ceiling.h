// What this machine can do at most, without Strata: each figure of a workload is printed as a share
// of the one that limits it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "bench/support.h"

namespace strata::bench {

// One thread appends `size` bytes to a growing file and calls fdatasync, `count` times, `rate` times
// a second (0: one after the other). Each latency is that of its own two calls. With a rate the
// schedule is fixed, so that a slow call holds up the next ones: `from_due`, if given, gets the same
// appends counted from when each was due, as an open loop counts them.
Latencies RawSync(const std::string& directory, size_t size, uint64_t count, double rate = 0,
                  Latencies* from_due = nullptr);

// MB/s of writing `bytes` to one file in pieces of 1 MiB, and one fdatasync at the end.
double RawSequentialWrite(const std::string& directory, uint64_t bytes);

// MB/s of RocksDB by itself: one thread writes `count` values of `size` bytes, each with a Write()
// of its own and no sync, while another one reads each once it is written; Strata's write buffer, no
// compression, no automatic compaction. What an embedded broker with synchronous sends can reach.
double RawRocksDb(const std::string& directory, size_t size, uint64_t count);

// MB/s of gRPC by itself, callback API, raw bytes: messages of `size` go up one bidirectional stream
// and come back on it; each byte crosses the transport twice and counts once. Of a broker that sends
// batches, `size` is that of a batch, at most 1 MiB of small messages. `mode`: tcp or unix.
double RawGrpcEcho(const std::string& mode, const std::string& directory, size_t size,
                   uint64_t bytes);

// The same, one way: a server stream of messages of `size`.
double RawGrpcStream(const std::string& mode, const std::string& directory, size_t size,
                     uint64_t bytes);

}  // namespace strata::bench
