// Status <-> grpc::Status: how an error of the catalog travels, the same on both sides of the wire.
//
// Three layers, for clients of three kinds:
//   code     the canonical code, for clients that know nothing of Strata
//   message  "REASON: text", for people
//   details  (the trailer grpc-status-details-bin) a google.rpc.Status with one detail, a
//            strata.v1.ErrorDetail: the catalog's number and what happened to the data
//
// The envelope is the one that gRPC's libraries expect in this trailer. Some of them (Go's) take
// the call's code from it, so a bare ErrorDetail there would make its reason number the code.
#pragma once

#include <grpcpp/support/status.h>

#include "base/status.h"

namespace strata {

// OK becomes OK. Texts are cut at 1 KiB, because gRPC refuses trailers of more than 8 KiB in all.
grpc::Status ToGrpc(const Status& status);

// The reverse. An error without an ErrorDetail comes from gRPC itself (CONNECTION_LOST, TIMEOUT,
// CANCELLED, ...), and `default_fate` is then what is known of the data: kNotApplicable for calls
// that append nothing, kMayHaveBeenAppended for an append that was sent. A reason that this version
// does not know becomes the nearest one by canonical code, with the server's name for it in the
// text and the server's fate.
Status FromGrpc(const grpc::Status& status, DataFate default_fate);

}  // namespace strata
