#include "server/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/held_by.h"
#include "broker/broker.h"

namespace strata::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Families = std::vector<MetricFamily>;
using Labels = std::vector<ClientMetric::Label>;

void Add(MetricFamily* family, double value, Labels labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (family->type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family->metric.push_back(std::move(metric));
}

MetricFamily Gauge(std::string name, std::string help) {
  return {std::move(name), std::move(help), MetricType::Gauge, {}};
}

void AddGauge(Families* all, std::string name, std::string help, uint64_t value) {
  all->push_back(Gauge(std::move(name), std::move(help)));
  Add(&all->back(), static_cast<double>(value));
}

void AddCounter(Families* all, std::string name, std::string help, uint64_t value) {
  all->push_back({std::move(name), std::move(help), MetricType::Counter, {}});
  Add(&all->back(), static_cast<double>(value));
}

void AddTraffic(const broker::BrokerStats& stats, const storage::StoreStats& store, Families* all) {
  AddCounter(all, "strata_appended_messages_total", "Messages appended.", stats.messages_appended);
  AddCounter(all, "strata_appended_bytes_total", "Bytes of batches appended.",
             stats.bytes_appended);
  AddCounter(all, "strata_appended_batches_total", "Batches appended.", stats.batches_appended);
  AddCounter(all, "strata_groups_total", "Groups written; each has the batches of many appends.",
             store.groups);
  AddCounter(all, "strata_syncs_total", "Syncs of the log completed.", store.syncs);
  AddGauge(all, "strata_pending_bytes", "Bytes appended and not yet acknowledged.",
           stats.pending_bytes);
  AddCounter(all, "strata_tail_cache_hits_total", "Batches that readers got from the tail cache.",
             stats.cache_hits);
  AddCounter(all, "strata_storage_reads_total", "Reads that went to storage.", stats.storage_reads);
  AddGauge(all, "strata_readers", "Open readers, those of subscriptions included.", stats.readers);
  AddGauge(all, "strata_subscriptions", "Subscriptions of all channels.", stats.subscriptions);
  AddGauge(all, "strata_channels", "Channels.", stats.channels);
  AddGauge(all, "strata_tail_cache_bytes", "Memory of the newest batches.", stats.tail_cache_bytes);
  AddGauge(all, "strata_memtable_bytes", "Memory of what is not yet in a table file.",
           store.memtable_bytes);
  AddGauge(all, "strata_block_cache_bytes", "Memory of the block cache.", store.block_cache_bytes);
}

void AddDisk(const broker::BrokerStats& stats, const storage::StoreStats& store, Families* all) {
  AddGauge(all, "strata_disk_used_bytes", "Bytes of everything in the store's directory.",
           store.disk_bytes);
  AddGauge(all, "strata_disk_free_bytes", "Free bytes of the file system of the store's directory.",
           store.disk_free_bytes);
  AddGauge(all, "strata_disk_ballast_bytes",
           "Bytes of the ballast file; 0 while it is given back to a full disk.",
           store.ballast_bytes);
  const retention::Marks& marks = stats.space_marks;
  // Without a budget a zero would look like one that is exceeded.
  if (marks.budget > 0) {
    AddGauge(all, "strata_disk_budget_bytes", "The most that the store's directory may take.",
             marks.budget);
    AddGauge(all, "strata_disk_soft_mark_bytes", "Bytes used above which old pages go early.",
             marks.soft);
    AddGauge(all, "strata_disk_hard_mark_bytes", "Bytes used from which on appends get DISK_FULL.",
             marks.hard);
  }
  MetricFamily state = Gauge("strata_space_state",
                             "1 for the state of the disk budget: normal, pressure (above the soft "
                             "mark), full (appends get DISK_FULL).");
  for (const auto each : {retention::SpaceState::kNormal, retention::SpaceState::kPressure,
                          retention::SpaceState::kFull}) {
    Add(&state, each == stats.space_state ? 1 : 0,
        {{"state", std::string(retention::SpaceStateName(each))}});
  }
  all->push_back(std::move(state));
}

void AddRetention(const retention::SweeperCounters& swept, const storage::StoreStats& store,
                  Families* all) {
  AddCounter(all, "strata_sweeps_total", "Sweeps: looks at all channels for what may go.",
             swept.sweeps);
  AddCounter(all, "strata_trimmed_pages_total", "Pages removed by a rule or a truncation.",
             swept.trimmed_pages);
  AddCounter(all, "strata_trimmed_bytes_total", "Bytes of the batches in pages removed.",
             swept.trimmed_bytes);
  AddCounter(all, "strata_dropped_strata_total", "Strata dropped, their space given back.",
             swept.dropped_strata);
  AddCounter(all, "strata_rewritten_strata_total", "Strata copied to a smaller form.",
             swept.rewritten_strata);
  AddCounter(all, "strata_rewrite_read_bytes_total", "Bytes read by rewrites.",
             swept.rewrite_read_bytes);
  AddCounter(all, "strata_rewrite_written_bytes_total", "Bytes written by rewrites.",
             swept.rewrite_written_bytes);
  AddGauge(all, "strata_strata", "Strata with data.", store.strata);
  AddGauge(all, "strata_pages", "Pages of all channels.", store.pages);
  AddGauge(all, "strata_live_bytes", "Bytes of the batches in all pages.", store.live_bytes);
  AddGauge(all, "strata_compressed_strata", "Strata in their final, compressed form.",
           store.compressed_strata);
  AddGauge(all, "strata_compressed_raw_bytes", "Bytes of the batches in compressed strata.",
           store.compressed_raw_bytes);
  AddGauge(all, "strata_compressed_file_bytes", "Bytes that the files of compressed strata take.",
           store.compressed_file_bytes);
  AddGauge(all, "strata_quarantined_strata",
           "Damaged strata: readable with gaps, never rewritten. strata status names them.",
           store.quarantined.size());
}

// The families with one series for each channel.
class ChannelFamilies {
 public:
  void AddSpace(const ChannelSpaceInfo& space, TimeMicros now) {
    const ClientMetric::Label channel{"channel", space.channel};
    Add(&pages_, static_cast<double>(space.pages), {channel});
    Add(&bytes_, static_cast<double>(space.bytes), {channel});
    if (space.held_by == HeldBy::kNothing) return;
    // A clock that was set back makes no page younger than now.
    const TimeMicros age = std::max<TimeMicros>(0, now - space.oldest_time);
    Add(&age_, static_cast<double>(age) / 1e6, {channel});
    Labels held = {channel, {"by", std::string(HeldByName(space.held_by))}};
    if (!space.subscription.empty()) held.push_back({"subscription", space.subscription});
    Add(&held_, 1, std::move(held));
  }

  void AddRange(const ChannelInfo& info) {
    const ClientMetric::Label channel{"channel", info.name};
    Add(&first_available_, static_cast<double>(info.first_available), {channel});
    Add(&next_id_, static_cast<double>(info.next_id), {channel});
  }

  void MoveTo(Families* all) {
    for (MetricFamily* family : {&pages_, &bytes_, &first_available_, &next_id_, &age_, &held_}) {
      if (!family->metric.empty()) all->push_back(std::move(*family));
    }
  }

 private:
  MetricFamily pages_ = Gauge("strata_channel_pages", "Pages of the channel.");
  MetricFamily bytes_ = Gauge("strata_channel_bytes", "Stored bytes of the channel's batches.");
  MetricFamily first_available_ =
      Gauge("strata_channel_first_available_id", "The lowest id that can be read.");
  MetricFamily next_id_ = Gauge("strata_channel_next_id", "The id that the next message gets.");
  MetricFamily age_ = Gauge("strata_channel_oldest_page_age_seconds",
                            "Since the newest message of the channel's oldest page was appended.");
  MetricFamily held_ =
      Gauge("strata_channel_oldest_page_held",
            "1, with what keeps the channel's oldest page: subscription, rules, no_rule, "
            "policy, grace, or sweep (nothing, it goes next).");
};

void AddChannels(const broker::Broker& broker, size_t max_channels, Families* all) {
  Result<std::vector<ChannelSpaceInfo>> spaces = broker.DescribeSpace("");
  if (!spaces.ok()) return;  // it is being closed
  const size_t shown = std::min(max_channels, spaces->size());
  std::partial_sort(spaces->begin(), spaces->begin() + static_cast<ptrdiff_t>(shown), spaces->end(),
                    [](const ChannelSpaceInfo& a, const ChannelSpaceInfo& b) {
                      return a.bytes != b.bytes ? a.bytes > b.bytes : a.channel < b.channel;
                    });
  Result<std::vector<ChannelInfo>> channels = broker.ListChannels();
  if (!channels.ok()) return;
  std::unordered_map<std::string, ChannelInfo> ranges;
  for (ChannelInfo& info : *channels) {
    std::string name = info.name;
    ranges.emplace(std::move(name), std::move(info));
  }
  const TimeMicros now = broker.options().clock->WallMicros();
  ChannelFamilies families;
  for (size_t i = 0; i < shown; ++i) {
    const ChannelSpaceInfo& space = (*spaces)[i];
    families.AddSpace(space, now);
    const auto range = ranges.find(space.channel);
    if (range != ranges.end()) families.AddRange(range->second);
  }
  families.MoveTo(all);
  AddGauge(all, "strata_channels_left_out",
           "Channels without series of their own: only the largest have them.",
           spaces->size() - shown);
}

}  // namespace

void Metrics::Serve(std::shared_ptr<const broker::Broker> broker) {
  MutexLock lock(mu_);
  broker_ = std::move(broker);
}

void Metrics::Stop() { Serve(nullptr); }

std::vector<MetricFamily> Metrics::Collect() const {
  std::shared_ptr<const broker::Broker> broker;
  {
    MutexLock lock(mu_);
    broker = broker_;
  }
  Families all = {Gauge("strata_build_info", "1, with the version.")};
  Add(&all.back(), 1, {{"version", STRATA_VERSION}});
  if (broker == nullptr) return all;
  const broker::BrokerStats stats = broker->Stats();
  const storage::StoreStats store = broker->StoreStats();
  AddGauge(&all, "strata_fail_stop",
           "1 after a failed write or sync: no appends until a restart, reads go on.",
           broker->failure().ok() ? 0 : 1);
  AddTraffic(stats, store, &all);
  AddDisk(stats, store, &all);
  AddRetention(stats.swept, store, &all);
  AddChannels(*broker, max_channels_, &all);
  return all;
}

std::string Metrics::Text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, Collect());
  return out.str();
}

}  // namespace strata::server
