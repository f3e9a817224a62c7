// What fuzzers need that compare with protobuf.
#pragma once

#include <string>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message_lite.h>
#include <google/protobuf/stubs/logging.h>

namespace strata::fuzz {

// It would print a line for every text that is not UTF-8.
[[maybe_unused]] inline const auto kBefore = google::protobuf::SetLogHandler(nullptr);

// The same bytes for the same message: maps in the order of their keys.
inline std::string Deterministic(const google::protobuf::MessageLite& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&out);
  }
  return bytes;
}

}  // namespace strata::fuzz
