#include "proto/status_mapping.h"

#include <optional>
#include <string>
#include <string_view>

#include <google/protobuf/any.pb.h>

#include "base/utf8.h"
#include "base/wire.h"
#include "strata/v1/types.pb.h"

namespace strata {
namespace {

constexpr size_t kMaxText = 1024;

// Fields of google.rpc.Status, which is read and written by hand: Debian's protobuf does not bring
// the generated class.
constexpr uint32_t kRpcCode = 1;
constexpr uint32_t kRpcMessage = 2;
constexpr uint32_t kRpcDetails = 3;

// Short enough for a trailer, and UTF-8, which protobuf's `string` promises.
std::string Presentable(std::string text) {
  if (text.size() > kMaxText) {
    size_t end = kMaxText - 3;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    text.resize(end);
    text += "...";
  }
  if (IsValidUtf8(text)) return text;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return text;
}

std::string EncodeDetails(grpc::StatusCode code, const std::string& message,
                          const v1::ErrorDetail& detail) {
  google::protobuf::Any any;
  any.PackFrom(detail);
  std::string out;
  wire::AppendTag(&out, kRpcCode, wire::WireType::kVarint);
  wire::AppendVarint(&out, static_cast<uint64_t>(code));
  wire::AppendBytes(&out, kRpcMessage, message);
  wire::AppendBytes(&out, kRpcDetails, any.SerializeAsString());
  return out;
}

std::optional<v1::ErrorDetail> DecodeDetails(const std::string& bytes) {
  const Buffer buffer(bytes);
  wire::Cursor cursor(buffer);
  std::string scratch;
  while (!cursor.AtEnd()) {
    wire::Tag tag;
    if (!cursor.ReadTag(&tag)) return std::nullopt;
    if (tag.field != kRpcDetails || tag.type != wire::WireType::kBytes) {
      if (!cursor.SkipValue(tag.type)) return std::nullopt;
      continue;
    }
    size_t length = 0;
    std::string_view encoded;
    if (!cursor.ReadLength(&length) || !cursor.ReadBytes(length, &scratch, &encoded)) {
      return std::nullopt;
    }
    google::protobuf::Any any;
    v1::ErrorDetail detail;
    if (any.ParseFromArray(encoded.data(), static_cast<int>(encoded.size())) &&
        any.UnpackTo(&detail)) {
      return detail;
    }
  }
  return std::nullopt;
}

// What an error means that has no reason of ours.
Reason ReasonForCode(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED:
      return Reason::CANCELLED;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return Reason::INVALID_ARGUMENT;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Reason::TIMEOUT;
    // gRPC's own refusal of a message beyond the size that the peer accepts.
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Reason::BATCH_TOO_LARGE;
    case grpc::StatusCode::UNIMPLEMENTED:
      return Reason::NOT_SUPPORTED;
    case grpc::StatusCode::UNAVAILABLE:
      return Reason::CONNECTION_LOST;
    case grpc::StatusCode::DATA_LOSS:
      return Reason::CORRUPTION;
    default:
      return Reason::INTERNAL;
  }
}

// The fate as the peer sent it; a number this version does not know is read as the cautious one.
DataFate FateFromWire(v1::ErrorDetail::Fate fate) {
  switch (fate) {
    case v1::ErrorDetail::FATE_NOT_APPLICABLE:
      return DataFate::kNotApplicable;
    case v1::ErrorDetail::FATE_NOT_APPENDED:
      return DataFate::kNotAppended;
    case v1::ErrorDetail::FATE_APPENDED:
      return DataFate::kAppended;
    default:
      return DataFate::kMayHaveBeenAppended;
  }
}

}  // namespace

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const ErrorInfo& info = GetErrorInfo(status.reason());
  const auto code = static_cast<grpc::StatusCode>(info.canonical);
  const std::string text = Presentable(status.message());
  v1::ErrorDetail detail;
  detail.set_reason(static_cast<uint32_t>(info.reason));
  detail.set_reason_name(info.name);
  detail.set_retryable(status.retryable());
  detail.set_fate(static_cast<v1::ErrorDetail::Fate>(status.fate()));
  detail.set_message(text);
  detail.set_actual_next_id(status.actual_next_id().value_or(0));
  const std::string message = std::string(info.name) + ": " + text;
  return grpc::Status(code, message, EncodeDetails(code, message, detail));
}

Status FromGrpc(const grpc::Status& status, DataFate default_fate) {
  if (status.ok()) return Status();
  const auto detail = DecodeDetails(status.error_details());
  if (!detail) {
    return Status(ReasonForCode(status.error_code()), status.error_message())
        .WithFate(default_fate);
  }
  const DataFate fate = FateFromWire(detail->fate());
  const auto reason = static_cast<Reason>(detail->reason());
  if (detail->reason() <= UINT16_MAX && reason != Reason::OK &&
      GetErrorInfo(reason).reason == reason) {
    const Status known = Status(reason, detail->message()).WithFate(fate);
    return reason == Reason::ID_MISMATCH ? known.WithActualNextId(detail->actual_next_id()) : known;
  }
  return Status(ReasonForCode(status.error_code()),
                detail->message() + " (the server calls it " + detail->reason_name() + ")")
      .WithFate(fate);
}

}  // namespace strata
