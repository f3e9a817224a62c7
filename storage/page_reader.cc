#include "storage/page_reader.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "storage/rocks.h"

namespace strata::storage {
namespace {

// A damaged block is 64 KiB of batches, so its end is near: id by id first, so that a good batch between two damaged
// blocks is found, then in growing steps, so that a block of tiny batches costs tens of seeks rather than thousands.
constexpr int kSingleSteps = 256;

// The id nearest to `from` (itself excluded) towards `limit` (included) for which `works`, which at `from` it does not.
// After so many single steps they grow.
template <typename Works>
std::optional<MessageId> NearestReadable(MessageId from, MessageId limit, int single_steps,
                                         Works&& works) {
  const MessageId direction = limit > from ? 1 : -1;
  MessageId bad = from;
  MessageId step = 1;
  for (int steps = 0;; ++steps) {
    if (bad == limit) return std::nullopt;
    const MessageId left = (limit - bad) * direction;
    const MessageId probe = bad + std::min(step, left) * direction;
    if (works(probe)) {
      // Between the last failure and this success lies the border.
      MessageId good = probe;
      while ((good - bad) * direction > 1) {
        const MessageId middle = bad + (good - bad) / 2;
        (works(middle) ? good : bad) = middle;
      }
      return good;
    }
    bad = probe;
    if (steps >= single_steps) step *= 2;
  }
}

MessageId RowId(std::string_view key) {
  ChannelNumber channel = 0;
  MessageId id = 0;
  DecodeMessageKey(key, &channel, &id);
  return id;
}

// The table file that RocksDB's words are about: 43 of "... in /data/db/000043.sst offset 0 size 64648".
std::optional<uint64_t> DamagedFile(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  const size_t end = text.rfind(".sst");
  if (end == std::string::npos) return std::nullopt;
  size_t begin = end;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
  if (begin == end) return std::nullopt;
  return std::strtoull(text.c_str() + begin, nullptr, 10);
}

}  // namespace

PageReader::PageReader(rocksdb::DB* db, StratumRef stratum, ChannelNumber channel, const Page& page,
                       OnDamage on_damage)
    : db_(db),
      stratum_(std::move(stratum)),
      page_(page),
      channel_(channel),
      on_damage_(std::move(on_damage)),
      lower_key_(EncodeMessageKey(channel, page.first)),
      upper_key_(EncodeMessageKey(channel, page.next)),
      lower_(lower_key_.data(), lower_key_.size()),
      upper_(upper_key_.data(), upper_key_.size()) {
  if (!stratum_) {
    on_damage_(page.first, "the stratum is missing");
    return;
  }
  Renew();
}

void PageReader::Renew() {
  rocksdb::ReadOptions options;
  options.iterate_lower_bound = &lower_;
  options.iterate_upper_bound = &upper_;
  options.fill_cache = false;
  options.verify_checksums = true;
  if (!passed_.empty()) {
    options.table_filter = [passed = passed_](const rocksdb::TableProperties& table) {
      return !passed.contains(table.orig_file_number);
    };
  }
  row_.reset(db_->NewIterator(options, stratum_->handle));
}

Status PageReader::ReadError() const {
  const rocksdb::Status status = row_->status();
  if (status.ok() || status.IsCorruption()) return Status::Ok();
  return FromRocks(status, "reading stratum " + std::to_string(stratum_->number));
}

bool PageReader::SeekWorks(MessageId id, Status* failed) {
  // An iterator that has met damage does not always get over it by seeking.
  if (!row_->status().ok()) Renew();
  const MessageKey key = EncodeMessageKey(channel_, id);
  row_->Seek(rocksdb::Slice(key.data(), key.size()));
  if (failed != nullptr && failed->ok()) *failed = ReadError();
  return row_->status().ok();
}

// Puts the iterator on the last row at or below `id`, if it can: on the first row from the largest id from which that
// is still at or below `id`. By forward seeks alone. Going backwards (SeekForPrev) RocksDB fails where the row in front
// of the one it returns is damaged, and with its assertions on was seen to end the process where the disk failed
// meanwhile (rehearsal.cc). A batch of 1,000 messages takes about 20 seeks, in a block that is there after the first.
Status PageReader::SeekRowBefore(MessageId id) {
  bool damaged = false;
  Status failed;
  const auto is_below = [this, id, &damaged, &failed](MessageId from) {
    if (!SeekWorks(from, &failed)) {
      damaged = true;
      return false;
    }
    ChannelNumber channel = 0;
    MessageId first = 0;
    return row_->Valid() && DecodeMessageKey(View(row_->key()), &channel, &first) && first <= id;
  };
  const MessageId limit = std::max(page_.first, id - MessageId{kMaxBatchMessages});
  std::optional<MessageId> nearest = NearestReadable(id, limit, 0, is_below);
  if (damaged && failed.ok()) nearest = NearestReadable(id, limit, kSingleSteps, is_below);
  STRATA_RETURN_IF_ERROR(failed);
  SeekWorks(nearest.value_or(page_.next));
  return ReadError();
}

Status PageReader::SeekRowAround(MessageId id) {
  STRATA_RETURN_IF_ERROR(SeekRowBefore(id));
  BatchView before;
  if (row_->Valid() && DecodeBatch(View(row_->key()), View(row_->value()), &before) == nullptr &&
      before.next_id() > id) {
    return Status::Ok();
  }
  SeekWorks(id);
  return ReadError();
}

Result<bool> PageReader::Seek(MessageId id, BatchView* batch) {
  if (!row_) return false;
  if (until_ != 0) {
    until_ = 0;
    passed_.clear();
    Renew();
  }
  positioned_ = true;
  next_ = std::max(id, page_.first);
  ended_ = next_ >= page_.next;
  if (ended_) return false;
  const MessageKey key = EncodeMessageKey(channel_, next_);
  // The common case first, because it is the cheap one: a reader goes on where a batch begins.
  if (SeekWorks(next_) && row_->Valid() &&
      View(row_->key()) == std::string_view(key.data(), key.size())) {
    return Take(batch);
  }
  STRATA_RETURN_IF_ERROR(ReadError());
  STRATA_RETURN_IF_ERROR(SeekRowAround(next_));
  return Take(batch);
}

Result<Buffer> PageReader::Body(const BatchView& batch) const {
  if (!batch.elsewhere) return Buffer(std::string(batch.body));
  if (batch.elsewhere->stratum != stratum_->number) {
    return Status(Reason::CORRUPTION, "its body is said to be in another stratum");
  }
  return stratum_->bodies->Read(*batch.elsewhere);
}

Result<bool> PageReader::Next(BatchView* batch) {
  if (!row_ || ended_) return false;
  if (!positioned_) return Seek(page_.first, batch);
  row_->Next();
  return Take(batch);
}

Result<bool> PageReader::Take(BatchView* batch) {
  while (!ended_) {
    if (until_ != 0 && row_->status().ok() &&
        (!row_->Valid() || RowId(View(row_->key())) >= until_)) {
      GoOnWithAll();
      continue;
    }
    if (row_->Valid()) {
      const char* wrong = DecodeBatch(View(row_->key()), View(row_->value()), batch);
      if (wrong == nullptr) {
        next_ = batch->next_id();
        return true;
      }
      ChannelNumber channel = 0;
      MessageId first_id = next_;
      DecodeMessageKey(View(row_->key()), &channel, &first_id);
      on_damage_(first_id, wrong);
      next_ = std::max(next_, first_id + 1);
      row_->Next();
      continue;
    }
    STRATA_RETURN_IF_ERROR(ReadError());
    if (row_->status().ok()) break;
    STRATA_RETURN_IF_ERROR(PassDamagedBlock());
  }
  ended_ = true;
  return false;
}

Status PageReader::PassDamagedBlock() {
  on_damage_(next_, row_->status().ToString());
  const std::optional<uint64_t> damaged = DamagedFile(row_->status());
  const MessageId limit = until_ != 0 ? until_ : page_.next;
  Status failed;
  const auto readable = NearestReadable(
      next_, limit, kSingleSteps, [this, &failed](MessageId id) { return SeekWorks(id, &failed); });
  STRATA_RETURN_IF_ERROR(failed);
  if (damaged && passed_.insert(*damaged).second) {
    return GoOnWithoutDamaged(until_ != 0 ? until_ : readable.value_or(page_.next));
  }
  if (!readable || *readable >= limit) {
    if (until_ != 0) {
      GoOnWithAll();
    } else {
      ended_ = true;
    }
    return Status::Ok();
  }
  next_ = *readable;
  SeekWorks(next_);
  return Status::Ok();
}

Status PageReader::GoOnWithoutDamaged(MessageId until) {
  until_ = until;
  Renew();
  return SeekRowAround(next_);
}

void PageReader::GoOnWithAll() {
  const MessageId from = std::max(next_, until_);
  until_ = 0;
  passed_.clear();
  Renew();
  next_ = from;
  if (from >= page_.next) {
    ended_ = true;
    return;
  }
  SeekWorks(from);
}

}  // namespace strata::storage
