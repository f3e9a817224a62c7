// strata produce: a stream of bytes becomes messages of a channel.
#pragma once

#include <string>

#include "base/batch.h"
#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"

namespace strata::tools {

struct ProduceOptions {
  std::string channel;           // created if missing
  bool raw = false;              // the whole input is one message
  std::string separator = "\n";  // ends a message, is not part of it; at least one byte
  Properties properties = {};    // of every message
  std::string producer = {};     // ProducerOptions::name, term and exclusive
  int64_t term = 0;
  bool exclusive = false;
};

// Appends `input`, many messages in flight, until its end or until io.stop. What follows the last
// separator is a message too and carries the mark of unterminated.h.
//
// Afterwards a summary says how many messages, bytes and seconds and the first and the last id: on
// io.err, or as a JSON object on io.out. After an error it says what is known of the fate of what
// was read: stored, perhaps stored, not stored; the error itself is returned.
//
// Returns the exit code: 0, or 128 + signal if it was stopped before the end of the input; all
// whole messages that were read up to then are stored.
Result<int> Produce(Client& client, const Io& io, Input& input, const ProduceOptions& options);

}  // namespace strata::tools
