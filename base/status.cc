#include "base/status.h"

namespace strata {
namespace {

constexpr ErrorInfo kCatalog[] = {
#define STRATA_ERROR(number, name, canonical, retryable, fate, text, what) \
  {Reason::name, #name, CanonicalCode::canonical, retryable, DataFate::fate, text, what},
#include "base/error_catalog.inc"
#undef STRATA_ERROR
};

constexpr ErrorInfo kOkInfo = {
    Reason::OK, "OK", CanonicalCode::kOk, false, DataFate::kNotApplicable, "No error.", "Nothing."};

const char* FateText(DataFate fate) {
  switch (fate) {
    case DataFate::kNotApplicable:
      return "";
    case DataFate::kNotAppended:
      return " (not appended)";
    case DataFate::kMayHaveBeenAppended:
      return " (may have been appended)";
    case DataFate::kAppended:
      return " (appended)";
  }
  return "";
}

}  // namespace

const ErrorInfo& GetErrorInfo(Reason reason) {
  if (reason == Reason::OK) return kOkInfo;
  const ErrorInfo* internal = nullptr;
  for (const ErrorInfo& info : kCatalog) {
    if (info.reason == reason) return info;
    if (info.reason == Reason::INTERNAL) internal = &info;
  }
  return *internal;
}

Status::Status(Reason reason, std::string message)
    : rep_(std::make_shared<Rep>(Rep{reason, GetErrorInfo(reason).fate, std::move(message)})) {
  assert(reason != Reason::OK);
}

const std::string& Status::message() const {
  static const std::string kEmpty;
  return rep_ ? rep_->message : kEmpty;
}

Status Status::WithFate(DataFate fate) const {
  if (ok()) return *this;
  Status status;
  status.rep_ = std::make_shared<Rep>(Rep{rep_->reason, fate, rep_->message, rep_->actual_next_id});
  return status;
}

Status Status::WithActualNextId(int64_t id) const {
  if (ok()) return *this;
  Status status;
  status.rep_ = std::make_shared<Rep>(Rep{rep_->reason, rep_->fate, rep_->message, id});
  return status;
}

Status Status::WithContext(std::string_view context) const {
  if (ok()) return *this;
  Status status;
  status.rep_ = std::make_shared<Rep>(
      Rep{rep_->reason, rep_->fate, std::string(context) + ": " + rep_->message});
  return status;
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  return std::string(info().name) + ": " + rep_->message + FateText(rep_->fate);
}

}  // namespace strata
