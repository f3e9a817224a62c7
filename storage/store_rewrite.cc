// Rewriting: the live batches of old strata go into a new one.
//
//   old strata --PageReader (checksums)--> rewrite-N.tmp (SstFileWriter) --ingest--> a spare's last level
//                                                            then, by the broker: one group with MovePages
//
// Why not CompactFiles in place: a rotten block met by a compaction makes every later write to the whole database fail,
// so each stratum would have to be read twice, and merging needs the copy anyway. A copy reads once, checks every
// batch, can stop at any point, and leaves the old strata as they were until the group is acknowledged.
//
// A power cut: before the ingestion, files of no name that counts, deleted at open. Between it and the group, a family
// without a row, dropped at open. After the group, old strata without pages, dropped by the next sweep.
#include <fmt/format.h>
#include <rocksdb/env.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>

#include <algorithm>

#include "storage/files.h"
#include "storage/page_reader.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

constexpr std::string_view kScratchPrefix = "rewrite-";
constexpr std::string_view kScratchSuffix = ".tmp";
// A table file holds its index in memory while it is written, and is deleted as a whole.
constexpr uint64_t kMaxTableFile = 256u << 20;
// How often the pace is asked for, and how much is copied in one go.
constexpr uint64_t kPiece = 1u << 20;

}  // namespace

// A rewrite under way: table files with the batches in the order of their keys.
struct Store::Impl::Copy {
  std::unique_ptr<rocksdb::Env> env;
  rocksdb::Options options;
  StratumRef to;
  std::unique_ptr<rocksdb::SstFileWriter> writer;  // of files.back()
  uint64_t writer_bytes = 0;
  uint64_t unpaced_bytes = 0;
  std::vector<std::string> files;
  MovePages move;
  RewriteResult result;
  bool stopped = false;
};

Status Store::Impl::DeleteScratchFiles() {
  bool exists = false;
  STRATA_ASSIGN_OR_RETURN(const auto names, ListDirectory(*base_fs_, db_path_, &exists));
  for (const std::string& name : names) {
    if (!name.starts_with(kScratchPrefix) || !name.ends_with(kScratchSuffix)) continue;
    scratch_fs_->DeleteFile(db_path_ + "/" + name, rocksdb::IOOptions(), nullptr)
        .PermitUncheckedError();
  }
  return Status::Ok();
}

Status Store::Impl::AppendToCopy(Copy* copy, const rocksdb::Slice& key,
                                 const rocksdb::Slice& value) {
  if (!copy->writer) {
    const std::string file =
        fmt::format("{}/{}{:06}{}", db_path_, kScratchPrefix, copy->files.size(), kScratchSuffix);
    copy->files.push_back(file);
    copy->writer =
        std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(copy->options), copy->options);
    copy->writer_bytes = 0;
    STRATA_RETURN_IF_ERROR(FromRocks(copy->writer->Open(file), "creating " + file));
  }
  STRATA_RETURN_IF_ERROR(FromRocks(copy->writer->Put(key, value), "writing " + copy->files.back()));
  copy->writer_bytes += key.size() + value.size();
  return copy->writer_bytes < kMaxTableFile ? Status::Ok() : FinishCopyFile(copy);
}

Status Store::Impl::FinishCopyFile(Copy* copy) {
  if (!copy->writer) return Status::Ok();
  rocksdb::ExternalSstFileInfo info;
  const rocksdb::Status finished = copy->writer->Finish(&info);  // with a sync
  copy->writer.reset();
  copy->result.written_bytes += info.file_size;
  STRATA_RETURN_IF_ERROR(FromRocks(finished, "finishing " + copy->files.back()));
  return ReadEnds(copy->files.back(), info.smallest_key, info.largest_key);
}

// Into its row, wherever its body was: there it is compressed, and a rewritten stratum is table files alone.
Status Store::Impl::CopyBatch(const BatchView& batch, const Buffer& body, Copy* copy) {
  const MessageKey key = EncodeMessageKey(batch.channel, batch.first_id);
  const BatchHeader header = EncodeBatchHeader(
      key, {batch.channel, batch.first_id, batch.count, batch.append_time, batch.producer,
            batch.sequence, body, /*content=*/batch.elsewhere ? batch.elsewhere->content : 0});
  std::string value(header.data(), header.size());
  body.AppendTo(&value);
  return AppendToCopy(copy, rocksdb::Slice(key.data(), key.size()), value);
}

Status Store::Impl::CopyPage(const RewriteRequest& request, const PageUpdate& each, Copy* copy) {
  const Page& page = each.page;
  const auto damage = [&](MessageId id, const std::string& what) {
    if (copy->result.damaged != 0) return;
    copy->result.damaged = page.stratum;
    copy->result.damage = fmt::format("channel {}, at id {}: {}", each.channel, id, what);
  };
  PageReader reader(db_.get(), strata_->Find(page.stratum), each.channel, page, damage);
  BatchView batch;
  MessageId next = page.first;
  for (;;) {
    STRATA_ASSIGN_OR_RETURN(const bool found, reader.Next(&batch));
    if (copy->result.damaged != 0) return Status::Ok();
    if (!found) break;
    if (batch.first_id != next) damage(next, "batches are missing");
    next = batch.next_id();
    const auto body = reader.Body(batch);
    if (body.status().reason() == Reason::CORRUPTION) {
      damage(batch.first_id, body.status().message());
      return Status::Ok();
    }
    STRATA_RETURN_IF_ERROR(body.status());
    STRATA_RETURN_IF_ERROR(CopyBatch(batch, *body, copy));
    const uint64_t bytes = kMessageKeyBytes + kBatchHeaderBytes + body->size();
    copy->result.read_bytes += bytes;
    copy->unpaced_bytes += bytes;
    if (copy->unpaced_bytes < kPiece) continue;
    copy->stopped = latch_->failed() || !request.pace(std::exchange(copy->unpaced_bytes, 0));
    if (copy->stopped) return Status::Ok();
  }
  if (next != page.next) damage(next, "batches are missing");
  copy->move.pages.push_back({each.channel, page.first, page.stratum});
  return Status::Ok();
}

Status Store::Impl::CopyPages(const RewriteRequest& request, Copy* copy) {
  for (const PageUpdate& each : pages_.PagesIn(request.strata)) {
    // Trimmed since it was listed, or moved by an earlier rewrite: not damage.
    if (!pages_.IsIn(each.channel, each.page.first, each.page.stratum)) continue;
    STRATA_RETURN_IF_ERROR(CopyPage(request, each, copy));
    if (copy->result.damaged != 0 && strata_->Find(copy->result.damaged) == nullptr) {
      // Dropped while it was read: its pages are gone.
      copy->result.damaged = 0;
      copy->stopped = true;
    }
    if (copy->result.damaged != 0 || copy->stopped) return Status::Ok();
  }
  return FinishCopyFile(copy);
}

Result<RewriteResult> Store::Impl::Rewrite(const RewriteRequest& request) {
  if (latch_->failed()) return Failed(DataFate::kNotApplicable);
  Copy copy;
  copy.move.created_at = std::numeric_limits<TimeMicros>::max();
  for (const uint32_t number : request.strata) {
    const std::optional<StratumRecord> record = strata_->Record(number);
    if (!record) continue;  // dropped meanwhile
    if (record->sealed_at == 0) {
      return Status(Reason::INTERNAL, fmt::format("stratum {} is being written", number));
    }
    copy.move.created_at = std::min(copy.move.created_at, record->created_at);
    copy.move.sealed_at = std::max(copy.move.sealed_at, record->sealed_at);
  }
  if (copy.move.sealed_at == 0) return RewriteResult();
  copy.env = rocksdb::NewCompositeEnv(scratch_fs_);
  copy.options = rocksdb::Options(rocks_.db, rocks_.stratum);
  copy.options.env = copy.env.get();
  copy.options.compression = rocks_.stratum.compression_per_level.back();
  copy.options.compression_per_level.clear();
  Status status = CopyPages(request, &copy);
  const bool complete = status.ok() && !copy.stopped && copy.result.damaged == 0;
  if (complete && !copy.move.pages.empty()) status = IngestCopy(&copy);
  copy.writer.reset();
  for (const std::string& file : copy.files) {
    kept_reads_->Forget(file);
    scratch_fs_->DeleteFile(file, rocksdb::IOOptions(), nullptr).PermitUncheckedError();
  }
  if (latch_->failed()) return Failed(DataFate::kNotApplicable);
  STRATA_RETURN_IF_ERROR(status);
  return std::move(copy.result);
}

// So that RocksDB, which does not look whether it could, has read the first and the last block; see kept_reads.h.
Status Store::Impl::ReadEnds(const std::string& path, const std::string& first_key,
                             const std::string& last_key) {
  kept_reads_->Keep(path);
  rocksdb::SstFileReader file(rocksdb::Options(rocks_.db, rocks_.stratum));
  const std::string what = "reading " + path;
  STRATA_RETURN_IF_ERROR(FromRocks(file.Open(path), what));
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> row(file.NewIterator(options));
  for (const std::string& key : {first_key, last_key}) {
    row->Seek(key);
    STRATA_RETURN_IF_ERROR(FromRocks(row->status(), what));
    if (!row->Valid() || row->key() != rocksdb::Slice(key)) {
      return Status(Reason::IO_ERROR, what + ": a batch that was written to it is not there");
    }
  }
  return Status::Ok();
}

Status Store::Impl::IngestCopy(Copy* copy) {
  STRATA_ASSIGN_OR_RETURN(copy->to, strata_->TakeForRewrite());
  // To RocksDB the new family is newer than every log file before it. If a power cut tore one of these, a table file in
  // that family would keep the database from opening ("SST file is ahead of WALs").
  STRATA_RETURN_IF_ERROR(Sync());
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  options.failed_move_fall_back_to_copy = false;
  // The files stay as they were checked: sequence number 0, as in any bottommost level.
  options.write_global_seqno = false;
  const rocksdb::Status ingested = db_->IngestExternalFile(copy->to->handle, copy->files, options);
  if (!ingested.ok()) {
    latch_->Fail("adding rewritten files to " + StratumName(copy->to->number) + ": " +
                 ingested.ToString());
    return Failed(DataFate::kNotApplicable);
  }
  copy->move.to = copy->to->number;
  copy->result.changes.emplace_back(std::move(copy->move));
  MutexLock lock(space_mu_);
  rewritten_ = copy->to;
  rewritten_raw_bytes_ = copy->result.read_bytes;
  return Status::Ok();
}

void Store::Impl::AdoptRewritten(const MovePages& move) {
  MutexLock adopt(adopt_mu_);
  StratumRef stratum;
  uint64_t raw_bytes = 0;
  {
    MutexLock lock(space_mu_);
    stratum.swap(rewritten_);
    raw_bytes = rewritten_raw_bytes_;
  }
  // Known before pages point to it, so that readers find it.
  strata_->AddRewritten({move.to, move.created_at, move.sealed_at, ""}, std::move(stratum),
                        raw_bytes);
  for (const MovePages::Moved& page : move.pages) {
    pages_.Move(page.channel, page.first, page.from, move.to);
  }
}

void Store::Impl::AbandonRewrite(const RewriteResult& result) {
  if (result.changes.empty()) return;
  StratumRef stratum;
  {
    MutexLock lock(space_mu_);
    stratum.swap(rewritten_);
  }
  if (!stratum || latch_->failed()) return;
  const Status dropped = strata_->DropUnknown(stratum);
  if (!dropped.ok()) latch_->Fail(dropped.message());
}

}  // namespace strata::storage
