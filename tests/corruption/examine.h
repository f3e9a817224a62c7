// What a trial does in its child process: opens the damaged store, reads everything, compares, verifies, repairs.
#pragma once

#include "tests/corruption/trial.h"

namespace strata::corruption {

Verdict Examine(const Scene& scene, const Damage& damage);

}  // namespace strata::corruption
