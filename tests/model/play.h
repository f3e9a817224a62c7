// Play: the same random operations done by a client and by the model, call by call.
//
//   const std::vector<Operation> drawn = DrawOperations(seed, 80);
//   std::optional<Strings> calls = Play(Transport::kEmbedded, drawn);   // nothing: they agreed
//   if (calls) calls = PlayShortest(Transport::kEmbedded, drawn);       // what is needed to disagree
//
// The operations are all that a Client has for channels, appends, producers, readers, subscriptions and
// consumers, by two clients in turns, a good part of them not allowed; with restarts in between, a store
// in a directory also by another transport. One call is made after the other: what happens at the same
// time is tested by concurrent_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tests/contract/place.h"
#include "tests/model/model.h"

namespace strata::testing {

// What it does is drawn from its seed and from how things stand when its turn comes, so that it means
// something too where others before it are left out.
struct Operation {
  int kind = 0;
  uint64_t seed = 0;
};

std::vector<Operation> DrawOperations(uint64_t seed, size_t count);

// The calls with what they brought, up to and with the first that brought something else than the model
// says, which follows. Nothing if there was none.
std::optional<Strings> Play(Transport transport, const std::vector<Operation>& operations,
                            Flaw flaw = Flaw::kNone);

// The same with as few operations as may be left while client and model still disagree, found in at most
// `plays` attempts and a minute.
Strings PlayShortest(Transport transport, std::vector<Operation> operations,
                     Flaw flaw = Flaw::kNone, int plays = 400);

}  // namespace strata::testing
