// Greeting: what a client says first on a connection, and what it is told if it may not go on.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace strata::server {

enum class Greeting {
  kIncomplete,  // so far it could become HTTP/2
  kHttp2,       // the whole preface of HTTP/2
  kHttp1,       // a request of HTTP/1, as browsers and probes send it
  kOther,       // neither; TLS, for example
};

// As many bytes are needed to know.
inline constexpr size_t kGreetingSize = 24;

// `bytes`: all that the client has sent, or the first kGreetingSize of it.
Greeting JudgeGreeting(std::string_view bytes);

// The server's settings, as HTTP/2 demands them, and a GOAWAY (ENHANCE_YOUR_CALM) with `why`, which
// gRPC's clients show to their users. No call of the connection was, or will be, handled.
std::string Http2Refusal(std::string_view why);
// A "400 Bad Request" with `why`.
std::string Http1Refusal(std::string_view why);

}  // namespace strata::server
