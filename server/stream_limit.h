// StreamLimit: how many long calls (Produce, Consume, Fetch) are open, of one connection and in all.
// Each costs memory for as long as its client likes, about 20 KB of gRPC and of ours together.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"

namespace strata::server {

// Thread-safe.
class StreamLimit {
 public:
  // The place of one call, until the object's end. Movable; one that was moved from has none.
  class Place {
   public:
    Place() = default;
    ~Place();
    Place(Place&& other) noexcept { *this = std::move(other); }
    Place& operator=(Place&& other) noexcept;

   private:
    friend class StreamLimit;
    StreamLimit* limit_ = nullptr;
    std::string connection_;
  };

  StreamLimit(uint64_t most, uint64_t most_per_connection)
      : most_per_connection_(most_per_connection), most_(most) {}

  // In all, from now on; what is open above it stays.
  void SetMost(uint64_t most);
  // Takes a place for a call of `connection`, a name that no other open connection has. BACK_PRESSURE
  // names the limit; then `place` has none. The limit outlives its places.
  Status Enter(const std::string& connection, Place* place);

 private:
  void Leave(const std::string& connection);

  const uint64_t most_per_connection_;
  Mutex mu_;
  uint64_t most_ STRATA_GUARDED_BY(mu_);
  uint64_t open_ STRATA_GUARDED_BY(mu_) = 0;
  std::unordered_map<std::string, uint64_t> of_connection_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::server
