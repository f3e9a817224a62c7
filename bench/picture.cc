#include "bench/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "bench/support.h"

namespace strata::bench {
namespace {

// What is drawn: the first that a row has.
struct Measure {
  std::optional<double> Row::*value;
  const char* title;
  const char* label;  // of one bar
};
constexpr Measure kMeasures[] = {
    {&Row::s_per_op, "seconds per operation, less is better", "{:.3f} s"},
    {&Row::p50_us, "median latency, less is better", "{:.0f} us"},
    {&Row::mb_per_s, "throughput, more is better", "{:.0f} MB/s"},
};

// Blues for Strata, oranges for its peers.
constexpr const char* kStrataColors[] = {"#1b6ca8", "#62aadb", "#0b3954", "#a5d3ef"};
constexpr const char* kPeerColors[] = {"#e07a2f", "#f3b886", "#8f4511", "#f7d8bd"};

const Measure& MeasureOf(const Report& report) {
  for (const Measure& measure : kMeasures) {
    for (const Row& row : report.rows()) {
      if ((row.*measure.value).has_value()) return measure;
    }
  }
  Die("there is nothing to draw");
}

std::string GroupOf(const Row& row) {
  return fmt::format("{}\\n{} {}", row.row, row.workload, row.data);
}
std::string SystemOf(const Row& row) {
  return fmt::format("{} {} {}", row.system, row.mode, row.sync);
}

// In the order of their first appearance.
template <typename Name>
std::vector<std::string> Names(const Report& report, Name name) {
  std::vector<std::string> names;
  for (const Row& row : report.rows()) {
    if (std::find(names.begin(), names.end(), name(row)) == names.end()) names.push_back(name(row));
  }
  return names;
}

// What is drawn as 1: the first peer's value, or the largest one.
double BaseOf(const Report& report, const std::string& group, const Measure& measure) {
  double largest = 0;
  for (const Row& row : report.rows()) {
    const auto& value = row.*measure.value;
    if (GroupOf(row) != group || !value) continue;
    if (row.system != "strata") return *value;
    largest = std::max(largest, *value);
  }
  return largest;
}

std::string BaseName(const Report& report) {
  for (const Row& row : report.rows()) {
    if (row.system != "strata") return SystemOf(row);
  }
  return "the largest";
}

// gnuplot's words for the axes, and the data as one block per system, three columns: place, height
// and label.
std::string Script(const Report& report, const std::string& file) {
  const Measure& measure = MeasureOf(report);
  const std::vector<std::string> groups = Names(report, GroupOf);
  const std::vector<std::string> systems = Names(report, SystemOf);
  const size_t stride = systems.size() + 1;
  std::string tics;
  std::vector<std::string> blocks(systems.size());
  double top = 1;
  for (size_t group = 0; group < groups.size(); ++group) {
    const double base = BaseOf(report, groups[group], measure);
    const double middle =
        static_cast<double>(group * stride) + static_cast<double>(systems.size() - 1) / 2;
    tics += fmt::format("{}\"{}\" {}", group == 0 ? "" : ", ", groups[group], middle);
    for (const Row& row : report.rows()) {
      const auto& value = row.*measure.value;
      if (GroupOf(row) != groups[group] || !value || base <= 0) continue;
      const auto system = static_cast<size_t>(
          std::find(systems.begin(), systems.end(), SystemOf(row)) - systems.begin());
      top = std::max(top, *value / base);
      blocks[system] += fmt::format("{} {:.4f} \"{}\"\n", group * stride + system, *value / base,
                                    fmt::format(fmt::runtime(measure.label), *value));
    }
  }
  const bool png = file.size() > 4 && file.substr(file.size() - 4) == ".png";
  std::string script = fmt::format(
      "set terminal {} size {},560 font 'sans-serif,12' background '#ffffff'\n"
      "set output '{}'\nset title '{}' font ',15'\nset ylabel 'as a share of {}'\n"
      "set xtics ({}) scale 0\nset yrange [0:{:.3f}]\nset boxwidth 0.92\nset style fill solid\n"
      "set grid ytics lc '#dddddd'\nset border 3 lc '#444444'\nset ytics nomirror\n"
      "set key outside top center horizontal reverse Left samplen 2\nset bmargin 4\n",
      png ? "pngcairo" : "svg", 240 + 64 * stride * groups.size(), file, measure.title,
      BaseName(report), tics, 1.12 * top);
  std::string plots;
  size_t of_strata = 0;
  size_t of_peers = 0;
  for (size_t system = 0; system < systems.size(); ++system) {
    const bool strata = systems[system].rfind("strata", 0) == 0;
    const char* color = strata ? kStrataColors[of_strata++ % std::size(kStrataColors)]
                               : kPeerColors[of_peers++ % std::size(kPeerColors)];
    script += fmt::format("$d{} << END\n{}END\n", system, blocks[system]);
    plots += fmt::format(
        "{0}$d{1} using 1:2 with boxes lc '{2}' title '{3}', "
        "$d{1} using 1:2:3 with labels offset 0,0.7 font ',10' notitle",
        system == 0 ? "plot " : ", ", system, color, systems[system]);
  }
  return script + plots + "\n";
}

}  // namespace

void RequireGnuplot() {
  if (std::system("gnuplot --version >/dev/null 2>&1") != 0) {
    Die("--svg needs gnuplot: install Debian's package gnuplot-nox, or leave the option out");
  }
}

void DrawPicture(const Report& report, const std::string& file) {
  if (file.find('\'') != std::string::npos) Die("the picture's name may have no quote: " + file);
  const std::string script = Script(report, file);
  FILE* gnuplot = popen("gnuplot", "w");
  if (gnuplot == nullptr) Die("cannot run gnuplot");
  const bool written = std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
  if (pclose(gnuplot) != 0 || !written) Die("gnuplot could not draw " + file);
}

}  // namespace strata::bench
