// Status and Result<T>: what every fallible call of Strata returns. No exceptions cross its
// borders.
//
//   Result<AppendResult> r = client->Append("logs", messages);
//   if (!r.ok()) {
//     log(r.status().ToString());  // "MESSAGE_TOO_LARGE: message 3 has ... (not appended)"
//     if (r.status().fate() == DataFate::kNotAppended) SendAgain();
//   }
//
// A failed Status has a Reason (the error catalog, base/error_catalog.inc), a text for the person
// who gets it and, for appends, the fate of the data. Statuses are values: copy and move them
// freely between threads; one object is not to be written by two threads at a time. An OK status
// costs one pointer.
#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace strata {

// Why something failed. Numbers are stable and equal to those on the wire.
enum class Reason : uint16_t {
  OK = 0,
#define STRATA_ERROR(number, name, canonical, retryable, fate, text, what) name = number,
#include "base/error_catalog.inc"
#undef STRATA_ERROR
};

// The canonical codes of gRPC, with its numbers, for callers that know no reasons.
enum class CanonicalCode : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
};

// What happened to the messages of a failed append. Numbers are those of
// strata.v1.ErrorDetail.Fate.
enum class DataFate : uint8_t {
  kNotApplicable = 0,  // the call appends nothing
  kNotAppended = 1,    // none of it is stored or ever will be: sending again makes no duplicate
  kMayHaveBeenAppended = 2,  // stored or not: sending again may make a duplicate
  kAppended = 3,             // stored, although the call failed
};

// One row of the error catalog.
struct ErrorInfo {
  Reason reason;
  const char* name;
  CanonicalCode canonical;
  bool retryable;
  DataFate fate;
  const char* text;
  const char* what_to_do;
};

// The row of `reason`; that of INTERNAL for a number this version does not know.
const ErrorInfo& GetErrorInfo(Reason reason);

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  // REQUIRES: reason != Reason::OK. `message` says what was wrong, where, and what to do, in one or
  // two sentences.
  Status(Reason reason, std::string message);

  static Status Ok() { return Status(); }

  bool ok() const { return rep_ == nullptr; }
  Reason reason() const { return rep_ ? rep_->reason : Reason::OK; }
  const std::string& message() const;
  CanonicalCode canonical() const { return ok() ? CanonicalCode::kOk : info().canonical; }
  bool retryable() const { return !ok() && info().retryable; }
  DataFate fate() const { return ok() ? DataFate::kNotApplicable : rep_->fate; }

  // The same failure with another fate, for example STORE_FAILED for an append that was in flight.
  Status WithFate(DataFate fate) const;
  // ID_MISMATCH: the id that the next message would have got.
  std::optional<int64_t> actual_next_id() const {
    return ok() ? std::nullopt : rep_->actual_next_id;
  }
  Status WithActualNextId(int64_t id) const;
  // The same failure with `context: ` before its message.
  Status WithContext(std::string_view context) const;

  // "OK", or "REASON: message", with " (not appended)" or " (may have been appended)" where it
  // applies.
  std::string ToString() const;

 private:
  struct Rep {
    Reason reason;
    DataFate fate;
    std::string message;
    std::optional<int64_t> actual_next_id = {};
  };
  const ErrorInfo& info() const { return GetErrorInfo(reason()); }

  std::shared_ptr<const Rep> rep_;
};

// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): `return value;` and `return status;` are the
  // point.
  Result(T value) : rep_(std::in_place_index<1>, std::move(value)) {}
  // REQUIRES: !status.ok()
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Status status) : rep_(std::in_place_index<0>, std::move(status)) {
    assert(!std::get<0>(rep_).ok());
  }

  bool ok() const { return rep_.index() == 1; }
  Status status() const { return ok() ? Status() : std::get<0>(rep_); }

  // REQUIRES: ok()
  T& value() & { return std::get<1>(rep_); }
  const T& value() const& { return std::get<1>(rep_); }
  T&& value() && { return std::get<1>(std::move(rep_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<Status, T> rep_;
};

}  // namespace strata

// Returns the status of `expr` from the enclosing function unless it is OK.
#define STRATA_RETURN_IF_ERROR(expr)                                                           \
  do {                                                                                         \
    if (::strata::Status strata_status_ = (expr); !strata_status_.ok()) return strata_status_; \
  } while (false)

#define STRATA_CONCAT_INNER_(a, b) a##b
#define STRATA_CONCAT_(a, b) STRATA_CONCAT_INNER_(a, b)
// STRATA_ASSIGN_OR_RETURN(auto x, Call()): x is the value, or the enclosing function returns the
// status.
#define STRATA_ASSIGN_OR_RETURN(lhs, expr)                    \
  auto STRATA_CONCAT_(strata_result_, __LINE__) = (expr);     \
  if (!STRATA_CONCAT_(strata_result_, __LINE__).ok())         \
    return STRATA_CONCAT_(strata_result_, __LINE__).status(); \
  lhs = std::move(STRATA_CONCAT_(strata_result_, __LINE__)).value()
