// Keys of the catalog's rows, as catalog.h lists them. Internal to catalog.cc and catalog_writer.cc.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/api.h"
#include "storage/codec.h"

namespace strata::storage {

// On disk: never change, never reuse. 'T' (schedules) is taken.
enum RowKind : char {
  kFormatRow = 'F',
  kRunRow = 'R',
  kCommitRow = 'G',
  kMetaRow = 'M',
  kChannelRow = 'C',
  kPageRow = 'P',
  kStratumRow = 'S',
  kSubscriptionRow = 'U',
  kProducerRow = 'D',
};

inline constexpr size_t kChannelKeyBytes = 1 + 8;
inline constexpr size_t kPageKeyBytes = 1 + 8 + 8;
inline constexpr size_t kStratumKeyBytes = 1 + 4;
inline constexpr size_t kProducerKeyBytes = 1 + 8 + 8;
inline constexpr size_t kResultKeyBytes = kProducerKeyBytes + 1;

inline std::array<char, kChannelKeyBytes> ChannelKey(RowKind kind, ChannelNumber channel) {
  std::array<char, kChannelKeyBytes> key;
  key[0] = kind;
  PutBigEndian64(&key[1], channel);
  return key;
}

inline std::array<char, kPageKeyBytes> PageKey(ChannelNumber channel, MessageId first) {
  std::array<char, kPageKeyBytes> key;
  key[0] = kPageRow;
  PutBigEndian64(&key[1], channel);
  PutBigEndian64(&key[9], static_cast<uint64_t>(first));
  return key;
}

inline std::array<char, kStratumKeyBytes> StratumKey(uint32_t number) {
  std::array<char, kStratumKeyBytes> key;
  key[0] = kStratumRow;
  PutBigEndian32(&key[1], number);
  return key;
}

inline std::string SubscriptionKey(ChannelNumber channel, std::string_view name) {
  const auto prefix = ChannelKey(kSubscriptionRow, channel);
  return std::string(prefix.data(), prefix.size()).append(name);
}

inline std::array<char, kProducerKeyBytes> ProducerKey(ChannelNumber channel, uint64_t number) {
  std::array<char, kProducerKeyBytes> key;
  key[0] = kProducerRow;
  PutBigEndian64(&key[1], channel);
  PutBigEndian64(&key[9], number);
  return key;
}

// On disk: a slot never moves.
static_assert(kProducerWindow == 64);
inline char SlotOf(uint64_t sequence) { return static_cast<char>(sequence % kProducerWindow); }

inline std::array<char, kResultKeyBytes> ResultKey(ChannelNumber channel, uint64_t number,
                                                   uint64_t sequence) {
  std::array<char, kResultKeyBytes> key;
  const auto producer = ProducerKey(channel, number);
  std::copy(producer.begin(), producer.end(), key.begin());
  key.back() = SlotOf(sequence);
  return key;
}

template <size_t N>
std::string_view AsView(const std::array<char, N>& key) {
  return {key.data(), key.size()};
}

}  // namespace strata::storage
