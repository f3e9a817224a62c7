#include "proto/grpc_lifetime.h"

#include <grpc/grpc.h>

namespace strata {

void KeepGrpcInitialized() {
  static const bool kept = [] {
    grpc_init();
    return true;
  }();
  static_cast<void>(kept);
}

}  // namespace strata
