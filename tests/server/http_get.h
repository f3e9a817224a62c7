// One request over a socket, for the pages of an http server in a test.
#pragma once

#include <string>

namespace strata::testing {

// "200 body", or "" if nobody answers. `address` is "127.0.0.1:PORT".
std::string HttpGet(const std::string& address, const std::string& path);

// The whole answer to `method` ("GET", "HEAD"), head and body.
std::string HttpAnswer(const std::string& address, const std::string& method,
                       const std::string& path);

}  // namespace strata::testing
