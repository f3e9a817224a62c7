#include "bench/pace.h"

#include <sys/prctl.h>

namespace strata::bench {

PunctualThread::PunctualThread() { prctl(PR_SET_TIMERSLACK, 1UL); }

// 0 is the default, of the thread that created this one.
PunctualThread::~PunctualThread() { prctl(PR_SET_TIMERSLACK, 0UL); }

}  // namespace strata::bench
