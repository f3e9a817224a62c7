#include "storage/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "storage/catalog.h"
#include "storage/directory.h"
#include "storage/files.h"
#include "storage/lock.h"
#include "storage/page_reader.h"
#include "storage/replay.h"
#include "storage/rocks.h"
#include "storage/verify_files.h"
#include "storage/watermark.h"

namespace strata::storage {
namespace {

constexpr size_t kMaxListed = 1000;
constexpr std::chrono::milliseconds kProgressEvery{300};

class Verifier {
 public:
  Verifier(const StoreOptions& options, const std::function<void(uint64_t)>& progress)
      : options_(options),
        progress_(progress),
        fs_(options.file_system ? options.file_system : rocksdb::FileSystem::Default()),
        db_path_(options.path + "/" + kDatabaseFolder) {}
  ~Verifier();

  Result<VerifyReport> Run();

 private:
  void Problem(std::string where, std::string what);
  void Progress(uint64_t bytes);

  Status Claim();
  bool OpenDatabase();
  Status TryOpenDatabase();
  void CheckEveryFile();
  void CheckCatalog();
  void CheckStrata(const std::vector<StratumRecord>& strata);
  void CheckSubscriptions();
  void CheckProducers();
  void CheckResults(const std::string& where, const RecoveredProducer& producer, MessageId end);
  void CheckWatermark(uint64_t commit);
  void CheckChannel(const ChannelRecord& channel, const std::vector<Page>& pages);
  void CheckJump(const ChannelRecord& channel, MessageId from, MessageId to);
  void CheckPage(const ChannelRecord& channel, const Page& page);
  void ComparePage(const std::string& where, const Page& row, const Page& found);

  const StoreOptions& options_;
  const std::function<void(uint64_t)>& progress_;
  const std::shared_ptr<rocksdb::FileSystem> fs_;
  const std::string db_path_;
  VerifyReport report_;
  uint64_t bytes_read_ = 0;
  Clock::Duration last_progress_{0};

  Identity identity_;
  std::unique_ptr<StoreLock> lock_;
  RocksSetup rocks_;
  std::unique_ptr<ContiguousReplay> replay_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::map<uint32_t, StratumRef> strata_;
  Catalog catalog_;
  std::map<ChannelNumber, MessageId> next_ids_;
};

std::string NameOf(const ChannelRecord& channel) {
  return fmt::format("channel '{}' ({})", channel.name, channel.number);
}

std::string NameOf(const ChannelRecord& channel, MessageId first, MessageId next) {
  return fmt::format("{}, ids {}..{}", NameOf(channel), first, next - 1);
}

Verifier::~Verifier() {
  strata_.clear();
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
}

void Verifier::Problem(std::string where, std::string what) {
  ++report_.problem_count;
  if (report_.problems.size() < kMaxListed) {
    report_.problems.push_back({std::move(where), std::move(what)});
  }
}

void Verifier::Progress(uint64_t bytes) {
  bytes_read_ += bytes;
  if (!progress_) return;
  const Clock::Duration now = options_.clock->Monotonic();
  if (last_progress_.count() != 0 && now - last_progress_ < kProgressEvery) return;
  last_progress_ = now;
  progress_(bytes_read_);
}

Result<VerifyReport> Verifier::Run() {
  STRATA_RETURN_IF_ERROR(Claim());
  CheckEveryFile();
  if (OpenDatabase()) CheckCatalog();
  if (progress_) progress_(bytes_read_);
  return std::move(report_);
}

Status Verifier::Claim() {
  STRATA_ASSIGN_OR_RETURN(DirectoryState state, InspectDirectory(*fs_, options_.path, &identity_));
  if (state == DirectoryState::kStore && IsDirectory(*fs_, db_path_)) {
    STRATA_ASSIGN_OR_RETURN(lock_, StoreLock::Acquire(fs_, db_path_ + "/" + kLockFile,
                                                      options_.lock_timeout, options_.clock));
    STRATA_ASSIGN_OR_RETURN(state, InspectDirectory(*fs_, options_.path, &identity_));
  }
  if (state != DirectoryState::kStore)
    return Status(Reason::IO_ERROR, options_.path + " holds no store");
  if (!lock_) return Status(Reason::CORRUPTION, db_path_ + " is missing");
  if (!identity_.ready) {
    return Status(Reason::IO_ERROR,
                  options_.path + " was never completely created; opening it starts over");
  }
  // A latch that is set from the start refuses whatever would change a file.
  auto latch = std::make_shared<FailLatch>(Logger());
  latch->Fail("verifying");
  StoreOptions quiet = options_;
  quiet.log = Logger();
  rocks_ = MakeRocksSetup(quiet, NewLatchedFileSystem(fs_, latch, lock_->path()), latch);
  return Status::Ok();
}

void Verifier::CheckEveryFile() {
  FileFindings findings;
  findings.problem = [this](std::string where, std::string what) {
    Problem(std::move(where), std::move(what));
  };
  findings.remark = [this](std::string where, std::string what) {
    if (report_.remarks.size() < kMaxListed) {
      report_.remarks.push_back({std::move(where), std::move(what)});
    }
  };
  findings.progress = [this](uint64_t bytes) { Progress(bytes); };
  report_.unchecked = CheckFiles(*fs_, options_.path, identity_, findings);
}

bool Verifier::OpenDatabase() {
  const Status status = TryOpenDatabase();
  if (!status.ok()) Problem("database", status.message());
  return status.ok();
}

Status Verifier::TryOpenDatabase() {
  std::vector<std::string> names;
  STRATA_RETURN_IF_ERROR(FromRocks(rocksdb::DB::ListColumnFamilies(rocks_.db, db_path_, &names),
                                   "reading the list of strata"));
  STRATA_ASSIGN_OR_RETURN(const Catalog flushed, FlushedCatalog(rocks_, db_path_));
  std::string absent;
  const auto watermark =
      Watermark::Read(*fs_, options_.path + "/" + kWatermarkFile, identity_.id, &absent);
  const uint64_t durable = watermark.ok() && *watermark ? (*watermark)->commit : 0;
  replay_ = std::make_unique<ContiguousReplay>(
      flushed.RecoveredCommit(), durable, [&, this](const BodyReference& where) {
        // As Store opens it.
        if (std::find(names.begin(), names.end(), StratumName(where.stratum)) == names.end())
          return true;
        return BodyReader(fs_, BodyPath(db_path_, where.stratum)).Read(where).ok();
      });
  rocks_.db.wal_filter = replay_.get();
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) {
    const bool is_catalog = name == rocksdb::kDefaultColumnFamilyName;
    families.emplace_back(name, is_catalog ? rocks_.catalog : rocks_.stratum);
  }
  rocksdb::DB* db = nullptr;
  STRATA_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::OpenForReadOnly(rocks_.db, db_path_, families, &handles_, &db),
                "opening the database"));
  db_.reset(db);
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    uint32_t number = 0;
    if (!ParseStratumName(handle->GetName(), &number)) continue;
    auto bodies = std::make_shared<BodyReader>(fs_, BodyPath(db_path_, number));
    strata_[number] = StratumRef(new Stratum{number, handle, std::move(bodies)});
  }
  auto catalog = LoadCatalog(
      db_.get(), db_->DefaultColumnFamily(),
      [this](std::string where, std::string what) { Problem(std::move(where), std::move(what)); });
  if (!catalog.ok()) return catalog.status();
  catalog_ = std::move(catalog).value();
  return Status::Ok();
}

void Verifier::CheckCatalog() {
  if (catalog_.format == 0) Problem("catalog", "the format row is missing");
  if (catalog_.format > kStoreFormat) {
    Problem("catalog", fmt::format("format {} is newer than this version knows", catalog_.format));
    return;
  }
  CheckWatermark(catalog_.RecoveredCommit());
  CheckStrata(catalog_.strata);
  std::map<ChannelNumber, std::vector<Page>> pages;
  for (const PageUpdate& each : catalog_.pages) pages[each.channel].push_back(each.page);
  report_.pages = catalog_.pages.size();
  std::set<std::string> names;
  for (const ChannelRecord& channel : catalog_.channels) {
    ++report_.channels;
    if (!names.insert(channel.name).second)
      Problem(NameOf(channel), "another channel has the same name");
    if (channel.number >= catalog_.next_channel) {
      Problem(NameOf(channel), "its number would be given out again");
    }
    CheckChannel(channel, pages[channel.number]);
    pages.erase(channel.number);
  }
  for (const auto& [channel, orphans] : pages) {
    Problem(fmt::format("channel {}", channel),
            fmt::format("has {} pages and no row of its own", orphans.size()));
  }
  CheckSubscriptions();
  CheckProducers();
}

void Verifier::CheckStrata(const std::vector<StratumRecord>& strata) {
  report_.strata = strata.size();
  uint32_t written = 0;
  for (const StratumRecord& each : strata) {
    const std::string where = fmt::format("stratum {}", each.number);
    // A row may outlive its family, until the next stratum begins; then no page is in it.
    const bool used =
        std::any_of(catalog_.pages.begin(), catalog_.pages.end(),
                    [&](const PageUpdate& page) { return page.page.stratum == each.number; });
    if (used && !strata_.contains(each.number)) Problem(where, "has pages, but no column family");
    if (!each.quarantined.empty()) Problem(where, "is quarantined: " + each.quarantined);
    if (each.sealed_at != 0) continue;
    if (written != 0) Problem(where, fmt::format("is not sealed, nor is stratum {}", written));
    written = each.number;
  }
}

void Verifier::CheckSubscriptions() {
  for (const SubscriptionRecord& each : catalog_.subscriptions) {
    const std::string where =
        fmt::format("subscription '{}' of channel {}", each.name, each.channel);
    const auto next = next_ids_.find(each.channel);
    if (next == next_ids_.end()) {
      Problem(where, "belongs to no channel");
    } else if (each.cursor < 1 || each.cursor > next->second) {
      Problem(where, fmt::format("its cursor is at {}, the channel ends at {}", each.cursor,
                                 next->second));
    }
  }
}

void Verifier::CheckProducers() {
  std::map<ChannelNumber, uint64_t> next_producers;
  for (const ChannelRecord& each : catalog_.channels) {
    next_producers[each.number] = each.next_producer;
  }
  std::set<std::pair<ChannelNumber, std::string>> names;
  for (const RecoveredProducer& each : catalog_.producers) {
    const ProducerRecord& producer = each.record;
    const std::string where = fmt::format("producer '{}' ({}) of channel {}", producer.name,
                                          producer.number, producer.channel);
    const auto next = next_producers.find(producer.channel);
    if (next == next_producers.end()) {
      Problem(where, "belongs to no channel");
      continue;
    }
    if (producer.number >= next->second) Problem(where, "its number would be given out again");
    if (!names.emplace(producer.channel, producer.name).second) {
      Problem(where, "another producer of the channel has the same name");
    }
    CheckResults(where, each, next_ids_[producer.channel]);
  }
  if (catalog_.orphan_results > 0) {
    Problem("catalog",
            fmt::format("{} results of producers belong to no channel", catalog_.orphan_results));
  }
}

// Retention may have taken the batches themselves.
void Verifier::CheckResults(const std::string& where, const RecoveredProducer& producer,
                            MessageId end) {
  const std::vector<ProducerResult> newest = NewestResults(producer.results);
  if (newest.size() != producer.results.size()) {
    Problem(where,
            fmt::format("its results have a hole before sequence {}", newest.front().sequence));
  }
  MessageId last = 0;
  for (const ProducerResult& each : newest) {
    if (each.first_id + each.count > end) {
      Problem(where,
              fmt::format("the result of sequence {} has the ids {}..{}, the channel ends "
                          "at {}",
                          each.sequence, each.first_id, each.first_id + each.count - 1, end));
    }
    if (each.first_id <= last) {
      Problem(where,
              fmt::format("the result of sequence {} has ids of the one before it", each.sequence));
    }
    last = each.first_id + each.count - 1;
  }
}

void Verifier::CheckWatermark(uint64_t commit) {
  const std::string path = options_.path + "/" + kWatermarkFile;
  std::string absent;
  const auto watermark = Watermark::Read(*fs_, path, identity_.id, &absent);
  if (!watermark.ok()) return Problem("watermark", watermark.status().message());
  if (!*watermark) return Problem("watermark", absent);
  if ((*watermark)->commit > commit) {
    Problem(
        "watermark",
        fmt::format("groups up to {} were acknowledged as durable, the database has them up to {}",
                    (*watermark)->commit, commit));
  }
}

void Verifier::CheckChannel(const ChannelRecord& channel, const std::vector<Page>& pages) {
  MessageId next = 0;
  TimeMicros time = 0;
  for (const Page& page : pages) {
    if (next != 0 && page.first != next) CheckJump(channel, next, page.first);
    if (page.first_time < time) {
      Problem(NameOf(channel, page.first, page.next),
              "was appended before the page in front of it");
    }
    CheckPage(channel, page);
    next = page.next;
    time = page.last_time;
  }
  if (next != 0 && channel.next_id > next) CheckJump(channel, next, channel.next_id);
  next_ids_[channel.number] = std::max(next, channel.next_id);
}

// Ids between two pages may only be missing where the channel's row says that they are LOST.
void Verifier::CheckJump(const ChannelRecord& channel, MessageId from, MessageId to) {
  const bool announced =
      std::any_of(channel.lost.begin(), channel.lost.end(),
                  [&](const Gap& lost) { return lost.first <= from && to - 1 <= lost.last; });
  if (!announced)
    Problem(NameOf(channel, from, to), "no page has them, and they are not marked as lost");
}

void Verifier::CheckPage(const ChannelRecord& channel, const Page& page) {
  const std::string where = NameOf(channel, page.first, page.next);
  const auto stratum = strata_.find(page.stratum);
  std::string damage = "is missing";
  PageReader reader(db_.get(), stratum == strata_.end() ? nullptr : stratum->second, channel.number,
                    page, [&damage](MessageId, const std::string& what) { damage = what; });
  Page found{.first = page.first, .next = page.first, .stratum = page.stratum};
  BatchView batch;
  bool whole = true;
  for (;;) {
    const Result<bool> more = reader.Next(&batch);
    if (!more.ok()) return Problem(where, more.status().message());
    const MessageId at = *more ? batch.first_id : page.next;
    if (at != found.next) {
      whole = false;
      if (at > found.next) {
        Problem(NameOf(channel, found.next, at), damage);
      } else {
        Problem(NameOf(channel, at, batch.next_id()), "these ids occur twice");
      }
      damage = "is missing";
    }
    if (!*more) break;
    if (const Result<Buffer> body = reader.Body(batch); !body.ok()) {
      Problem(NameOf(channel, batch.first_id, batch.next_id()), body.status().message());
    }
    if (found.batches == 0) found.first_time = batch.append_time;
    if (found.batches > 0 && batch.append_time < found.last_time) {
      Problem(NameOf(channel, batch.first_id, batch.next_id()),
              "was appended before the batch in front of it");
    }
    found.last_time = batch.append_time;
    found.next = batch.next_id();
    const uint64_t bytes = kMessageKeyBytes + kBatchHeaderBytes + batch.body_bytes();
    found.bytes += bytes;
    ++found.batches;
    ++report_.batches;
    report_.messages += batch.count;
    report_.bytes += bytes;
    Progress(bytes);
  }
  if (whole) ComparePage(where, page, found);
}

void Verifier::ComparePage(const std::string& where, const Page& row, const Page& found) {
  if (row.bytes != found.bytes || row.batches != found.batches) {
    Problem(where, fmt::format("the page row says {} batches of {} bytes, there are {} of {}",
                               row.batches, row.bytes, found.batches, found.bytes));
  }
  if (row.first_time != found.first_time || row.last_time != found.last_time) {
    Problem(where, "the page row has other append times than its batches");
  }
}

}  // namespace

Result<VerifyReport> Verify(const StoreOptions& options,
                            const std::function<void(uint64_t bytes)>& progress) {
  return Verifier(options, progress).Run();
}

}  // namespace strata::storage
