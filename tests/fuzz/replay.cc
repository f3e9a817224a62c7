// Drives a fuzzer without libFuzzer, so that any compiler's build runs it as a test:
//
//   fuzz_<target> [-runs=N] PATH...
//
// First every file of PATH (a file, or a folder of them) as it is: what was once a finding stays fixed.
// Then N inputs that are made from those by a few random changes. It prints its seed, and STRATA_TEST_SEED
// repeats it. On a finding it leaves the input in the current folder and says so, and libFuzzer's build
// takes that file in the same way.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"

// Where a sanitizer is linked: it ends the process without a signal.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

using strata::testing::Random;
namespace fs = std::filesystem;

constexpr size_t kMostBytes = 64u << 10;

std::string current;   // the input at hand
std::string leave_in;  // where to put it on a finding

// Only what a signal handler may do.
void LeaveInput() {
  const int fd = open(leave_in.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const bool written =
      fd >= 0 && write(fd, current.data(), current.size()) == static_cast<ssize_t>(current.size());
  if (fd >= 0) close(fd);
  const std::string_view text = written ? "the input is in " : "the input could not be left in ";
  for (const std::string_view part : {text, std::string_view(leave_in), std::string_view("\n")}) {
    if (write(STDERR_FILENO, part.data(), part.size()) < 0) return;
  }
}

void OnSignal(int signal) {
  LeaveInput();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void Run(std::string input) {
  current = std::move(input);
  // In memory of exactly its size, so that a sanitizer sees a byte too many.
  const std::vector<uint8_t> bytes(current.begin(), current.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::vector<std::string> ReadAll(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path());
  }
  // In the same order everywhere, or a seed would not repeat.
  std::sort(files.begin(), files.end());
  std::vector<std::string> inputs;
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::cerr << file.string() << ": cannot be read\n";
      std::exit(2);
    }
    inputs.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// One change. `other` is an input to take bytes from.
void Change(std::string* input, const std::string& other, Random* random) {
  const size_t at = random->Below(input->size() + 1);
  const size_t some = 1 + random->Below(random->OneIn(4) ? 64 : 4);
  switch (random->Below(8)) {
    case 0:
      if (at < input->size())
        (*input)[at] = static_cast<char>((*input)[at] ^ (1 << random->Below(8)));
      break;
    case 1:
      if (at < input->size()) (*input)[at] = static_cast<char>(random->Below(256));
      break;
    case 2:
      input->insert(at, random->Bytes(some));
      break;
    case 3:
      input->erase(at, some);
      break;
    case 4:
      input->insert(at, input->substr(random->Below(input->size() + 1), some));
      break;
    case 5: {
      const size_t from = random->Below(other.size() + 1);
      input->replace(at, random->OneIn(2) ? some : 0, other.substr(from, random->Below(200)));
      break;
    }
    case 6: {
      // Values at which lengths and numbers overflow.
      constexpr std::string_view kNumbers[] = {
          std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 9),
          std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10),
          std::string_view("\x80\x80\x80\x80\x08", 5),
          std::string_view("\xff\xff\xff\xff\x0f", 5),
          std::string_view("\x00\x00\x00\x00", 4),
          std::string_view("\x80\x00", 2)};
      const std::string_view number = kNumbers[random->Below(std::size(kNumbers))];
      input->replace(at, random->OneIn(2) ? number.size() : 0, number);
      break;
    }
    default:
      input->resize(at);
  }
  if (input->size() > kMostBytes) input->resize(kMostBytes);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t runs = 0;
  std::vector<fs::path> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("-runs=")) {
      runs = std::strtoull(argv[i] + std::strlen("-runs="), nullptr, 10);
    } else {
      paths.emplace_back(argument);
    }
  }
  const std::string name = fs::path(argv[0]).filename();
  leave_in = (fs::current_path() / (name + "-finding")).string();
  std::signal(SIGABRT, OnSignal);
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(LeaveInput);
  } else {
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, OnSignal);
  }

  const std::vector<std::string> seeds = ReadAll(paths);
  if (seeds.empty()) {
    std::cerr << "no inputs; usage: " << name << " [-runs=N] PATH...\n";
    return 2;
  }
  const uint64_t seed = strata::testing::TestSeed();
  std::cout << name << ": " << seeds.size() << " inputs, then " << runs
            << " changed ones, STRATA_TEST_SEED=" << seed << std::endl;
  for (const std::string& input : seeds) Run(input);
  Random random(seed);
  for (uint64_t run = 0; run < runs; ++run) {
    std::string input = seeds[random.Below(seeds.size())];
    for (uint64_t changes = 1 + random.Below(5); changes > 0; --changes) {
      Change(&input, seeds[random.Below(seeds.size())], &random);
    }
    Run(std::move(input));
  }
  return 0;
}
