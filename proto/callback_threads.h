// Keeps gRPC's callback threads looking for work, and where there are two of them, only one.
//
// gRPC 1.51 runs all callbacks of a process on a few threads, and each of them, when nothing has
// come for a second, sleeps for 100 ms without looking. What arrives then waits: measured, a message
// sent 1.05 to 1.1 s after the last one took 22 to 59 ms instead of 1 ms. A thread that has just had
// an event looks for a whole second, so an event four times a second leaves always one looking. The
// event is a call on a channel that leads nowhere and fails at once: some 50 us of work each, in a
// process that has a server or a client open.
//
// Threads that look together get in each other's way: before one handles an event it hands the
// looking over to another, which wakes up only to wait for the lock that the first one holds. On a
// machine with two to five processors, for which gRPC has two threads, that was half of all context
// switches: 11.7 instead of 22 per message of 1 KB at 2,000 a second with `sync: none`, client and
// server together, and with large batches the same throughput. So one of the two is held back, in the
// callback of such a call. It is let go of for ten seconds when the other one has not come to an event
// within 50 ms: a callback that blocks, say one of a client's user that waits for what another
// callback brings, is then as harmless as without this, 300 ms later.
#pragma once

#include <memory>

namespace strata {

class CallbackThreadsKeeper;

// Keeps them looking as long as somebody in the process holds what is returned. Not to be let go of
// on one of those threads.
std::shared_ptr<CallbackThreadsKeeper> KeepCallbackThreadsLooking();

}  // namespace strata
