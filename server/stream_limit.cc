#include "server/stream_limit.h"

namespace strata::server {

StreamLimit::Place::~Place() {
  if (limit_ != nullptr) limit_->Leave(connection_);
}

StreamLimit::Place& StreamLimit::Place::operator=(Place&& other) noexcept {
  std::swap(limit_, other.limit_);
  std::swap(connection_, other.connection_);
  return *this;
}

void StreamLimit::SetMost(uint64_t most) {
  MutexLock lock(mu_);
  most_ = most;
}

Status StreamLimit::Enter(const std::string& connection, Place* place) {
  MutexLock lock(mu_);
  const auto found = of_connection_.find(connection);
  const uint64_t own = found == of_connection_.end() ? 0 : found->second;
  if (own >= most_per_connection_) {
    return Status(Reason::BACK_PRESSURE,
                  "this connection has " + std::to_string(own) +
                      " streams open, as many as limits.maxStreamsPerConnection allows");
  }
  if (open_ >= most_) {
    return Status(Reason::BACK_PRESSURE, "stratad has " + std::to_string(open_) +
                                             " streams open, as many as limits.maxStreams allows");
  }
  ++open_;
  ++of_connection_[connection];
  place->limit_ = this;
  place->connection_ = connection;
  return Status();
}

void StreamLimit::Leave(const std::string& connection) {
  MutexLock lock(mu_);
  --open_;
  const auto found = of_connection_.find(connection);
  if (--found->second == 0) of_connection_.erase(found);
}

}  // namespace strata::server
