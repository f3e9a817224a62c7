// From what RocksDB recovered to what the store promises: is anything acknowledged missing, may ids have been given out
// that are forgotten now, which pages are there.
//
//   end of the last run   policy          boot id   ids
//   clean                 any             any       go on
//   not clean             always          any       go on: what was acknowledged had been synced
//   not clean             interval, none  same      go on: the kernel still has everything that was written
//   not clean             interval, none  other     2^32 higher, LOST: acknowledged messages may be gone
//   less than the watermark, or pages without their rows,
//   with accept_loss                                2^32 higher, LOST
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <unordered_set>

#include "storage/files.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

// Channel numbers jump together with ids: channels may have been created and forgotten too.
constexpr ChannelNumber kLostChannelJump = ChannelNumber{1} << 20;
constexpr size_t kMaxNamedLosses = 20;
// Spares wanted at open; more are made when fewer than two are left.
constexpr size_t kSparesAtOpen = 4;

std::string ReadBootId() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

// The next id of each channel, from its row and its last page.
std::unordered_map<ChannelNumber, MessageId> NextIdsOf(const Catalog& catalog) {
  std::unordered_map<ChannelNumber, MessageId> next;
  for (const ChannelRecord& channel : catalog.channels) next[channel.number] = channel.next_id;
  for (const PageUpdate& each : catalog.pages) {
    const auto found = next.find(each.channel);
    if (found != next.end()) found->second = std::max(found->second, each.page.next);
  }
  return next;
}

// "channel 'a' (3): ids 120..140 acknowledged, missing; channel 9, which is missing itself: ids up to 17"
std::string DescribeLoss(const Catalog& catalog, const NextIds& acknowledged) {
  std::unordered_map<ChannelNumber, std::string> names;
  for (const ChannelRecord& channel : catalog.channels) names[channel.number] = channel.name;
  const auto recovered = NextIdsOf(catalog);
  std::string text;
  size_t losses = 0;
  for (const std::pair<ChannelNumber, MessageId>& each : acknowledged) {
    const auto next = recovered.find(each.first);
    if (next != recovered.end() && next->second >= each.second) continue;
    if (++losses > kMaxNamedLosses) continue;
    if (!text.empty()) text += "; ";
    if (next == recovered.end()) {
      text += fmt::format("channel {}, which is missing itself: ids up to {}", each.first,
                          each.second - 1);
    } else {
      text += fmt::format("channel '{}' ({}): ids {}..{} acknowledged, missing", names[each.first],
                          each.first, next->second, each.second - 1);
    }
  }
  if (losses > kMaxNamedLosses)
    text += fmt::format("; and {} more channels", losses - kMaxNamedLosses);
  if (losses == 0) text = "which ids is not known: they are less than a second old";
  return text;
}

// Keeps `lost` ascending, and holes that touch as one.
void AddLost(const Gap& gap, std::vector<Gap>* lost) {
  const auto at = std::find_if(lost->begin(), lost->end(),
                               [&](const Gap& each) { return each.first > gap.first; });
  const auto added = lost->insert(at, gap);
  if (added != lost->begin() && std::prev(added)->last + 1 == gap.first) {
    std::prev(added)->last = gap.last;
    lost->erase(added);
  }
}

// The rows of a page, as pages without a hole in them. CORRUPTION if a row cannot be read.
Result<std::vector<Page>> RunsOfPage(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* handle,
                                     const PageUpdate& each) {
  const MessageKey lower = EncodeMessageKey(each.channel, each.page.first);
  const MessageKey upper = EncodeMessageKey(each.channel, each.page.next);
  const rocksdb::Slice lower_bound(lower.data(), lower.size());
  const rocksdb::Slice upper_bound(upper.data(), upper.size());
  rocksdb::ReadOptions options;
  options.iterate_lower_bound = &lower_bound;
  options.iterate_upper_bound = &upper_bound;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> row(db->NewIterator(options, handle));
  std::vector<Page> runs;
  for (row->SeekToFirst(); row->Valid(); row->Next()) {
    BatchView batch;
    if (const char* wrong = DecodeBatch(View(row->key()), View(row->value()), &batch)) {
      return Status(Reason::CORRUPTION, wrong);
    }
    if (runs.empty() || runs.back().next != batch.first_id) {
      runs.push_back({.first = batch.first_id,
                      .next = batch.first_id,
                      .stratum = each.page.stratum,
                      .first_time = batch.append_time,
                      .commit = each.page.commit});
    }
    Page& page = runs.back();
    page.next = batch.next_id();
    page.bytes += kMessageKeyBytes + kBatchHeaderBytes + batch.body_bytes();
    ++page.batches;
    page.last_time = batch.append_time;
  }
  STRATA_RETURN_IF_ERROR(FromRocks(row->status(), "reading " + handle->GetName()));
  return runs;
}

}  // namespace

Status Store::Impl::Recover() {
  Status damaged;
  STRATA_ASSIGN_OR_RETURN(
      Catalog catalog, LoadCatalog(db_.get(), catalog_family_,
                                   [&damaged](const std::string& where, const std::string& what) {
                                     if (damaged.ok())
                                       damaged = Status(Reason::CORRUPTION, where + ": " + what);
                                   }));
  STRATA_RETURN_IF_ERROR(damaged);
  if (identity_.ready && catalog.format == 0) {
    return Status(Reason::CORRUPTION, db_path_ + ": the catalog has no format row");
  }
  if (catalog.format > kStoreFormat) {
    return Status(Reason::FORMAT_TOO_NEW,
                  fmt::format("{}: the catalog has format {}, this version knows formats up to {}",
                              db_path_, catalog.format, kStoreFormat));
  }
  if (catalog.unknown_rows > 0) {
    options_.log.Warning("{}: {} catalog rows are of a kind that is not known; they are left alone",
                         db_path_, catalog.unknown_rows);
  }
  maintenance_ = std::make_unique<Executor>("strata-maint", 1);
  releasing_ = std::make_unique<Executor>("strata-delete", 1);
  rows_ = std::make_unique<CatalogWriter>(catalog_family_);
  strata_ = std::make_unique<Strata>(db_.get(), rocks_.stratum, fs_, db_path_, maintenance_.get(),
                                     releasing_.get(), latch_, options_.log);
  STRATA_RETURN_IF_ERROR(AdoptStrata(catalog));
  WatermarkContents watermark;
  STRATA_ASSIGN_OR_RETURN(const bool lost, CheckWatermark(catalog, &watermark));
  STRATA_RETURN_IF_ERROR(MarkRunning(&catalog, watermark, lost || !missing_.empty()));
  AdoptCatalog(std::move(catalog));
  return Status::Ok();
}

// Which families are strata with data, which are spares, and what is missing or left over.
Status Store::Impl::AdoptStrata(const Catalog& catalog) {
  uint32_t newest = 0;
  for (const StratumRecord& stratum : catalog.strata) {
    newest = std::max(newest, stratum.number);
    const auto found = found_strata_.find(stratum.number);
    if (found == found_strata_.end()) continue;  // DropMissingPages() tells whether that matters
    strata_->AddUsed(stratum, found->second);
    // Only the newest of them could be without the row that sealed it.
    if (stratum.sealed_at == 0) {
      current_ = strata_->Find(stratum.number);
      current_created_at_ = stratum.created_at;
    }
    found_strata_.erase(found);
  }
  for (const auto& [number, handle] : found_strata_) {
    rocksdb::ColumnFamilyMetaData files;
    db_->GetColumnFamilyMetaData(handle, &files);
    if (number > newest && files.file_count == 0) {
      strata_->AddSpare(number, handle);
    } else {
      // A rewrite that a restart has overtaken. Nothing refers to it, so the next sweep drops it.
      options_.log.Info("{}: stratum {} has no row in the catalog", db_path_, number);
      strata_->AddUsed({number, 1, 1, ""}, handle);
    }
  }
  found_strata_.clear();
  if (strata_->spares() >= kSparesAtOpen / 2) return Status::Ok();
  return strata_->FillSpares(kSparesAtOpen);
}

// Rows of strata that are gone: without pages they are left from a drop; with pages messages are missing, which
// become LOST gaps.
void Store::Impl::DropMissingPages(Catalog* catalog, rocksdb::WriteBatch* batch) {
  std::unordered_map<ChannelNumber, ChannelRecord*> channels;
  for (ChannelRecord& channel : catalog->channels) channels[channel.number] = &channel;
  std::set<ChannelNumber> changed;
  std::erase_if(catalog->pages, [&](const PageUpdate& each) {
    if (strata_->Find(each.page.stratum) != nullptr) return false;
    rows_->DeletePage(batch, each.channel, each.page.first);
    const auto channel = channels.find(each.channel);
    if (channel == channels.end()) return true;
    ChannelRecord& record = *channel->second;
    options_.log.Error("{}: stratum {} is missing; the messages {}..{} of channel '{}' are lost",
                       db_path_, each.page.stratum, each.page.first, each.page.next - 1,
                       record.name);
    AddLost({each.page.first, each.page.next - 1, GapReason::kLost}, &record.lost);
    record.next_id = std::max(record.next_id, each.page.next);
    record.last_append_time = std::max(record.last_append_time, each.page.last_time);
    changed.insert(each.channel);
    return true;
  });
  for (const ChannelNumber number : changed) rows_->PutChannel(batch, *channels[number]);
  for (const StratumRecord& stratum : catalog->strata) {
    if (strata_->Find(stratum.number) == nullptr) rows_->DeleteStratum(batch, stratum.number);
  }
}

Status Store::Impl::MendPages(Catalog* catalog, rocksdb::WriteBatch* batch) {
  std::set<uint32_t> strata;
  for (const MissingRows& each : missing_) strata.insert(each.stratum);
  if (strata.empty()) return Status::Ok();
  std::unordered_map<ChannelNumber, ChannelRecord*> channels;
  for (ChannelRecord& channel : catalog->channels) channels[channel.number] = &channel;
  std::vector<PageUpdate> mended;
  for (const PageUpdate& each : catalog->pages) {
    const StratumRef stratum = strata_->Find(each.page.stratum);
    const auto channel = channels.find(each.channel);
    mended.push_back(each);
    if (!strata.contains(each.page.stratum) || stratum == nullptr || channel == channels.end()) {
      continue;
    }
    const auto runs = RunsOfPage(db_.get(), stratum->handle, each);
    if (runs.status().reason() == Reason::CORRUPTION) continue;  // readers are told what they miss
    STRATA_RETURN_IF_ERROR(runs.status());
    if (runs->size() == 1 && runs->front().first == each.page.first &&
        runs->front().next == each.page.next) {
      continue;
    }
    mended.pop_back();
    rows_->DeletePage(batch, each.channel, each.page.first);
    ChannelRecord& record = *channel->second;
    MessageId next = each.page.first;
    const auto lose = [&](MessageId end) {
      if (next >= end) return;
      options_.log.Error("{}: the messages {}..{} of channel '{}' are lost", db_path_, next,
                         end - 1, record.name);
      AddLost({next, end - 1, GapReason::kLost}, &record.lost);
    };
    for (const Page& run : *runs) {
      lose(run.first);
      next = run.next;
      rows_->PutPage(batch, each.channel, run);
      mended.push_back({each.channel, run});
    }
    lose(each.page.next);
    record.next_id = std::max(record.next_id, each.page.next);
    record.last_append_time = std::max(record.last_append_time, each.page.last_time);
    rows_->PutChannel(batch, record);
  }
  catalog->pages = std::move(mended);
  return Status::Ok();
}

Result<WatermarkContents> Store::Impl::ReadWatermark() const {
  const std::string path = options_.path + "/" + kWatermarkFile;
  std::string absent;
  STRATA_ASSIGN_OR_RETURN(auto found, Watermark::Read(*base_fs_, path, identity_.id, &absent));
  if (found) return *std::move(found);
  // The identity file has no checksum, the watermark has.
  if (const auto owner = Watermark::OwnerOf(*base_fs_, path)) {
    return Status(Reason::CORRUPTION,
                  fmt::format("{}/{} names the store {}, but {} is of the store {}: one of them is "
                              "damaged, or comes from elsewhere",
                              options_.path, kIdentityFile, identity_.id, path, *owner));
  }
  return WatermarkContents();
}

std::string Store::Impl::DescribeMissing(const Catalog& catalog, const WatermarkContents& watermark,
                                         const std::string& last_log) const {
  return fmt::format(
      "{} recovered groups up to {}, but groups up to {} had been acknowledged as durable: {}. {}",
      options_.path, catalog.RecoveredCommit(), watermark.commit,
      DescribeLoss(catalog, watermark.next_ids),
      last_log.empty() ? fmt::format("No log in {} goes on there", db_path_)
                       : fmt::format("The log ends, or is damaged, in {}", last_log));
}

Result<bool> Store::Impl::CheckWatermark(const Catalog& catalog, WatermarkContents* contents) {
  const std::string path = options_.path + "/" + kWatermarkFile;
  std::string absent;
  STRATA_ASSIGN_OR_RETURN(auto found, Watermark::Read(*base_fs_, path, identity_.id, &absent));
  if (!found) {
    if (identity_.ready) {
      options_.log.Warning(
          "{}: a new one is started; whether acknowledged data is missing cannot be told", absent);
    }
    STRATA_RETURN_IF_ERROR(Watermark::Create(*fs_, path, identity_.id));
    STRATA_RETURN_IF_ERROR(SyncDirectory(*fs_, options_.path));
    found =
        WatermarkContents{.commit = 0, .next_ids = {}, .header_sequence = 1, .table_sequence = 0};
  }
  *contents = std::move(*found);
  STRATA_ASSIGN_OR_RETURN(watermark_, Watermark::Open(*fs_, path, identity_.id, *contents));
  const uint64_t recovered = catalog.RecoveredCommit();
  // Commit numbers never go back, not even past a loss: an old watermark must not come to look like a new loss.
  recovered_.commit = std::max(recovered, contents->commit);
  if (recovered >= contents->commit) return false;
  const std::string what =
      DescribeMissing(catalog, *contents, replay_ ? replay_->last_log() : std::string());
  if (!options_.accept_loss) return Status(Reason::ACKNOWLEDGED_DATA_LOST, what);
  options_.log.Error("{}. Opened all the same, as told (accept-loss)", what);
  return true;
}

Status Store::Impl::MarkRunning(Catalog* catalog, const WatermarkContents& watermark, bool lost) {
  const std::string boot_id = options_.boot_id.empty() ? ReadBootId() : options_.boot_id;
  const std::optional<RunRecord>& run = catalog->run;
  bool jump = lost;
  if (run && !run->clean) {
    // A boot id that cannot be read may be another one.
    const bool rebooted = boot_id.empty() || run->boot_id != boot_id;
    options_.log.Info("{} was not closed; the machine was {}", options_.path,
                      rebooted ? "restarted since" : "not restarted since");
    jump |= rebooted && run->sync != SyncPolicy::kAlways;
  }
  rocksdb::WriteBatch batch;
  if (catalog->format < kStoreFormat) rows_->PutFormat(&batch);
  DropMissingPages(catalog, &batch);
  STRATA_RETURN_IF_ERROR(MendPages(catalog, &batch));
  if (jump) JumpIds(catalog, watermark, &batch);
  boot_id_ = boot_id;
  rows_->PutRun(&batch, {boot_id, options_.sync, /*clean=*/false, options_.clock->WallMicros()});
  rows_->PutCommit(&batch, recovered_.commit);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  STRATA_RETURN_IF_ERROR(FromRocks(db_->Write(synced, &batch), "marking the start of " + db_path_));
  // The commit number may just have jumped over lost groups: in a table file that is no hole for the next replay.
  if (lost) {
    STRATA_RETURN_IF_ERROR(
        FromRocks(db_->Flush(rocksdb::FlushOptions(), catalog_family_), "flushing " + db_path_));
  }
  return latch_->status();
}

void Store::Impl::JumpIds(Catalog* catalog, const WatermarkContents& watermark,
                          rocksdb::WriteBatch* batch) {
  auto next = NextIdsOf(*catalog);
  std::unordered_map<ChannelNumber, MessageId> acknowledged(watermark.next_ids.begin(),
                                                            watermark.next_ids.end());
  for (ChannelRecord& channel : catalog->channels) {
    const MessageId first_lost = next[channel.number];
    channel.next_id = std::max(first_lost, acknowledged[channel.number]) + kLostIdJump;
    if (!channel.lost.empty() && channel.lost.back().last + 1 == first_lost) {
      channel.lost.back().last = channel.next_id - 1;
    } else {
      channel.lost.push_back({first_lost, channel.next_id - 1, GapReason::kLost});
    }
    rows_->PutChannel(batch, channel);
    catalog->next_channel = std::max(catalog->next_channel, channel.number + 1);
  }
  for (const auto& each : acknowledged) {
    catalog->next_channel = std::max(catalog->next_channel, each.first + 1);
  }
  catalog->next_channel += kLostChannelJump;
  rows_->PutNextChannel(batch, catalog->next_channel);
  options_.log.Warning(
      "{}: acknowledged messages may be lost; the ids of all {} channels go on 2^32 higher, behind "
      "a gap of reason "
      "LOST",
      options_.path, catalog->channels.size());
}

void Store::Impl::AdoptCatalog(Catalog catalog) {
  recovered_.store_id = identity_.id;
  next_channel_ = catalog.next_channel;
  std::unordered_map<ChannelNumber, RecoveredChannel*> channels;
  recovered_.channels.reserve(catalog.channels.size());
  for (ChannelRecord& record : catalog.channels) {
    next_channel_ = std::max(next_channel_, record.number + 1);
    const ChannelNumber number = record.number;
    const MessageId next_id = record.next_id;
    const TimeMicros last_append_time = record.last_append_time;
    recovered_.channels.push_back({std::move(record), next_id, last_append_time});
    channels[number] = &recovered_.channels.back();
  }
  recovered_.next_channel = next_channel_;
  const auto orphans = std::erase_if(
      catalog.pages, [&](const PageUpdate& each) { return !channels.contains(each.channel); });
  if (orphans > 0) {
    options_.log.Warning("{}: {} pages belong to no channel; they are left alone", db_path_,
                         orphans);
  }
  for (const PageUpdate& each : catalog.pages) {
    RecoveredChannel* channel = channels[each.channel];
    channel->next_id = std::max(channel->next_id, each.page.next);
    channel->last_append_time = std::max(channel->last_append_time, each.page.last_time);
    open_pages_[each.channel].page = each.page;
    if (current_ && each.page.stratum == current_->number) {
      current_bytes_.fetch_add(each.page.bytes, std::memory_order_relaxed);
    }
  }
  for (SubscriptionRecord& subscription : catalog.subscriptions) {
    if (channels.contains(subscription.channel)) {
      recovered_.subscriptions.push_back(std::move(subscription));
    }
  }
  for (RecoveredProducer& producer : catalog.producers) {
    const auto channel = channels.find(producer.record.channel);
    if (channel == channels.end()) continue;
    // A version that does not know producers drops the counter when it writes the channel's row.
    uint64_t& next = channel->second->record.next_producer;
    next = std::max(next, producer.record.number + 1);
    producers_.insert({producer.record.channel, producer.record.number});
    recovered_.producers.push_back(
        {std::move(producer.record), NewestResults(std::move(producer.results))});
  }
  pages_.Apply(catalog.pages);
  written_commit_ = recovered_.commit;
  synced_commit_ = recovered_.commit;
}

}  // namespace strata::storage
