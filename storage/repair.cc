#include "storage/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "storage/files.h"
#include "storage/lock.h"
#include "storage/repair_source.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

constexpr size_t kMaxListed = 1000;
// Of ids and channel numbers where some may have been given out that nobody knows of; see store_recover.cc.
constexpr ChannelNumber kChannelJump = ChannelNumber{1} << 20;
// A group of the new store; and how many may be in its log before a sync bounds it.
constexpr uint64_t kGroupBytes = 1u << 20;

// Ascending ranges of ids, those that touch as one.
class Ranges {
 public:
  void Add(MessageId first, MessageId next) {
    if (first >= next) return;
    auto at = ranges_.upper_bound(first);
    if (at != ranges_.begin() && std::prev(at)->second >= first) --at;
    while (at != ranges_.end() && at->first <= next) {
      first = std::min(first, at->first);
      next = std::max(next, at->second);
      at = ranges_.erase(at);
    }
    ranges_[first] = next;
  }
  void Remove(MessageId first, MessageId next) {
    if (first >= next) return;
    auto at = ranges_.upper_bound(first);
    if (at != ranges_.begin() && std::prev(at)->second > first) --at;
    while (at != ranges_.end() && at->first < next) {
      const auto [from, to] = *at;
      at = ranges_.erase(at);
      if (from < first) ranges_[from] = first;
      if (to > next) at = ranges_.emplace(next, to).first;
    }
  }
  bool Covers(MessageId first, MessageId next) const {
    auto at = ranges_.upper_bound(first);
    return at != ranges_.begin() && (--at)->second >= next;
  }
  const std::map<MessageId, MessageId>& all() const { return ranges_; }
  MessageId end() const { return ranges_.empty() ? 0 : ranges_.rbegin()->second; }

 private:
  std::map<MessageId, MessageId> ranges_;  // first -> next
};

// What is known of a channel while its batches are copied.
struct Plan {
  ChannelRecord record;
  Ranges pages;  // that the catalog has
  Ranges copied;
  std::map<uint64_t, std::vector<ProducerResult>> results;  // of copied batches, by producer
};

class Repairer {
 public:
  Repairer(const StoreOptions& options, std::string into,
           const std::function<void(uint64_t)>& progress)
      : options_(options),
        progress_(progress),
        fs_(options.file_system ? options.file_system : rocksdb::FileSystem::Default()),
        partial_(into + ".partial"),
        source_(fs_, options.path, [this](std::string where, std::string what) {
          ++report_.damage_count;
          if (report_.damage.size() < kMaxListed) {
            report_.damage.push_back({std::move(where), std::move(what)});
          }
        }) {
    report_.into = std::move(into);
  }

  Result<RepairReport> Run();

 private:
  Status Claim();
  Status CreateStore();
  void MakePlans();
  Plan& PlanOf(ChannelNumber channel);
  Status Copy(const SalvagedBatch& batch);
  Status WriteGroupNow();
  Status WriteChange(CatalogChange change);
  void FindLost(Plan* plan);
  Status WriteCatalog();
  Status WriteRawRows();

  const StoreOptions& options_;
  const std::function<void(uint64_t)>& progress_;
  const std::shared_ptr<rocksdb::FileSystem> fs_;
  const std::string partial_;
  RepairReport report_;
  RepairSource source_;
  std::unique_ptr<StoreLock> lock_;
  std::unique_ptr<Store> store_;
  std::map<ChannelNumber, Plan> plans_;
  std::set<std::pair<ChannelNumber, uint64_t>> producers_;
  WriteGroup group_;
  uint64_t group_bytes_ = 0;
  uint64_t commit_ = 0;
};

Status Repairer::Claim() {
  const std::string db_path = options_.path + "/" + kDatabaseFolder;
  if (!IsDirectory(*fs_, db_path)) {
    return Status(Reason::IO_ERROR,
                  fmt::format("{} holds no store: there is no {}", options_.path, db_path));
  }
  for (const std::string& each : {report_.into, partial_}) {
    STRATA_ASSIGN_OR_RETURN(const bool exists, FileExists(*fs_, each));
    if (!exists && !IsDirectory(*fs_, each)) continue;
    return Status(Reason::IO_ERROR,
                  fmt::format("{} exists; remove it (a .partial is what an interrupted repair "
                              "left), or name another directory with --into",
                              each));
  }
  STRATA_ASSIGN_OR_RETURN(lock_, StoreLock::Acquire(fs_, db_path + "/" + kLockFile,
                                                    options_.lock_timeout, options_.clock));
  STRATA_RETURN_IF_ERROR(source_.Open());
  if (!source_.identity() && source_.catalog().format == 0) {
    return Status(Reason::FOREIGN_DIRECTORY,
                  options_.path + " has nothing in it by which a Strata store is known");
  }
  if (source_.catalog().format > kStoreFormat) {
    return Status(Reason::FORMAT_TOO_NEW,
                  fmt::format("{}: the catalog has format {}, this version knows formats up to {}",
                              options_.path, source_.catalog().format, kStoreFormat));
  }
  return Status::Ok();
}

Status Repairer::CreateStore() {
  const std::string id = source_.identity() ? source_.identity()->id : NewStoreId();
  STRATA_RETURN_IF_ERROR(CreateDirectory(*fs_, partial_));
  // As an interrupted creation leaves it: opening goes on under the same id.
  STRATA_RETURN_IF_ERROR(WriteIdentity(*fs_, partial_, {kStoreFormat, id, /*ready=*/false}));
  StoreOptions options = options_;
  options.path = partial_;
  options.create_if_missing = true;
  options.ballast = 0;
  STRATA_ASSIGN_OR_RETURN(store_, Store::Open(options));
  commit_ = store_->TakeRecovered().commit;
  return Status::Ok();
}

void Repairer::MakePlans() {
  const Catalog& catalog = source_.catalog();
  for (const ChannelRecord& each : catalog.channels) plans_[each.number].record = each;
  for (const PageUpdate& each : catalog.pages) {
    const auto plan = plans_.find(each.channel);
    // Pages without a channel are left from one that was deleted, unless its row is what is missing.
    if (plan == plans_.end() && source_.catalog_whole()) continue;
    PlanOf(each.channel).pages.Add(each.page.first, each.page.next);
  }
}

Plan& Repairer::PlanOf(ChannelNumber channel) {
  const auto [at, added] = plans_.try_emplace(channel);
  if (!added) return at->second;
  ChannelRecord& record = at->second.record;
  record.number = channel;
  record.created_at = options_.clock->WallMicros();
  record.name = fmt::format("salvaged-{}", channel);
  const auto taken = [&] {
    return std::any_of(plans_.begin(), plans_.end(), [&](const auto& each) {
      return each.first != channel && each.second.record.name == record.name;
    });
  };
  while (taken()) record.name += "x";
  return at->second;
}

Status Repairer::WriteGroupNow() {
  if (group_.empty()) return Status::Ok();
  group_.commit = ++commit_;
  STRATA_RETURN_IF_ERROR(store_->Write(group_));
  group_.Clear();
  group_bytes_ = 0;
  if (progress_) progress_(report_.bytes);
  return Status::Ok();
}

Status Repairer::WriteChange(CatalogChange change) {
  group_.changes.push_back(std::move(change));
  return WriteGroupNow();
}

Status Repairer::Copy(const SalvagedBatch& batch) {
  const BatchView& row = batch.row;
  if (source_.catalog_whole()) {
    // Trimmed, or of a deleted channel.
    const auto plan = plans_.find(row.channel);
    if (plan == plans_.end() || !plan->second.pages.Covers(row.first_id, row.next_id())) {
      return Status::Ok();
    }
  }
  Plan& plan = PlanOf(row.channel);
  if (row.next_id() - 1 <= plan.record.truncated_through && !source_.catalog_whole()) {
    return Status::Ok();
  }
  if (row.first_id < plan.copied.end()) return Status::Ok();  // two batches claim these ids
  BatchRecord record{row.channel,  row.first_id, row.count,  row.append_time,
                     row.producer, row.sequence, batch.body, ContentHash(batch.body)};
  if (row.producer != 0) {
    plan.record.next_producer = std::max(plan.record.next_producer, row.producer + 1);
    if (producers_.contains({row.channel, row.producer})) {
      plan.results[row.producer].push_back(
          {row.sequence, row.first_id, row.count, row.append_time, record.content});
      // No more of them count, and a producer may have written all there is.
      if (plan.results[row.producer].size() > 4 * kProducerWindow) {
        auto& results = plan.results[row.producer];
        results.erase(results.begin(), results.end() - kProducerWindow);
      }
    } else {
      record.producer = record.sequence = 0;  // nobody knows any more whose it is
    }
  }
  plan.copied.Add(row.first_id, row.next_id());
  const uint64_t bytes = kMessageKeyBytes + kBatchHeaderBytes + batch.body.size();
  ++report_.batches;
  report_.messages += row.count;
  report_.bytes += bytes;
  group_bytes_ += bytes;
  group_.batches.push_back(std::move(record));
  return group_bytes_ < kGroupBytes ? Status::Ok() : WriteGroupNow();
}

// The ids that should be there and are not, and where ids go on.
void Repairer::FindLost(Plan* plan) {
  ChannelRecord& record = plan->record;
  Ranges wanted = plan->pages;
  MessageId end = std::max({record.next_id, plan->pages.end(), plan->copied.end()});
  if (source_.watermark()) {
    for (const auto& [channel, next] : source_.watermark()->next_ids) {
      if (channel == record.number) end = std::max(end, next);
    }
  }
  if (!source_.catalog_whole()) {
    // What lay in front may have been trimmed rather than lost: in doubt it is said.
    wanted.Add(std::max(record.truncated_through + 1, record.options.first_id), end);
  }
  for (const auto& [first, next] : plan->copied.all()) wanted.Remove(first, next);
  Ranges lost;
  for (const Gap& each : record.lost) {
    wanted.Remove(each.first, each.last + 1);
    lost.Add(each.first, each.last + 1);
  }
  for (const auto& [first, next] : wanted.all()) {
    report_.lost.push_back({record.number, record.name, first, next - 1});
    report_.lost_ids += static_cast<uint64_t>(next - first);
    lost.Add(first, next);
  }
  record.next_id = end;
  if (report_.ids_jump) {
    record.next_id += kLostIdJump;
    lost.Add(end, record.next_id);
  }
  record.lost.clear();
  for (const auto& [first, next] : lost.all()) {
    record.lost.push_back({first, next - 1, GapReason::kLost});
  }
}

Status Repairer::WriteCatalog() {
  for (auto& [number, plan] : plans_) {
    FindLost(&plan);
    STRATA_RETURN_IF_ERROR(WriteChange(PutChannel{plan.record}));
  }
  for (const SubscriptionRecord& each : source_.catalog().subscriptions) {
    const auto plan = plans_.find(each.channel);
    if (plan == plans_.end()) continue;
    SubscriptionRecord kept = each;
    kept.cursor = std::clamp(kept.cursor, MessageId{1}, plan->second.record.next_id);
    ++report_.subscriptions;
    STRATA_RETURN_IF_ERROR(WriteChange(PutSubscription{kept}));
  }
  report_.channels = plans_.size();
  report_.producers = producers_.size();
  return Status::Ok();
}

// Rows that no group can bring: results of batches that are gone, and the jump of channel numbers.
Status Repairer::WriteRawRows() {
  STRATA_RETURN_IF_ERROR(store_->Close());
  store_.reset();
  auto latch = std::make_shared<FailLatch>(options_.log);
  const std::string db_path = partial_ + "/" + kDatabaseFolder;
  RocksSetup rocks = MakeRocksSetup(options_, NewLatchedFileSystem(fs_, latch, ""), latch);
  std::vector<std::string> names;
  STRATA_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::ListColumnFamilies(rocks.db, db_path, &names), "reading " + db_path));
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) {
    const bool is_catalog = name == rocksdb::kDefaultColumnFamilyName;
    families.emplace_back(name, is_catalog ? rocks.catalog : rocks.stratum);
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  STRATA_RETURN_IF_ERROR(FromRocks(rocksdb::DB::Open(rocks.db, db_path, families, &handles, &raw),
                                   "opening " + db_path));
  const std::unique_ptr<rocksdb::DB> db(raw);
  CatalogWriter rows(db->DefaultColumnFamily());
  rocksdb::WriteBatch batch;
  for (const RecoveredProducer& each : source_.catalog().producers) {
    if (!producers_.contains({each.record.channel, each.record.number})) continue;
    std::map<uint64_t, ProducerResult> results;
    for (const ProducerResult& result : plans_[each.record.channel].results[each.record.number]) {
      results[result.sequence] = result;
    }
    for (const ProducerResult& result : each.results) results[result.sequence] = result;
    std::vector<ProducerResult> all;
    for (const auto& [sequence, result] : results) all.push_back(result);
    const ProducerRecord& producer = each.record;
    // In front of a result that is lost none counts any more, as the store itself would have it.
    for (uint64_t slot = 1; slot <= kProducerWindow; ++slot) {
      rows.DeleteResult(&batch, {producer.channel, 0, 0, 0, producer.number, slot, Buffer(), 0});
    }
    for (const ProducerResult& result : NewestResults(std::move(all))) {
      if (result.sequence + kProducerWindow <= results.rbegin()->first) continue;
      rows.PutResult(&batch, {producer.channel, result.first_id, result.count, result.append_time,
                              producer.number, result.sequence, Buffer(), result.content});
    }
  }
  ChannelNumber next = source_.catalog().next_channel;
  if (!plans_.empty()) next = std::max(next, plans_.rbegin()->first + 1);
  rows.PutNextChannel(&batch, next + (report_.ids_jump ? kChannelJump : 0));
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const rocksdb::Status written = db->Write(synced, &batch);
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  STRATA_RETURN_IF_ERROR(FromRocks(written, "writing the last rows of " + db_path));
  return latch->status();
}

Result<RepairReport> Repairer::Run() {
  STRATA_RETURN_IF_ERROR(Claim());
  report_.catalog_whole = source_.catalog_whole();
  report_.ids_jump = !report_.catalog_whole;
  STRATA_RETURN_IF_ERROR(CreateStore());
  MakePlans();
  for (const RecoveredProducer& each : source_.catalog().producers) {
    if (!plans_.contains(each.record.channel)) continue;
    producers_.insert({each.record.channel, each.record.number});
    STRATA_RETURN_IF_ERROR(WriteChange(PutProducer{each.record}));
  }
  STRATA_RETURN_IF_ERROR(
      source_.ForEachBatch([this](const SalvagedBatch& batch) { return Copy(batch); }));
  STRATA_RETURN_IF_ERROR(WriteGroupNow());
  STRATA_RETURN_IF_ERROR(WriteCatalog());
  STRATA_RETURN_IF_ERROR(WriteRawRows());
  STRATA_RETURN_IF_ERROR(
      FromRocks(fs_->RenameFile(partial_, report_.into, rocksdb::IOOptions(), nullptr),
                fmt::format("renaming {} to {}", partial_, report_.into)));
  STRATA_RETURN_IF_ERROR(SyncDirectory(*fs_, ParentOf(report_.into)));
  return std::move(report_);
}

}  // namespace

Result<RepairReport> Repair(const StoreOptions& options, const std::string& into,
                            const std::function<void(uint64_t bytes)>& progress) {
  return Repairer(options, into, progress).Run();
}

}  // namespace strata::storage
