// In place of nats_system.cc where the build found no libnats.
#include "bench/support.h"
#include "bench/system.h"

namespace strata::bench {

std::unique_ptr<System> StartNats(const SystemOptions& /*options*/) {
  Die("this program was built without NATS: install Debian's package libnats-dev and build again");
}

}  // namespace strata::bench
