#include "proto/status_mapping.h"

#include <string>

#include "base/utf8.h"
#include "base/wire.h"
#include "strata/v1/types.pb.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

TEST_CASE("every reason of the catalog comes through gRPC with its code, text and fate"){
#define STRATA_ERROR(number, name, canonical_code, is_retryable, usual_fate, text, what)           \
  SECTION(#name) {                                                                                 \
    const Status sent(Reason::name, "in channel 'x', at byte 7");                                  \
    const grpc::Status wire = ToGrpc(sent);                                                        \
    CHECK(static_cast<int>(wire.error_code()) == static_cast<int>(CanonicalCode::canonical_code)); \
    CHECK(wire.error_message() == #name ": in channel 'x', at byte 7");                            \
    const Status got = FromGrpc(wire, DataFate::kAppended);                                        \
    CHECK(got.reason() == Reason::name);                                                           \
    CHECK(got.message() == sent.message());                                                        \
    CHECK(got.fate() == DataFate::usual_fate);                                                     \
    CHECK(got.retryable() == is_retryable);                                                        \
  }
#include "base/error_catalog.inc"
#undef STRATA_ERROR
}

TEST_CASE("a fate that is not the reason's usual one comes through") {
  for (const DataFate fate : {DataFate::kNotApplicable, DataFate::kNotAppended,
                              DataFate::kMayHaveBeenAppended, DataFate::kAppended}) {
    const Status sent = Status(Reason::STORE_FAILED, "sync failed").WithFate(fate);
    CHECK(FromGrpc(ToGrpc(sent), DataFate::kNotAppended).fate() == fate);
  }
}

TEST_CASE("OK stays OK") {
  CHECK(ToGrpc(Status()).ok());
  CHECK(FromGrpc(grpc::Status::OK, DataFate::kMayHaveBeenAppended).ok());
}

// A client in another language reads the trailer as a google.rpc.Status: code 1, message 2, details
// 3 of google.protobuf.Any.
TEST_CASE("the details are a google.rpc.Status with one ErrorDetail") {
  const grpc::Status wire = ToGrpc(Status(Reason::BACK_PRESSURE, "full"));
  const Buffer bytes(wire.error_details());
  wire::Cursor cursor(bytes);
  wire::Tag tag;
  uint64_t code = 0;
  REQUIRE(cursor.ReadTag(&tag));
  CHECK(tag.field == 1);
  REQUIRE(cursor.ReadVarint(&code));
  CHECK(code == 8);
  size_t length = 0;
  std::string scratch;
  std::string_view text;
  REQUIRE((cursor.ReadTag(&tag) && cursor.ReadLength(&length)));
  CHECK(tag.field == 2);
  REQUIRE(cursor.ReadBytes(length, &scratch, &text));
  CHECK(text == "BACK_PRESSURE: full");
  REQUIRE((cursor.ReadTag(&tag) && cursor.ReadLength(&length)));
  CHECK(tag.field == 3);
  REQUIRE(cursor.ReadBytes(length, &scratch, &text));
  CHECK(text.find("type.googleapis.com/strata.v1.ErrorDetail") != std::string_view::npos);
  CHECK(cursor.AtEnd());
}

TEST_CASE("an error of gRPC's own gets the nearest reason and the fate that the caller knows") {
  const struct {
    grpc::StatusCode code;
    Reason reason;
  } rows[] = {
      {grpc::StatusCode::UNAVAILABLE, Reason::CONNECTION_LOST},
      {grpc::StatusCode::DEADLINE_EXCEEDED, Reason::TIMEOUT},
      {grpc::StatusCode::CANCELLED, Reason::CANCELLED},
      {grpc::StatusCode::UNIMPLEMENTED, Reason::NOT_SUPPORTED},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, Reason::BATCH_TOO_LARGE},
      {grpc::StatusCode::INTERNAL, Reason::INTERNAL},
      {grpc::StatusCode::UNKNOWN, Reason::INTERNAL},
  };
  for (const auto& row : rows) {
    const Status got =
        FromGrpc(grpc::Status(row.code, "as gRPC says"), DataFate::kMayHaveBeenAppended);
    CHECK(got.reason() == row.reason);
    CHECK(got.message() == "as gRPC says");
    CHECK(got.fate() == DataFate::kMayHaveBeenAppended);
  }
}

TEST_CASE("a reason of a newer server becomes the nearest one and keeps its name and fate") {
  grpc::Status wire = ToGrpc(Status(Reason::MESSAGE_TOO_LARGE, "x"));
  std::string details = wire.error_details();
  // The number 4 inside the detail (tag 0x08), and a fate that only the newer one knows.
  const size_t at = details.find(std::string("\x08\x04\x12\x11MESSAGE_TOO_LARGE"));
  REQUIRE(at != std::string::npos);
  details[at + 1] = 0x7f;
  details.replace(at + 4, 17, "DISK_IS_TOO_ROUND");
  const Status got = FromGrpc(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "m", details),
                              DataFate::kMayHaveBeenAppended);
  CHECK(got.reason() == Reason::INVALID_ARGUMENT);
  CHECK(got.fate() == DataFate::kNotAppended);
  CHECK(got.message() == "x (the server calls it DISK_IS_TOO_ROUND)");
}

TEST_CASE("details that are garbage are ignored") {
  for (const std::string& details : {std::string("\xff\xff\xff"), std::string(1, '\0'),
                                     std::string("\x1a\x05"
                                                 "abc"),
                                     std::string("\x1a\x03"
                                                 "abc")}) {
    const Status got = FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone", details),
                                DataFate::kNotApplicable);
    CHECK(got.reason() == Reason::CONNECTION_LOST);
    CHECK(got.message() == "gone");
  }
}

TEST_CASE("long texts and bytes that are no text still fit into a trailer") {
  const grpc::Status longest = ToGrpc(Status(Reason::INTERNAL, std::string(100'000, 'x')));
  CHECK(longest.error_message().size() < 1100);
  CHECK(longest.error_details().size() < 4000);
  // Cut between characters: each has two bytes.
  std::string umlauts;
  for (int i = 0; i < 1000; ++i) umlauts += "\xc3\xa4";
  const grpc::Status cut = ToGrpc(Status(Reason::INTERNAL, umlauts));
  CHECK(IsValidUtf8(cut.error_message()));
  CHECK(cut.error_message().size() > 1000);
  CHECK(ToGrpc(Status(Reason::INTERNAL,
                      "a\xff"
                      "b"))
            .error_message() == "INTERNAL: a?b");
}

}  // namespace
}  // namespace strata
