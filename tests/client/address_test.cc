#include "client/address.h"

#include <string>
#include <vector>

#include "client/connect.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

Address Parse(const std::string& text) {
  const Result<Address> address = ParseAddress(text);
  INFO(text << ": " << address.status().ToString());
  REQUIRE(address.ok());
  return *address;
}

// Checks that the address is refused with a text that has all of `parts`.
void CheckRefused(const std::string& text, const std::vector<std::string>& parts) {
  const Result<Address> address = ParseAddress(text);
  INFO(text << ": " << address.status().ToString());
  REQUIRE_FALSE(address.ok());
  CHECK(address.status().reason() == Reason::INVALID_ARGUMENT);
  for (const std::string& part : parts) {
    INFO(part);
    CHECK(address.status().message().find(part) != std::string::npos);
  }
}

TEST_CASE("A host and a port are dialled over TCP, literals without a resolver") {
  CHECK(Parse("127.0.0.1:7470").target == "ipv4:127.0.0.1:7470");
  CHECK(Parse("[::1]:7470").target == "ipv6:[::1]:7470");
  CHECK(Parse("host.name:7470").target == "dns:///host.name:7470");
  CHECK(Parse("localhost:65535").kind == Address::Kind::kTcp);
}

TEST_CASE("A Unix socket is named by an absolute or relative path of any characters") {
  CHECK(Parse("unix:/run/strata/strata.sock").target == "unix:/run/strata/strata.sock");
  CHECK(Parse("unix:///run/strata.sock").target == "unix:/run/strata.sock");
  CHECK(Parse("unix:run/strata.sock").target == "unix:run/strata.sock");
  CHECK(Parse("unix:/a b%").target == "unix:/a%20b%25");
}

TEST_CASE("An embedded address has a directory and perhaps a configuration file") {
  CHECK(Parse("embedded:/var/lib/strata").directory == "/var/lib/strata");
  CHECK(Parse("embedded:data").directory == "data");
  const Address address = Parse("embedded:data?config=/etc/strata.yaml");
  CHECK(address.kind == Address::Kind::kEmbedded);
  CHECK(address.directory == "data");
  CHECK(address.config == "/etc/strata.yaml");
}

TEST_CASE("A host with what a URI gives a meaning of its own is refused") {
  for (const char* text : {"host?x:7470", "host#x:7470", "127.0.0.1?:7470", "host%41:7470",
                           "user@host:7470", "a b:7470", "h\xc3\xb6st:7470", "[::1]?:7470"}) {
    CheckRefused(text, {"no host has", "HOST:PORT"});
  }
  CHECK(Parse("a-host_1.example:7470").target == "dns:///a-host_1.example:7470");
  CHECK(Parse("[fe80::1%eth0]:7470").target == "ipv6:[fe80::1%eth0]:7470");
}

TEST_CASE("A Unix socket behind two slashes is refused: gRPC would not dial it") {
  CheckRefused("unix://run/strata.sock", {"two slashes", "write unix:/run/strata.sock"});
  CheckRefused("unix:////run/strata.sock", {"two slashes"});
}

TEST_CASE("A zero byte in an address is refused: the system would see a shorter one") {
  for (const std::string scheme : {"unix:", "embedded:", ""}) {
    CheckRefused(scheme + std::string("a\0b:1", 5), {"zero byte"});
  }
}

TEST_CASE("A lone path is refused with both things it could mean") {
  CheckRefused("/var/lib/strata", {"unix:/var/lib/strata", "embedded:/var/lib/strata"});
  CheckRefused("./data", {"embedded:./data"});
}

TEST_CASE("A missing or wrong part of an address is named") {
  CheckRefused("", {"empty", "HOST:PORT"});
  CheckRefused("localhost", {"no port", "localhost:7470"});
  CheckRefused("[::1]", {"no port"});
  CheckRefused(":7470", {"no host"});
  CheckRefused("::1:7470", {"brackets"});
  CheckRefused("localhost:", {"1 to 65535"});
  CheckRefused("localhost:0", {"1 to 65535"});
  CheckRefused("localhost:65536", {"1 to 65535"});
  CheckRefused("localhost:74x", {"'74x'"});
  CheckRefused("http://localhost:7470", {"scheme"});
  CheckRefused("unix:", {"no socket"});
  CheckRefused("unix:/" + std::string(200, 'x'), {"107"});
  CheckRefused("embedded:", {"no directory"});
  CheckRefused("embedded:?config=x", {"no directory"});
  CheckRefused("embedded:data?conf=x", {"?config=FILE"});
  CheckRefused("embedded:data?config=", {"?config=FILE"});
}

TEST_CASE("The gRPC transport alone refuses an embedded address and says what to link") {
  const auto client = ConnectRemote("embedded:/var/lib/strata");
  REQUIRE_FALSE(client.ok());
  CHECK(client.status().reason() == Reason::INVALID_ARGUMENT);
  CHECK(client.status().message().find("strata_embedded") != std::string::npos);
}

TEST_CASE("Connecting where nobody listens fails at once, with the address and the reason") {
  const auto client = ConnectRemote("unix:/nonexistent/strata.sock");
  REQUIRE_FALSE(client.ok());
  CHECK(client.status().reason() == Reason::CONNECTION_LOST);
  CHECK(client.status().fate() == DataFate::kNotApplicable);
  CHECK(client.status().message().find("unix:/nonexistent/strata.sock") != std::string::npos);
}

}  // namespace
}  // namespace strata
