// What a command reads from and writes to: file descriptors in the program, strings in tests.
//
// Neither iostreams nor stdio: a command wants blocks of a megabyte, the system's error number, to
// be woken from a read by Ctrl-C, and to know that whoever read its output has gone.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/status.h"

namespace strata::tools {

// The wish to end early. The first SIGINT or SIGTERM asks a command to finish what it holds and
// report; a second one ends the program on the spot.
class Stop {
 public:
  Stop();
  ~Stop();
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;

  // Signals ask this object from now on. One object per process.
  void ListenToSignals();
  // Safe in a signal handler and from any thread. `signal` says why.
  void Request(int signal);

  bool requested() const { return signal_.load(std::memory_order_acquire) != 0; }
  // What a program that was ended by that signal exits with: 128 + signal.
  int exit_code() const { return 128 + signal_.load(std::memory_order_acquire); }
  // Readable once requested: for poll().
  int fd() const { return event_; }
  // False if asked to stop before the time was up.
  bool SleepFor(std::chrono::milliseconds time) const;

 private:
  std::atomic<int> signal_{0};
  int event_ = -1;  // an eventfd
};

class Input {
 public:
  virtual ~Input() = default;

  // Waits for bytes and puts at most space.size() of them there. 0 at the end of the input, or when
  // a stop was requested. IO_ERROR otherwise.
  virtual Result<size_t> Read(std::span<char> space) = 0;
  // How many bytes it has in all, where that is known before reading: a regular file.
  virtual std::optional<uint64_t> total() const { return std::nullopt; }
};

class FdInput final : public Input {
 public:
  // Closes `fd` in the end if it `owns` it. `name` is for error messages.
  FdInput(int fd, bool owns, std::string name, const Stop& stop)
      : fd_(fd), owns_(owns), name_(std::move(name)), stop_(stop) {}
  ~FdInput() override;
  FdInput(const FdInput&) = delete;
  FdInput& operator=(const FdInput&) = delete;

  // "-" is standard input.
  static Result<std::unique_ptr<Input>> Open(const std::string& file, const Stop& stop);

  Result<size_t> Read(std::span<char> space) override;
  std::optional<uint64_t> total() const override;

 private:
  const int fd_;
  const bool owns_;
  const std::string name_;
  const Stop& stop_;
};

class StringInput final : public Input {
 public:
  // At most `block` bytes come with one Read().
  explicit StringInput(std::string bytes, size_t block = SIZE_MAX)
      : bytes_(std::move(bytes)), block_(block) {}
  Result<size_t> Read(std::span<char> space) override;

 private:
  const std::string bytes_;
  const size_t block_;
  size_t position_ = 0;
};

// Collects bytes and passes them on in blocks. Not thread-safe. The first error is kept: everything
// later is dropped and answered with it.
class Output {
 public:
  virtual ~Output() = default;

  // Passes on what is collected when it exceeds kBlock.
  Status Append(std::string_view bytes);
  // Passes on what is collected.
  Status Flush();
  // The error was that nobody reads it any more, as in `strata consume ... | head`.
  bool reader_gone() const { return reader_gone_; }

  static constexpr size_t kBlock = 256u << 10;

 protected:
  // All of it, or the error number of the system.
  virtual int WriteOut(std::string_view bytes) = 0;

 private:
  Status Pass(std::string_view bytes);

  std::string collected_;
  Status error_;
  bool reader_gone_ = false;
};

class FdOutput final : public Output {
 public:
  explicit FdOutput(int fd) : fd_(fd) {}

 private:
  int WriteOut(std::string_view bytes) override;

  const int fd_;
};

class StringOutput final : public Output {
 public:
  // Fails with EPIPE once it has `capacity` bytes.
  explicit StringOutput(size_t capacity = SIZE_MAX) : capacity_(capacity) {}
  const std::string& text() const { return text_; }

 private:
  int WriteOut(std::string_view bytes) override;

  const size_t capacity_;
  std::string text_;
};

// What every command is given. Nothing is owned.
struct Io {
  Input& in;    // standard input
  Output& out;  // the answer
  Output& err;  // notes for the person at the terminal: summaries, progress, gaps
  const Stop& stop;
  Clock& clock;
  bool json = false;             // -o json
  bool in_is_terminal = false;   // somebody can be asked
  bool err_is_terminal = false;  // somebody watches: show progress

  // Writes `text` to err at once.
  void Note(std::string_view text) const;
};

}  // namespace strata::tools
