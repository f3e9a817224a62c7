#include "base/status.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace strata {
namespace {

struct Row {
  int number;
  std::string name;
};

const std::vector<Row>& Catalog() {
  static const std::vector<Row> kRows = {
#define STRATA_ERROR(number, name, canonical, retryable, fate, text, what) {number, #name},
#include "base/error_catalog.inc"
#undef STRATA_ERROR
  };
  return kRows;
}

TEST_CASE("the numbers of the error catalog ascend from 1, so that none is given twice") {
  REQUIRE(Catalog().size() >= 30);
  CHECK(Catalog().front().number == 1);
  std::set<std::string> names;
  for (size_t i = 0; i < Catalog().size(); ++i) {
    INFO(Catalog()[i].name);
    if (i > 0) CHECK(Catalog()[i].number > Catalog()[i - 1].number);
    CHECK(names.insert(Catalog()[i].name).second);
  }
}

TEST_CASE("every reason finds its own row, with a name, a sentence and advice") {
  for (const Row& row : Catalog()) {
    INFO(row.name);
    const ErrorInfo& info = GetErrorInfo(static_cast<Reason>(row.number));
    CHECK(static_cast<int>(info.reason) == row.number);
    CHECK(info.name == row.name);
    CHECK(row.name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == std::string::npos);
    CHECK(std::string(info.text).ends_with('.'));
    CHECK(std::string(info.what_to_do).ends_with('.'));
    CHECK(info.canonical != CanonicalCode::kOk);
  }
}

TEST_CASE("a reason that this version does not know counts as INTERNAL") {
  CHECK(GetErrorInfo(static_cast<Reason>(60'000)).reason == Reason::INTERNAL);
  CHECK(GetErrorInfo(Reason::OK).reason == Reason::OK);
}

TEST_CASE("a default status is OK and says so") {
  const Status status;
  CHECK(status.ok());
  CHECK(status.reason() == Reason::OK);
  CHECK(status.canonical() == CanonicalCode::kOk);
  CHECK(status.fate() == DataFate::kNotApplicable);
  CHECK_FALSE(status.retryable());
  CHECK(status.message().empty());
  CHECK(status.ToString() == "OK");
  CHECK(status.WithContext("somewhere").ok());
  CHECK(status.WithFate(DataFate::kAppended).fate() == DataFate::kNotApplicable);
}

TEST_CASE("a failed status takes code, retryability and fate from the catalog") {
  const Status status(Reason::BACK_PRESSURE, "67108864 bytes wait");
  CHECK_FALSE(status.ok());
  CHECK(status.canonical() == CanonicalCode::kResourceExhausted);
  CHECK(status.retryable());
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(status.ToString() == "BACK_PRESSURE: 67108864 bytes wait (not appended)");
}

TEST_CASE("another fate and a context make new statuses and leave the old one alone") {
  const Status status(Reason::STORE_FAILED, "fdatasync: Input/output error");
  const Status unknown =
      status.WithFate(DataFate::kMayHaveBeenAppended).WithContext("channel 'logs'");
  CHECK(unknown.ToString() ==
        "STORE_FAILED: channel 'logs': fdatasync: Input/output error (may have been appended)");
  CHECK(unknown.reason() == Reason::STORE_FAILED);
  CHECK(status.ToString() == "STORE_FAILED: fdatasync: Input/output error (not appended)");
}

TEST_CASE("a status that has nothing to do with appends says nothing of data") {
  CHECK(Status(Reason::STORE_LOCKED, "held by 17").ToString() == "STORE_LOCKED: held by 17");
  CHECK(Status(Reason::INTERNAL, "a bug").WithFate(DataFate::kAppended).ToString() ==
        "INTERNAL: a bug (appended)");
}

Result<int> Half(int number) {
  if (number % 2 != 0) return Status(Reason::INVALID_ARGUMENT, std::to_string(number) + " is odd");
  return number / 2;
}

Result<int> Quarter(int number) {
  STRATA_ASSIGN_OR_RETURN(const int half, Half(number));
  STRATA_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status MustBeEven(int number) {
  STRATA_RETURN_IF_ERROR(Half(number).status());
  return Status::Ok();
}

TEST_CASE("a result is a value or the status that says why there is none") {
  CHECK(Quarter(8).ok());
  CHECK(*Quarter(8) == 2);
  CHECK(Quarter(8).status().ok());
  CHECK(Quarter(6).status().message() == "3 is odd");
  CHECK(Quarter(5).status().message() == "5 is odd");
  CHECK(MustBeEven(2).ok());
  CHECK(MustBeEven(3).reason() == Reason::INVALID_ARGUMENT);
}

TEST_CASE("a result hands on what can only be moved") {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  const std::unique_ptr<int> value = *std::move(result);
  CHECK(*value == 7);
  Result<std::string> text(std::string("abc"));
  text->append("d");
  CHECK(text.value() == "abcd");
}

}  // namespace
}  // namespace strata
