// The picture of a report: how long each row took on each system, drawn by gnuplot.
#pragma once

#include <string>

#include "bench/report.h"

namespace strata::bench {

// Ends the program, and says what to install, if there is no gnuplot.
void RequireGnuplot();

// Grouped bars, one group per row and one bar per system, as a share of the peer's time (of the
// slowest system's where no peer was measured), with the time itself as the label. `file` ends with
// .svg or .png.
void DrawPicture(const Report& report, const std::string& file);

}  // namespace strata::bench
