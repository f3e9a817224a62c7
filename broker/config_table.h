// The one table of all configuration keys. To add an option, add a row here and regenerate
// conf/strata.yaml (CONTRIBUTING.md); loading, checking, `--set`, the sample file and the nearest
// name of a misspelt key follow from it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "broker/config.h"

namespace strata::broker {

struct ConfigKey {
  std::string name;          // section.key
  std::string default_text;  // as one would write it in the file; parsed like any other value
  std::string values;        // what it takes, for people
  std::string doc;           // what it does and when to change it; one paragraph
  bool reloads;              // a running stratad takes it over at SIGHUP
  // Checks `text` and puts it into the config, or returns the reason why not.
  std::function<Status(const std::string& text, Config* config)> set;
};

struct ConfigSection {
  std::string name;
  std::string doc;
};

// In the order of conf/strata.yaml.
const std::vector<ConfigSection>& ConfigSections();
const std::vector<ConfigKey>& ConfigKeys();

}  // namespace strata::broker
