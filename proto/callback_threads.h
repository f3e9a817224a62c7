// Keeps gRPC's callback threads looking for work.
//
// gRPC 1.51 runs all callbacks of a process on a few threads, and each of them, when nothing has
// come for a second, sleeps for 100 ms without looking. What arrives then waits: measured, a message
// sent 1.05 to 1.1 s after the last one took 22 to 59 ms instead of 1 ms. A thread that has just had
// an event looks for a whole second, so an event every half second leaves always one looking.
//
// The event is a call on a channel that leads nowhere and fails at once: some 50 us of work, twice a
// second, in a process that has a server or a client open.
#pragma once

#include <memory>

namespace strata {

class CallbackThreadsKeeper;

// Keeps them looking as long as somebody in the process holds what is returned. Not to be let go of
// on one of those threads.
std::shared_ptr<CallbackThreadsKeeper> KeepCallbackThreadsLooking();

}  // namespace strata
