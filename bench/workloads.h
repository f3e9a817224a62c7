// The workloads of strata-bench that run on any System, one file each. Each adds its subcommand; its
// options live as long as the callback that it leaves.
#pragma once

#include <CLI/CLI.hpp>

namespace strata::bench {

void AddSeeds(CLI::App* app);
void AddLatency(CLI::App* app);
void AddScale(CLI::App* app);
void AddReplay(CLI::App* app);
void AddRestart(CLI::App* app);
void AddVolume(CLI::App* app);
void AddReclaim(CLI::App* app);
void AddHostile(CLI::App* app);
void AddCeiling(CLI::App* app);

}  // namespace strata::bench
