// What the program ends with; `strata --help` and docs/commands.md say the same.
#pragma once

namespace strata::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // the command failed; verify: the store has problems
inline constexpr int kExitUsage = 2;   // nothing was tried; verify: the store could not be read
// 128 + signal: stopped by a signal before the end of the input, the channel or the compaction.

}  // namespace strata::tools
