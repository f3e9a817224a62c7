// Reading: from the page index to a page's batches, with a gap where damage was passed over.
#include <fmt/format.h>

#include <algorithm>

#include "storage/page_reader.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

// A page gives at least one item, so this only bounds the work of a read over nothing but damage or tiny pages.
constexpr int kMaxPagesPerRead = 64;
// A consumer that comes back to the same damage must not fill the log.
constexpr uint64_t kMaxDamageLines = 100;

void AddCorruptGap(MessageId first, MessageId last, std::vector<ReadItem>* items) {
  if (!items->empty()) {
    if (auto* gap = std::get_if<Gap>(&items->back()); gap != nullptr && gap->last + 1 == first) {
      gap->last = last;
      return;
    }
  }
  items->push_back(Gap{first, last, GapReason::kCorrupt});
}

}  // namespace

void Store::Impl::LogDamage(ChannelNumber channel, MessageId id, const std::string& what) {
  const uint64_t seen = damage_seen_.fetch_add(1, std::memory_order_relaxed);
  if (seen < kMaxDamageLines) {
    options_.log.Warning("{}: channel {}, at id {}: {}; readers get a CORRUPT gap", db_path_,
                         channel, id, what);
  } else if (seen == kMaxDamageLines) {
    options_.log.Warning("{}: more damage is not logged any more; run strata verify", db_path_);
  }
}

Status Store::Impl::ReadPage(ChannelNumber channel, const Page& page, MessageId* from,
                             MessageId end, size_t max_bytes, std::vector<ReadItem>* items,
                             size_t* bytes) {
  const StratumRef stratum = strata_->Find(page.stratum);
  // Moved or forgotten since it was looked up: whoever asked looks again.
  if (!stratum && !pages_.IsIn(channel, page.first, page.stratum)) return Status::Ok();
  const MessageId limit = std::min(page.next, end);
  MessageId& expected = *from;  // the first id not accounted for
  expected = std::max(expected, page.first);
  PageReader reader(db_.get(), stratum, channel, page,
                    [&](MessageId id, const std::string& what) { LogDamage(channel, id, what); });
  BatchView batch;
  STRATA_ASSIGN_OR_RETURN(bool found, reader.Seek(expected, &batch));
  for (;;) {
    const MessageId good = found ? std::min(batch.first_id, limit) : limit;
    if (good > expected) {
      AddCorruptGap(expected, good - 1, items);
      expected = good;
    }
    if (!found || batch.first_id >= limit) return Status::Ok();
    if (batch.next_id() > expected) {
      Result<Buffer> body = reader.Body(batch);
      if (body.ok()) {
        *bytes += body->size();
        items->push_back(
            StoredBatch{batch.first_id, batch.count, batch.append_time, std::move(body).value()});
      } else if (body.status().reason() == Reason::CORRUPTION) {
        LogDamage(channel, batch.first_id, body.status().message());
        AddCorruptGap(expected, std::min(batch.next_id(), limit) - 1, items);
      } else {
        return body.status();
      }
      expected = batch.next_id();
    }
    if (expected >= limit || *bytes >= max_bytes) return Status::Ok();
    STRATA_ASSIGN_OR_RETURN(found, reader.Next(&batch));
  }
}

Result<std::vector<ReadItem>> Store::Impl::Read(ChannelNumber channel, MessageId from,
                                                MessageId end, size_t max_bytes) {
  std::vector<ReadItem> items;
  size_t bytes = 0;
  for (int pages = 0; pages < kMaxPagesPerRead && from < end; ++pages) {
    const std::optional<Page> page = pages_.Find(channel, from);
    if (!page || page->first >= end) break;
    const Status status = ReadPage(channel, *page, &from, end, max_bytes, &items, &bytes);
    if (!status.ok()) {
      // What was read is good; the error comes back with the next call.
      if (items.empty()) return status;
      break;
    }
    if (bytes >= max_bytes) break;
  }
  return items;
}

Result<MessageId> Store::Impl::FindTime(ChannelNumber channel, TimeMicros time, MessageId from,
                                        MessageId end) {
  std::optional<Page> page;
  StratumRef stratum;
  do {
    page = pages_.FindTime(channel, time, from);
    if (!page || page->first >= end) return end;
    stratum = strata_->Find(page->stratum);
    // Again if the page was moved or forgotten between the two.
  } while (!stratum && !pages_.IsIn(channel, page->first, page->stratum));
  const MessageId first = std::max(from, page->first);
  if (page->first_time >= time) return first;
  const MessageId limit = std::min(page->next, end);
  MessageId answer = limit;
  // Append times never go down: below `low` all batches are older, from `high` on all are as wanted.
  MessageId low = first;
  MessageId high = limit;
  PageReader reader(db_.get(), stratum, channel, *page,
                    [&](MessageId id, const std::string& what) { LogDamage(channel, id, what); });
  while (low < high) {
    const MessageId middle = low + (high - low) / 2;
    BatchView batch;
    STRATA_ASSIGN_OR_RETURN(const bool found, reader.Seek(middle, &batch));
    if (!found || batch.first_id >= high) {
      high = middle;
    } else if (batch.append_time >= time) {
      answer = std::max(first, batch.first_id);
      high = std::min(middle, batch.first_id);
    } else {
      low = batch.next_id();
    }
  }
  if (answer < page->next) return answer;
  // The batches of this page that are new enough are damaged: the next page has only such.
  const std::optional<Page> next = pages_.Find(channel, page->next);
  return next ? std::min(next->first, end) : end;
}

}  // namespace strata::storage
