#include "broker/config.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>

#include <yaml-cpp/yaml.h>

#include "broker/config_milvus.h"
#include "broker/config_table.h"
#include "broker/config_values.h"

namespace strata::broker {
namespace {

// So that a whole milvus.yaml given by mistake does not scroll its own reason away.
constexpr size_t kMaxMistakes = 20;

// Two underscores: Kubernetes gives every pod STRATA_SERVER_PORT=tcp://... where there is a service strata-server.
constexpr char kVariables[] = "STRATA__";

const ConfigKey* FindKey(const std::string& name) {
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

bool IsSection(const std::string& name) {
  const auto& sections = ConfigSections();
  return std::any_of(sections.begin(), sections.end(),
                     [&](const ConfigSection& section) { return section.name == name; });
}

// Collects settings and mistakes; knows where each came from.
class Loader {
 public:
  Loader() {
    for (const ConfigKey& key : ConfigKeys()) Assign(key, key.default_text, "default");
    set_.clear();
  }

  void LoadFile(const std::string& path);
  void LoadEnvironment(const std::vector<std::string>& environment);
  void Override(const std::string& text);
  void CheckTogether();
  Result<Config> Finish();

 private:
  void Assign(const ConfigKey& key, const std::string& text, const std::string& where);
  void UnknownKey(const std::string& name, const std::string& where);
  void LoadSection(const std::string& section, const YAML::Node& node);
  void LoadValue(const std::string& name, const YAML::Node& node, const std::string& where);
  // At the top: a section, or a key with its whole name.
  void LoadTop(const std::string& name, const YAML::Node& node, const std::string& where);
  // Nothing of it is taken: each line is told what says the same here.
  void RefuseNatsmq(const std::string& key, const YAML::Node& node, const std::string& where);
  void RefuseMilvusSections();
  // False, and a mistake, if the file has the name already.
  bool First(const std::string& name, const std::string& where);
  void Mistake(const std::string& where, const std::string& text);
  std::string Where(const YAML::Mark& mark) const {
    return fmt::format("{}:{}", file_, mark.line + 1);
  }

  Config config_;
  std::string file_;
  std::map<std::string, std::string> in_file_;  // name -> where
  std::map<std::string, std::string> set_;      // keys that are not at their default -> where
  std::vector<std::pair<std::string, std::string>> milvus_;  // sections of a milvus.yaml -> where
  std::vector<std::string> mistakes_;
};

// One line each, also where a value or a key has line breaks of its own.
void Loader::Mistake(const std::string& where, const std::string& text) {
  std::string line;
  for (const char c : where + ": " + text) {
    const auto byte = static_cast<unsigned char>(c);
    line += byte >= 0x20 && byte != 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  mistakes_.push_back(std::move(line));
}

void Loader::Assign(const ConfigKey& key, const std::string& text, const std::string& where) {
  // The system takes a path or an address up to the first zero byte: it would be another one.
  if (text.find('\0') != std::string::npos) return Mistake(where, key.name + ": has a zero byte");
  config_.texts[key.name] = text;
  const Status status = key.set(text, &config_);
  if (!status.ok()) Mistake(where, key.name + ": " + status.message());
  set_[key.name] = where;
}

void Loader::UnknownKey(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) names.push_back(key.name);
  const bool section = name.find('.') == std::string::npos;
  if (section) {
    for (const ConfigSection& known : ConfigSections()) names.push_back(known.name);
  }
  const std::string near = NearestName(name, names);
  Mistake(where, fmt::format("{}: unknown {}{}", name, section ? "section or key" : "key",
                             near.empty() ? "; conf/strata.yaml has them all"
                                          : "; did you mean " + near + "?"));
}

bool Loader::First(const std::string& name, const std::string& where) {
  const auto [earlier, first] = in_file_.emplace(name, where);
  if (!first) {
    Mistake(where, fmt::format("{}: given twice; the first is at {}", name, earlier->second));
  }
  return first;
}

void Loader::LoadValue(const std::string& name, const YAML::Node& node, const std::string& where) {
  const ConfigKey* key = FindKey(name);
  if (key == nullptr) return UnknownKey(name, where);
  if (!First(name, where)) return;
  std::string text;
  if (node.IsScalar()) {
    text = node.Scalar();
  } else if (node.IsSequence()) {
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) return Mistake(where, name + ": a list inside a list");
      text += (text.empty() ? "" : ",") + item.Scalar();
    }
    text = "[" + text + "]";
  } else if (node.IsNull()) {
    return Mistake(where, fmt::format("{}: has no value; it takes {}", name, key->values));
  } else {
    return Mistake(where, fmt::format("{}: is not a section; it takes {}", name, key->values));
  }
  Assign(*key, text, where);
}

void Loader::LoadSection(const std::string& section, const YAML::Node& node) {
  if (node.IsNull()) return;
  for (const auto& entry : node) {
    const std::string where = Where(entry.first.Mark());
    if (!entry.first.IsScalar()) {
      Mistake(where, section + ": a key must be a plain name");
      continue;
    }
    LoadValue(section + "." + entry.first.Scalar(), entry.second, where);
  }
}

void Loader::RefuseNatsmq(const std::string& key, const YAML::Node& node,
                          const std::string& where) {
  // Three levels are what it has; an alias of YAML may lead back to itself.
  if (node.IsMap() && std::count(key.begin(), key.end(), '.') < 2) {
    for (const auto& entry : node) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      RefuseNatsmq(key.empty() ? name : key + "." + name, entry.second, Where(entry.first.Mark()));
    }
    return;
  }
  const std::string value = node.IsScalar() ? node.Scalar() : "";
  Mistake(where, fmt::format("natsmq{}{}: is a setting of NATS; {}", key.empty() ? "" : ".", key,
                             InsteadOfNatsmq(key, value)));
}

void Loader::RefuseMilvusSections() {
  if (milvus_.empty()) return;
  std::vector<std::string> names;
  for (const auto& [name, where] : milvus_) names.push_back(name);
  Mistake(milvus_.front().second,
          fmt::format("{}: {} of Milvus, which Strata has no use for; of a milvus.yaml keep the "
                      "rocksmq section alone",
                      fmt::join(names, ", "), names.size() == 1 ? "is a section" : "are sections"));
}

void Loader::LoadTop(const std::string& name, const YAML::Node& node, const std::string& where) {
  if (name == "natsmq") return RefuseNatsmq("", node, where);
  if (IsMilvusSection(name)) return void(milvus_.emplace_back(name, where));
  if (!IsSection(name)) {
    // "server.port: 1" at the top means what it says.
    return FindKey(name) != nullptr ? LoadValue(name, node, where) : UnknownKey(name, where);
  }
  if (!node.IsMap() && !node.IsNull()) {
    return Mistake(where, name + ": is a section; its keys go below it, indented");
  }
  if (First(name, where)) LoadSection(name, node);
}

void Loader::LoadFile(const std::string& path) {
  file_ = path;
  std::ifstream in(path);
  std::error_code ignored;
  // A directory opens like a file, and then looks empty.
  if (!in || std::filesystem::is_directory(path, ignored)) {
    return Mistake(path, "cannot be read; is it a file, and may this user read it?");
  }
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return;
    if (!root.IsMap()) return Mistake(Where(root.Mark()), "not a YAML mapping of sections");
    for (const auto& entry : root) {
      LoadTop(entry.first.IsScalar() ? entry.first.Scalar() : "?", entry.second,
              Where(entry.first.Mark()));
    }
    RefuseMilvusSections();
  } catch (const YAML::Exception& e) {
    std::istringstream lines(text);
    std::string line;
    for (int i = 0; i <= e.mark.line && std::getline(lines, line); ++i) continue;
    const bool tab = line.find('\t') < line.find_first_not_of(" \t");
    Mistake(Where(e.mark),
            "not valid YAML: " + e.msg + (tab ? "; indent with blanks, YAML takes no tabs" : ""));
  }
}

void Loader::LoadEnvironment(const std::vector<std::string>& environment) {
  for (const std::string& text : environment) {
    const size_t equals = text.find('=');
    const std::string variable = text.substr(0, equals);
    if (equals == std::string::npos || !variable.starts_with(kVariables)) continue;
    std::vector<std::string> known;
    const ConfigKey* found = nullptr;
    for (const ConfigKey& key : ConfigKeys()) {
      known.push_back(EnvironmentName(key.name));
      if (known.back() == variable) found = &key;
    }
    if (found != nullptr) {
      Assign(*found, text.substr(equals + 1), "environment " + variable);
      continue;
    }
    const std::string near = NearestName(variable, known);
    Mistake("environment " + variable,
            near.empty() ? "no setting has this variable; docs/configuration.md says how they are "
                           "called"
                         : "no setting has this variable; did you mean " + near + "?");
  }
}

void Loader::Override(const std::string& text) {
  const std::string where = "--set " + text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Mistake(where, "is not of the form key=value, as in server.port=7470");
  }
  const std::string name = text.substr(0, equals);
  const ConfigKey* key = FindKey(name);
  if (key == nullptr) return UnknownKey(name, where);
  Assign(*key, text.substr(equals + 1), where);
}

bool IsLoopback(const std::string& address) {
  in6_addr bytes;
  if (inet_pton(AF_INET, address.c_str(), &bytes) == 1) return bytes.s6_addr[0] == 127;
  return inet_pton(AF_INET6, address.c_str(), &bytes) == 1 && IN6_IS_ADDR_LOOPBACK(&bytes);
}

// What no key can say alone.
void Loader::CheckTogether() {
  const ServerSettings& server = config_.server;
  const std::string where = set_.contains("server.address") ? set_["server.address"] : "default";
  if (server.address.empty() && server.unix_socket.empty()) {
    Mistake(where, "server.address: none, and no server.unixSocket: nobody could connect");
  }
  if (!server.address.empty() && !IsLoopback(server.address) && !server.insecure) {
    Mistake(where, fmt::format("server.address: {} can be reached from other machines, and this "
                               "version has neither TLS nor authentication; use 127.0.0.1 or "
                               "server.unixSocket, or accept that with server.insecure: true",
                               server.address));
  }
}

Result<Config> Loader::Finish() {
  if (!mistakes_.empty()) {
    const size_t shown = std::min(mistakes_.size(), kMaxMistakes);
    std::string text =
        fmt::format("{}", fmt::join(mistakes_.begin(), mistakes_.begin() + shown, "\n"));
    if (shown < mistakes_.size()) {
      text += fmt::format("\n... and {} more", mistakes_.size() - shown);
    }
    return Status(Reason::INVALID_CONFIG, text);
  }
  return std::move(config_);
}

// `text` in lines of at most 100 columns, each after `prefix`.
std::string Wrap(const std::string& text, const std::string& prefix) {
  std::istringstream words(text);
  std::string out;
  std::string line = prefix;
  for (std::string word; words >> word;) {
    if (line.size() + 1 + word.size() > 100) {
      out += line + "\n";
      line = prefix;
    }
    line += " " + word;
  }
  return out + line + "\n";
}

}  // namespace

std::string EnvironmentName(const std::string& name) {
  std::string variable = kVariables;
  for (const char c : name) {
    if (c == '.') {
      variable += "__";
    } else {
      variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
  }
  return variable;
}

std::vector<std::string> ProcessEnvironment() {
  std::vector<std::string> all;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) all.emplace_back(*each);
  return all;
}

Result<Config> LoadConfig(const std::string& path, const std::vector<std::string>& overrides,
                          const std::vector<std::string>& environment) {
  Loader loader;
  if (!path.empty()) loader.LoadFile(path);
  loader.LoadEnvironment(environment);
  for (const std::string& text : overrides) loader.Override(text);
  loader.CheckTogether();
  return loader.Finish();
}

ConfigChanges Compare(const Config& before, const Config& after) {
  ConfigChanges changes;
  for (const ConfigKey& key : ConfigKeys()) {
    if (before.texts.at(key.name) == after.texts.at(key.name)) continue;
    (key.reloads ? changes.reloaded : changes.later).push_back(key.name);
  }
  return changes;
}

std::string DefaultConfigFile() {
  std::string out =
      "# The settings of stratad and of embedded brokers. Every key is here with its default; a "
      "key "
      "that\n# is left out has it, too. Anything unknown is refused.\n#\n#   stratad --config FILE "
      "[--set section.key=value]... [--check-config]\n#\n# STRATA__SECTION__KEY in stratad's "
      "environment counts over the file, --set over both.\n";
  for (const ConfigSection& section : ConfigSections()) {
    out += "\n" + Wrap(section.doc, "#") + section.name + ":\n";
    bool first = true;
    for (const ConfigKey& key : ConfigKeys()) {
      if (!key.name.starts_with(section.name + ".")) continue;
      if (!first) out += "\n";
      first = false;
      out +=
          Wrap(key.doc, "  #") +
          Wrap("Takes " + key.values + "." + (key.reloads ? " SIGHUP takes it over." : ""), "  #");
      out += "  " + key.name.substr(section.name.size() + 1) + ": " + key.default_text + "\n";
    }
  }
  return out;
}

}  // namespace strata::broker
