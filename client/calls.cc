#include "client/calls.h"

#include <unistd.h>

#include <cstdio>
#include <random>

#include "base/types.h"

namespace strata {

Status NothingCame() {
  static const Status* const kStatus =
      new Status(NothingAppended(Status(Reason::TIMEOUT, "nothing came in time")));
  return *kStatus;
}

Status CheckProducer(const ProducerOptions& options) {
  if (!options.name.empty() || (options.term == 0 && !options.exclusive)) return Status::Ok();
  return NothingAppended(Status(Reason::INVALID_ARGUMENT,
                                "a producer with a term, or an exclusive one, needs a name"));
}

uint64_t RandomNumber() {
  std::random_device random;
  const uint64_t number = (uint64_t{random()} << 32) | random();
  return number == 0 ? 1 : number;
}

std::string MadeUpName() {
  char name[40];
  std::snprintf(name, sizeof(name), "anonymous.%016llx",
                static_cast<unsigned long long>(RandomNumber()));
  return name;
}

std::string HolderOrDefault(const std::string& holder) {
  if (!holder.empty()) return holder;
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return std::string(host) + ":" + std::to_string(getpid());
}

Status CheckSubscriptionName(const std::string& name) {
  if (IsValidName(name)) return Status::Ok();
  return NothingAppended(
      Status(Reason::INVALID_ARGUMENT,
             "the subscription name '" + name.substr(0, 300) +
                 "' is not 1 to 249 of A-Z a-z 0-9 . _ - (and not '.' or '..')"));
}

}  // namespace strata
