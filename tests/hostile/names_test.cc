// Names that would be paths, terminals' or databases' trouble, and properties that are no text.
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/batch.h"
#include "client/connect.h"
#include "tests/hostile/siege.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

const std::vector<std::string>& BadNames() {
  static const std::vector<std::string> names = {
      "",
      ".",
      "..",
      "../x",
      "../../etc/passwd",
      "/etc/passwd",
      "a/b",
      "a\\b",
      "C:",
      std::string("nul\0byte", 8),
      std::string(1, '\0'),
      "new\nline",
      "\x1b[2J",
      "%2e%2e%2fx",
      "a b",
      "caf\xc3\xa9",
      "\xff\xfe",
      "\xc0\xae\xc0\xae/",
      "\xed\xa0\x80",
      std::string(250, 'x'),
      std::string(100'000, 'x'),
  };
  return names;
}

// Windows' and tools' special names are names like others here.
const std::vector<std::string>& GoodNames() {
  static const std::vector<std::string> names = {
      "con", "nul", "...", "-rf", "_", "CURRENT", std::string(249, 'x')};
  return names;
}

std::set<std::string> FilesAround(const std::string& data) {
  std::set<std::string> found;
  const std::filesystem::path parent = std::filesystem::path(data).parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(parent)) {
    found.insert(entry.path().filename().string());
  }
  return found;
}

TEST_CASE("names are checked wherever they come in, and are never paths") {
  Siege siege;
  const std::string socket = siege.unix_socket().substr(5);
  const std::set<std::string> before = FilesAround(socket);
  auto connected = ConnectRemote(siege.tcp());
  REQUIRE(connected.ok());
  Client& client = **connected;
  REQUIRE(client.CreateChannel("c").ok());
  BatchBuilder batch;
  batch.Add("x");
  const Buffer bytes = batch.Take();
  for (const std::string& name : BadNames()) {
    INFO("'" << name.substr(0, 300) << "', " << name.size() << " bytes");
    CHECK_FALSE(client.CreateChannel(name).ok());
    CHECK_FALSE(client.DeleteChannel(name).ok());
    CHECK_FALSE(client.Append(name, bytes).ok());
    ProducerOptions create;
    create.create_if_missing = true;
    CHECK_FALSE(client.OpenProducer(name, create).ok());
    CHECK_FALSE(client.OpenReader(name, StartPosition::Earliest()).ok());
    CHECK_FALSE(client.CreateSubscription("c", name, StartPosition::Earliest()).ok());
    ProducerOptions named;
    named.name = name;
    // Without a name it is a plain producer.
    CHECK(client.OpenProducer("c", named).ok() == name.empty());
  }
  for (const std::string& name : GoodNames()) {
    INFO("'" << name << "'");
    CHECK(client.CreateChannel(name).ok());
    CHECK(client.Append(name, bytes).ok());
    CHECK(client.CreateSubscription("c", name, StartPosition::Earliest()).ok());
    ProducerOptions named;
    named.name = name;
    CHECK(client.OpenProducer("c", named).ok());
  }
  connected->reset();
  CHECK(FilesAround(socket) == before);
  const Toll toll = siege.End();
  INFO(toll.ToString());
  CHECK(toll.alive);
  CHECK(toll.bystander == "");
}

TEST_CASE("properties that are no text are refused, not stored") {
  Siege siege;
  auto connected = ConnectRemote(siege.tcp());
  REQUIRE(connected.ok());
  Client& client = **connected;
  const auto info = client.CreateChannel("c");
  REQUIRE(info.ok());
  for (const std::string& bad :
       {std::string("\xff"), std::string("\xc0\x80"), std::string("\xed\xa0\x80"),
        std::string("\xf4\x90\x80\x80"), std::string("\xe2\x82"), std::string("ok\x80")}) {
    for (const bool in_key : {false, true}) {
      Message message;
      message.payload = "x";
      message.properties[in_key ? bad : "key"] = in_key ? "value" : bad;
      BatchBuilder batch;
      batch.Add(message);
      const auto result = client.Append("c", batch.Take());
      REQUIRE_FALSE(result.ok());
      CHECK(result.status().fate() == DataFate::kNotAppended);
    }
  }
  const auto after = client.DescribeChannel("c");
  REQUIRE(after.ok());
  CHECK(after->next_id == info->next_id);
  connected->reset();
  const Toll toll = siege.End();
  CHECK(toll.alive);
  CHECK(toll.bystander == "");
}

}  // namespace
}  // namespace strata::testing
