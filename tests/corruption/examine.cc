#include "tests/corruption/examine.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "base/batch.h"
#include "storage/repair.h"
#include "storage/verify.h"
#include "tests/support/fault_fs.h"

namespace strata::corruption {
namespace {

using storage::Store;
using storage::StoreOptions;
using testing::FaultFileSystem;

constexpr const char* kPath = "/data/store";
constexpr const char* kRepaired = "/data/repaired";

// Ends the examination: this must never be.
struct Violation {
  std::string what;
};

void Demand(bool holds, const std::string& what) {
  if (!holds) throw Violation{what};
}

// What can be read of a store, and what is announced to be missing.
struct Reading {
  std::map<std::pair<ChannelNumber, MessageId>, Batch> batches;
  std::map<ChannelNumber, std::vector<Gap>> gaps;
  uint64_t messages = 0;
};

bool IsAnnounced(const std::vector<Gap>& gaps, MessageId first, MessageId next) {
  for (MessageId id = first; id < next; ++id) {
    if (std::none_of(gaps.begin(), gaps.end(),
                     [id](const Gap& gap) { return gap.first <= id && id <= gap.last; })) {
      return false;
    }
  }
  return true;
}

void ReadChannel(Store& store, ChannelNumber channel, MessageId end, Reading* reading) {
  MessageId from = 1;
  while (from < end) {
    auto items = store.Read(channel, from, end, 64u << 10);
    Demand(items.ok(),
           fmt::format("reading channel {} at {}: {}", channel, from, items.status().ToString()));
    if (items->empty()) return;
    for (const storage::ReadItem& item : *items) {
      if (const auto* gap = std::get_if<Gap>(&item)) {
        Demand(gap->first >= from && gap->last >= gap->first, "a gap out of order");
        reading->gaps[channel].push_back(*gap);
        from = gap->last + 1;
        continue;
      }
      const auto& batch = std::get<storage::StoredBatch>(item);
      Demand(batch.first_id >= from, fmt::format("batch {} came twice", batch.first_id));
      reading->batches[{channel, batch.first_id}] = {batch.count, batch.append_time,
                                                     ContentHash(batch.bytes)};
      reading->messages += batch.count;
      from = batch.next_id();
    }
  }
}

// Every batch is the one that was written, and none is missing that no gap announces.
Reading ReadAndCompare(Store& store, const Scene& scene, const storage::Recovered& recovered,
                       const std::string& when) {
  Reading reading;
  for (const auto& [record, next_id, last_append_time] : recovered.channels) {
    for (const Gap& lost : record.lost) reading.gaps[record.number].push_back(lost);
    const auto end = scene.ends.find(record.number);
    if (end != scene.ends.end()) ReadChannel(store, record.number, end->second, &reading);
  }
  for (const auto& [key, batch] : reading.batches) {
    const auto written = scene.written.find(key);
    Demand(written != scene.written.end() && written->second == batch,
           fmt::format("{}: channel {}, batch {} is not what was written", when, key.first,
                       key.second));
  }
  const bool channels_known = recovered.channels.size() == scene.ends.size();
  for (const auto& [key, batch] : scene.batches) {
    if (reading.batches.contains(key)) continue;
    if (!channels_known && !reading.gaps.contains(key.first)) continue;  // the caller demands more
    Demand(IsAnnounced(reading.gaps[key.first], key.second, key.second + batch.count),
           fmt::format("{}: channel {}, batch {} is missing without a word", when, key.first,
                       key.second));
  }
  return reading;
}

class Examiner {
 public:
  Examiner(const Scene& scene, const Damage& damage) : scene_(scene), damage_(damage) {
    fs_ = FaultFileSystem::Create();
    for (const char* folder : {"/data", "/data/store", "/data/store/db"}) {
      fs_->CreateDir(folder, rocksdb::IOOptions(), nullptr).PermitUncheckedError();
    }
    for (const auto& [path, bytes] : scene.files) {
      std::string put = bytes;
      if (path == damage.file && damage.truncate) put.resize(damage.at);
      if (path == damage.file && !damage.truncate) {
        put[damage.at] = static_cast<char>(put[damage.at] ^ damage.mask);
      }
      Demand(fs_->Put(std::string(kPath) + "/" + path, put), "setting the scene");
    }
    options_ = SceneOptions(kPath, fs_);
    options_.log =
        Logger([this](LogLevel, std::string_view line) { log_.append(line).append("\n"); },
               LogLevel::kWarning);
    for (const auto& [key, batch] : scene.batches) verdict_.all += batch.count;
  }

  Verdict Run() {
    try {
      RunVerify();
      auto store = Store::Open(options_);
      if (store.ok()) {
        Opened(std::move(store).value());
      } else {
        Refused(store.status());
      }
    } catch (const Violation& violation) {
      verdict_.outcome = Outcome::kViolation;
      verdict_.text = violation.what + "\nlog: " + log_;
    }
    return verdict_;
  }

 private:
  std::map<std::string, std::string> Disk() const {
    std::map<std::string, std::string> files;
    for (const std::string& path : fs_->Files()) {
      if (path.starts_with(std::string(kPath) + "/")) files[path] = *fs_->Contents(path);
    }
    return files;
  }

  void RunVerify() {
    const auto before = Disk();
    const auto report = storage::Verify(options_);
    Demand(Disk() == before, "verify changed something");
    found_ = !report.ok() || !report->ok();
    if (!report.ok()) {
      verify_text_ = report.status().ToString();
    } else {
      found_ |= !report->remarks.empty();
      for (const auto& list : {report->problems, report->remarks}) {
        for (const auto& each : list) verify_text_ += each.where + ": " + each.what + "\n";
      }
    }
  }

  void Opened(std::unique_ptr<Store> store) {
    storage::Recovered recovered = store->TakeRecovered();
    commit_ = recovered.commit;
    const std::string catalog = DescribeCatalog(recovered);
    Demand(catalog == scene_.catalog,
           "opened with another catalog:\n" + catalog + "expected:\n" + scene_.catalog);
    if (damage_.rewrite_first) RewriteAll(*store);
    const Reading first = ReadAndCompare(*store, scene_, recovered, "reading");
    if (!damage_.rewrite_first) RewriteAll(*store);
    const Reading again = ReadAndCompare(*store, scene_, recovered, "reading after a rewrite");
    Demand(again.batches == first.batches, "a rewrite changed what can be read");
    Append(*store, recovered);
    const Status closed = store->Close();
    Demand(closed.ok(), "closing: " + closed.ToString());
    store.reset();
    auto reopened = Store::Open(options_);
    Demand(reopened.ok(), "opening again: " + reopened.status().ToString());
    recovered = (*reopened)->TakeRecovered();
    const Reading last = ReadAndCompare(**reopened, scene_, recovered, "reading after a restart");
    Demand(last.batches == first.batches, "a restart changed what can be read");
    verdict_.kept = last.messages;
    const bool whole = first.batches == scene_.batches;
    verdict_.outcome = !whole   ? Outcome::kContained
                       : found_ ? Outcome::kAvailable
                                : Outcome::kSilent;
    Demand(whole || found_, "gaps, but verify found nothing");
    verdict_.text = verify_text_;
  }

  void RewriteAll(Store& store) {
    for (const storage::StratumInfo& stratum : store.DescribeStrata()) {
      if (stratum.sealed_at == 0 || !stratum.quarantined.empty() || stratum.live_pages == 0)
        continue;
      auto result = store.Rewrite({{stratum.number}, [](uint64_t) { return true; }});
      Demand(result.ok(), "rewriting: " + result.status().ToString());
      storage::WriteGroup group;
      group.commit = ++commit_;
      if (result->damaged != 0) {
        group.changes.emplace_back(storage::QuarantineStratum{result->damaged, result->damage});
      } else if (!result->changes.empty()) {
        group.changes = result->changes;
      } else {
        --commit_;
        continue;
      }
      const Status written = store.Write(group);
      Demand(written.ok(), "moving pages: " + written.ToString());
    }
    const Status synced = store.Sync();
    Demand(synced.ok(), "syncing: " + synced.ToString());
    const auto dropped = store.DropEmptyStrata();
    Demand(dropped.ok(), "dropping: " + dropped.status().ToString());
  }

  void Append(Store& store, const storage::Recovered& recovered) {
    for (const auto& [record, next_id, last_append_time] : recovered.channels) {
      BatchBuilder builder;
      builder.Add("after the damage");
      storage::BatchRecord batch;
      batch.channel = record.number;
      batch.first_id = next_id;
      batch.count = 1;
      batch.append_time = last_append_time + 1;
      batch.bytes = builder.Take();
      const uint64_t content = ContentHash(batch.bytes);
      storage::WriteGroup group;
      group.commit = ++commit_;
      group.batches.push_back(std::move(batch));
      const Status written = store.Write(group);
      Demand(written.ok(), "appending: " + written.ToString());
      const auto items = store.Read(record.number, next_id, next_id + 1, 1);
      Demand(items.ok() && items->size() == 1 &&
                 std::holds_alternative<storage::StoredBatch>(items->front()) &&
                 ContentHash(std::get<storage::StoredBatch>(items->front()).bytes) == content,
             "a new message is not read back");
    }
    const Status synced = store.Sync();
    Demand(synced.ok(), "syncing: " + synced.ToString());
  }

  void Refused(const Status& why) {
    const std::string text = why.ToString();
    const bool names_file = text.find("/data/store/") != std::string::npos;
    const bool names_remedy = text.find("strata repair") != std::string::npos ||
                              text.find("--quarantine") != std::string::npos;
    Demand(names_file, "the refusal names no file: " + text);
    Demand(names_remedy, "the refusal names no remedy: " + text);
    Demand(found_, "refused, but verify found nothing: " + text);
    const Status again = Store::Open(options_).status();
    Demand(again.ToString() == text,
           "refused otherwise the second time: " + again.ToString() + "\nfirst: " + text);
    Repaired();
    verdict_.outcome = Outcome::kRefused;
    verdict_.text = text;
    if (text.find("--quarantine") != std::string::npos) Quarantined();
  }

  void Repaired() {
    const auto before = Disk();
    const auto report = storage::Repair(options_, kRepaired);
    Demand(report.ok(), "repair failed: " + report.status().ToString());
    Demand(Disk() == before, "repair changed the damaged store");
    StoreOptions options = options_;
    options.path = kRepaired;
    options.create_if_missing = false;
    const auto verified = storage::Verify(options);
    std::string problem = verified.status().ToString();
    if (verified.ok() && !verified->ok()) {
      problem = verified->problems[0].where + ": " + verified->problems[0].what;
    }
    Demand(verified.ok() && verified->ok(), "the repaired store has problems: " + problem);
    auto store = Store::Open(options);
    Demand(store.ok(), "the repaired store does not open: " + store.status().ToString());
    const storage::Recovered recovered = (*store)->TakeRecovered();
    const Reading reading = ReadAndCompare(**store, scene_, recovered, "reading what was repaired");
    CheckSalvaged(recovered, *report, reading);
    for (const auto& [key, batch] : reading.batches) {
      if (scene_.batches.contains(key)) verdict_.kept += batch.count;
    }
    commit_ = recovered.commit;
    Append(**store, recovered);
  }

  // What is there of the catalog is right, and no id or number can be given out a second time.
  void CheckSalvaged(const storage::Recovered& recovered, const storage::RepairReport& report,
                     const Reading& reading) const {
    if (report.catalog_whole) {
      Demand(recovered.subscriptions.size() == 4 && recovered.producers.size() == 3,
             "repair lost rows of a catalog that is whole:\n" + DescribeCatalog(recovered));
    }
    for (const auto& [record, next_id, last_append_time] : recovered.channels) {
      Demand(next_id >= scene_.ends.at(record.number),
             fmt::format("channel {} would give out id {} again", record.number, next_id));
      const bool named = !record.name.starts_with("salvaged-");
      Demand(!named || record.exclusive_term == (record.number == 2 ? 7 : 0),
             "a fencing term was lost with its channel's row there");
    }
    for (const auto& each : recovered.subscriptions) {
      Demand(scene_.catalog.find(fmt::format("subscription {} {} cursor {} ", each.channel,
                                             each.name, each.cursor)) != std::string::npos,
             "a subscription is not where it was");
    }
    for (const auto& [record, results] : recovered.producers) {
      for (const auto& each : results) {
        const auto written = scene_.written.find({record.channel, each.first_id});
        Demand(written != scene_.written.end() && written->second.count == each.count &&
                   written->second.content == each.content,
               "a producer's result is not what it was");
      }
    }
    std::set<ChannelNumber> channels;
    for (const auto& each : recovered.channels) channels.insert(each.record.number);
    for (const auto& [key, batch] : scene_.batches) {
      Demand(channels.contains(key.first) || !reading.batches.empty(),
             "nothing was salvaged at all");
    }
  }

  void Quarantined() {
    StoreOptions options = options_;
    options.quarantine = true;
    options.accept_loss = true;
    auto store = Store::Open(options);
    Demand(store.ok(), "--quarantine does not open it: " + store.status().ToString());
    const storage::Recovered recovered = (*store)->TakeRecovered();
    ReadAndCompare(**store, scene_, recovered, "reading after --quarantine");
    commit_ = recovered.commit;
    Append(**store, recovered);
  }

  const Scene& scene_;
  const Damage& damage_;
  std::shared_ptr<FaultFileSystem> fs_;
  StoreOptions options_;
  std::string log_;
  Verdict verdict_;
  bool found_ = false;
  std::string verify_text_;
  uint64_t commit_ = 0;
};

}  // namespace

Verdict Examine(const Scene& scene, const Damage& damage) { return Examiner(scene, damage).Run(); }

}  // namespace strata::corruption
