#include "tests/model/play.h"

#include <chrono>

#include "tests/model/player.h"

namespace strata::testing {

std::vector<Operation> DrawOperations(uint64_t seed, size_t count) {
  Random random(seed);
  uint64_t weights = 0;
  for (const Player::Kind& kind : Player::Kinds()) weights += static_cast<uint64_t>(kind.weight);
  std::vector<Operation> operations;
  while (operations.size() < count) {
    auto left = static_cast<int>(random.Below(weights));
    int kind = 0;
    while (left >= Player::Kinds()[static_cast<size_t>(kind)].weight) {
      left -= Player::Kinds()[static_cast<size_t>(kind++)].weight;
    }
    // Nothing happens before there is a channel.
    if (operations.size() < 2) kind = 0;
    operations.push_back({kind, random.Below(UINT64_MAX)});
  }
  return operations;
}

std::optional<Strings> Play(Transport transport, const std::vector<Operation>& operations,
                            Flaw flaw) {
  Player player(transport, flaw);
  for (const Operation& operation : operations) {
    Random random(operation.seed);
    (player.*Player::Kinds()[static_cast<size_t>(operation.kind)].action)(random);
    if (!player.agrees()) return player.calls();
  }
  player.LookAtEverything();
  Random random(operations.size());
  if (player.agrees()) player.Restart(random);
  if (player.agrees()) player.LookAtEverything();
  if (player.agrees()) return std::nullopt;
  return player.calls();
}

Strings PlayShortest(Transport transport, std::vector<Operation> operations, Flaw flaw, int plays) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  Strings shortest;
  for (size_t size = operations.size(); size > 0; size /= 2) {
    // Leaves out runs of `size`; what was needed for nothing is gone after one round of each.
    for (size_t from = 0; from < operations.size();) {
      if (plays-- <= 0 || std::chrono::steady_clock::now() > deadline) break;
      std::vector<Operation> fewer = operations;
      const auto begin = fewer.begin() + static_cast<std::ptrdiff_t>(from);
      const size_t count = std::min(size, operations.size() - from);
      fewer.erase(begin, begin + static_cast<std::ptrdiff_t>(count));
      if (std::optional<Strings> calls = Play(transport, fewer, flaw)) {
        operations = std::move(fewer);
        shortest = *std::move(calls);
      } else {
        from += size;
      }
    }
  }
  if (!shortest.empty()) return shortest;
  return Play(transport, operations, flaw).value_or(Strings{"it agreed when it was played again"});
}

}  // namespace strata::testing
