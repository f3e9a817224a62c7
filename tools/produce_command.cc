#include "tools/produce_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/mutex.h"
#include "tools/format.h"
#include "tools/line_splitter.h"
#include "tools/progress.h"
#include "tools/unterminated.h"

namespace strata::tools {
namespace {

// What became of the messages sent. Told by the client's threads, in the order of sending.
class Tally {
 public:
  struct Counts {
    uint64_t stored = 0;  // and acknowledged; they are the first ones that were sent
    uint64_t stored_bytes = 0;
    uint64_t maybe_stored = 0;
    uint64_t not_stored = 0;
    MessageId first_id = 0;
    MessageId last_id = 0;
    Status error;  // the first one
  };

  void Add(const Result<MessageId>& id, size_t bytes) {
    MutexLock lock(mu_);
    if (id.ok()) {
      if (counts_.stored++ == 0) counts_.first_id = *id;
      counts_.last_id = *id;
      counts_.stored_bytes += bytes;
      return;
    }
    if (counts_.error.ok()) counts_.error = id.status();
    (id.status().fate() == DataFate::kNotAppended ? counts_.not_stored : counts_.maybe_stored)++;
  }

  Counts counts() {
    MutexLock lock(mu_);
    return counts_;
  }
  bool failed() {
    MutexLock lock(mu_);
    return !counts_.error.ok();
  }

 private:
  Mutex mu_;
  Counts counts_ STRATA_GUARDED_BY(mu_);
};

class Production {
 public:
  Production(const Io& io, Input& input, const ProduceOptions& options)
      : io_(io), input_(input), options_(options), progress_(io, input.total()) {}

  Result<int> Run(Client& client) {
    const auto start = io_.clock.Monotonic();
    message_.properties = options_.properties;
    STRATA_ASSIGN_OR_RETURN(const ServerInfo server, client.GetServerInfo());
    max_payload_ = server.max_payload;
    STRATA_ASSIGN_OR_RETURN(
        producer_, client.OpenProducer(options_.channel, {.create_if_missing = true,
                                                          .name = options_.producer,
                                                          .term = options_.term,
                                                          .exclusive = options_.exclusive}));
    Status status = options_.raw ? SendWhole() : SendLines();
    const Status closed = producer_->Close();
    // Its end gives every message a result, those that Close() did not wait for included.
    producer_.reset();
    progress_.Clear();
    Tally::Counts counts = tally_.counts();
    counts.not_stored += refused_;
    // What ended the producer comes before what it then said to later messages.
    if (!counts.error.ok()) status = counts.error;
    if (status.ok()) status = closed;
    const double seconds = static_cast<double>((io_.clock.Monotonic() - start).count()) / 1e6;
    Report(counts, seconds, status.ok());
    if (!status.ok()) return status;
    return ended_ ? 0 : io_.stop.exit_code();
  }

 private:
  Status SendLines() {
    LineSplitter lines(options_.separator, max_payload_);
    while (!tally_.failed()) {
      STRATA_ASSIGN_OR_RETURN(const size_t filled, input_.Read(lines.Room()));
      if (filled == 0) break;
      read_bytes_ += filled;
      lines.Filled(filled);
      for (std::string_view line; lines.Next(&line);) STRATA_RETURN_IF_ERROR(Send(line));
      if (lines.too_long()) return TooLong("line");
      progress_.Update(read_bytes_, sent_);
    }
    ended_ = !io_.stop.requested();
    if (tally_.failed() || lines.Rest().empty()) return Status::Ok();
    if (ended_) return SendUnterminated(lines.Rest());
    // Stopped in the middle of a line: half a line is no message.
    unsent_bytes_ = lines.Rest().size();
    return Status::Ok();
  }

  Status SendWhole() {
    std::string whole;
    std::string block(1u << 20, '\0');
    for (;;) {
      STRATA_ASSIGN_OR_RETURN(const size_t filled, input_.Read(block));
      if (filled == 0) break;
      whole.append(block, 0, filled);
      if (whole.size() > max_payload_) return TooLong("input");
      progress_.Update(whole.size());
    }
    ended_ = !io_.stop.requested();
    if (ended_) return SendUnterminated(whole);
    unsent_bytes_ = whole.size();
    return Status::Ok();
  }

  Status SendUnterminated(std::string_view payload) {
    MarkUnterminated(payload.size(), max_payload_, &message_.properties);
    return Send(payload);
  }

  Status Send(std::string_view payload) {
    // Fits into std::function without an allocation.
    auto done = [tally = &tally_, bytes = payload.size()](const Result<MessageId>& id) {
      tally->Add(id, bytes);
    };
    ++sent_;
    Status status;
    if (message_.properties.empty()) {
      status = producer_->Send(payload, done);
    } else {
      message_.payload.assign(payload);
      status = producer_->Send(message_, done);
    }
    if (status.ok()) return status;
    ++refused_;
    return status.WithContext(fmt::format("message {} of the input", FormatCount(sent_)));
  }

  Status TooLong(std::string_view what) const {
    return Status(Reason::MESSAGE_TOO_LARGE,
                  fmt::format("message {} of the input, a {} of more than {} bytes, is larger than "
                              "the server's limits.maxPayload",
                              FormatCount(sent_ + 1), what, max_payload_));
  }

  void Report(const Tally::Counts& counts, double seconds, bool ok) const {
    if (io_.json) {
      nlohmann::ordered_json json = {{"channel", options_.channel},
                                     {"messages", counts.stored},
                                     {"bytes", counts.stored_bytes},
                                     {"seconds", seconds}};
      if (counts.stored > 0) {
        json["first_id"] = counts.first_id;
        json["last_id"] = counts.last_id;
      }
      if (!ok) {
        json["maybe_stored"] = counts.maybe_stored;
        json["not_stored"] = counts.not_stored;
      }
      if (io_.out.Append(ToLine(json)).ok()) (void)io_.out.Flush();
      return;
    }
    const auto rate = [&](uint64_t amount) {
      return static_cast<uint64_t>(static_cast<double>(amount) / std::max(seconds, 1e-6));
    };
    std::string text =
        fmt::format("{} messages, {} in {:.2f} s ({} msg/s, {}/s)", FormatCount(counts.stored),
                    FormatBytes(counts.stored_bytes), seconds, FormatCount(rate(counts.stored)),
                    FormatBytes(rate(counts.stored_bytes)));
    if (counts.stored > 0) text += fmt::format(", ids {}..{}", counts.first_id, counts.last_id);
    text += " stored in " + options_.channel + '\n';
    if (!ok) {
      text += fmt::format(
          "{} messages may have been stored, {} were not; message {} of the input is the first "
          "that is not known to be stored\n",
          FormatCount(counts.maybe_stored), FormatCount(counts.not_stored),
          FormatCount(counts.stored + 1));
    } else if (!ended_) {
      text += "stopped before the end of the input";
      if (unsent_bytes_ > 0) {
        text += fmt::format("; {} bytes of an unfinished message were not sent", unsent_bytes_);
      }
      text += '\n';
    }
    io_.Note(text);
  }

  const Io& io_;
  Input& input_;
  const ProduceOptions& options_;
  Progress progress_;
  uint64_t max_payload_ = 0;
  uint64_t read_bytes_ = 0;
  uint64_t sent_ = 0;
  bool ended_ = false;         // the whole input was read
  uint64_t refused_ = 0;       // messages that Send() did not take: at most one
  uint64_t unsent_bytes_ = 0;  // of a message that was not read to its end
  Message message_;            // the properties of every message; its payload is reused
  Tally tally_;                // outlives the producer, which calls it
  std::unique_ptr<Producer> producer_;
};

}  // namespace

Result<int> Produce(Client& client, const Io& io, Input& input, const ProduceOptions& options) {
  return Production(io, input, options).Run(client);
}

}  // namespace strata::tools
