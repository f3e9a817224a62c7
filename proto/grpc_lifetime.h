// gRPC, once in use, stays so until the process ends.
//
// gRPC shuts itself down when the last channel or server of the process goes, and then joins its
// threads. After a large write one of them may be a poller that sleeps for ten seconds: measured,
// one in eight `strata produce` of 16 MiB ended 10 s late. Starting it once more than it is stopped
// avoids that; its threads are idle meanwhile.
#pragma once

namespace strata {

// Idempotent; any thread. Called before the first channel or server is made.
void KeepGrpcInitialized();

}  // namespace strata
