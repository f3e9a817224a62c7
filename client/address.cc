#include "client/address.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "client/calls.h"

namespace strata {
namespace {

constexpr std::string_view kForms =
    "an address is HOST:PORT, unix:PATH or embedded:DIRECTORY[?config=FILE]";

Status Refuse(const std::string& text, const std::string& why) {
  return NothingAppended(Status(Reason::INVALID_ARGUMENT, "the address '" + text + "' " + why));
}

bool TakePrefix(std::string_view prefix, std::string_view* text) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

// gRPC takes targets as URIs and gives up on characters that a URI must not have.
std::string UriPath(std::string_view path) {
  static constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-._~";
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : path) {
    if (kPlain.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

// Where `host` has something else than letters, digits, - . _ and `also`; npos: nowhere.
size_t FindForeign(std::string_view host, std::string_view also) {
  const auto foreign = std::find_if_not(host.begin(), host.end(), [also](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || also.find(c) != std::string_view::npos;
  });
  return foreign == host.end() ? std::string::npos : static_cast<size_t>(foreign - host.begin());
}

Result<Address> ParseUnix(const std::string& text, std::string_view path) {
  if (path.starts_with("///")) path.remove_prefix(2);  // unix:///run/x is unix:/run/x
  if (path.starts_with("//")) {
    return Refuse(text, "has two slashes, and a URI would take what follows for a machine; write" +
                            (" unix:" + std::string(path.substr(1))));
  }
  if (path.empty()) return Refuse(text, "names no socket; write unix:/run/strata/strata.sock");
  constexpr size_t kMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() > kMax) {
    return Refuse(text, "has a path of " + std::to_string(path.size()) + " bytes; a Unix socket's" +
                            " may have " + std::to_string(kMax) +
                            ", use a shorter or relative one");
  }
  return Address{Address::Kind::kUnix, "unix:" + UriPath(path), "", ""};
}

Result<Address> ParseEmbedded(const std::string& text, std::string_view rest) {
  Address address{Address::Kind::kEmbedded, "", std::string(rest), ""};
  if (const size_t question = rest.find('?'); question != std::string_view::npos) {
    address.directory = rest.substr(0, question);
    std::string_view option = rest.substr(question + 1);
    if (!TakePrefix("config=", &option) || option.empty()) {
      return Refuse(text, "has an unknown option after '?'; the only one is ?config=FILE");
    }
    address.config = option;
  }
  if (address.directory.empty()) {
    return Refuse(text, "names no directory; write embedded:/var/lib/strata");
  }
  return address;
}

Result<Address> ParseTcp(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (text.find("://") != std::string::npos) {
    return Refuse(text, "has a scheme that is not known; " + std::string(kForms));
  }
  if (text.find('/') != std::string::npos) {
    return Refuse(text, "looks like a path; write unix:" + text + " for a daemon's socket or" +
                            " embedded:" + text + " for a directory opened in this process");
  }
  const bool bracketed = text.starts_with('[') && text.find(']') != std::string::npos;
  if (bracketed && text.ends_with(']')) return Refuse(text, "has no port; write " + text + ":7470");
  if (colon == std::string::npos) return Refuse(text, "has no port; write " + text + ":7470");
  const std::string host = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  if (host.empty()) return Refuse(text, "has no host; write 127.0.0.1:" + port);
  if (!bracketed && host.find(':') != std::string::npos) {
    return Refuse(text, "has several colons; put an IPv6 address into brackets, as in [::1]:7470");
  }
  // gRPC would take what follows a '?' or '#' for another part of the URI, and dial its default port.
  if (const size_t wrong = FindForeign(host, bracketed ? ":[]%" : ""); wrong != std::string::npos) {
    return Refuse(text, "has, as character " + std::to_string(wrong + 1) + ", what no host has; " +
                            std::string(kForms));
  }
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number < 1 || number > 65535) {
    return Refuse(text, "has the port '" + port + "'; a port is 1 to 65535");
  }
  const bool digits = std::all_of(host.begin(), host.end(),
                                  [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
  // Literals need no resolver, which would ask the name server for more than an address.
  const std::string scheme = bracketed ? "ipv6:" : digits ? "ipv4:" : "dns:///";
  return Address{Address::Kind::kTcp, scheme + text, "", ""};
}

}  // namespace

Result<Address> ParseAddress(const std::string& text) {
  if (text.empty()) return Refuse(text, "is empty; " + std::string(kForms));
  // The system would see a shorter path.
  if (text.find('\0') != std::string::npos) return Refuse(text, "has a zero byte");
  std::string_view rest = text;
  if (TakePrefix("unix:", &rest)) return ParseUnix(text, rest);
  if (TakePrefix("embedded:", &rest)) return ParseEmbedded(text, rest);
  return ParseTcp(text);
}

}  // namespace strata
