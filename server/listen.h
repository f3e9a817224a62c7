// Addresses to listen on: what gRPC and the http server leave to us, above all saying why one
// cannot be had.
#pragma once

#include <string>

#include "base/status.h"

namespace strata::server {

// "127.0.0.1:7470", "[::1]:7470".
std::string FormatAddress(const std::string& address, int port);

// Binds for a moment. IO_ERROR names the address, the system's reason and the key to change
// ("server.port"). Port 0 only checks the address.
Status ProbeTcp(const std::string& address, int port, const std::string& key);

// A socket that listens. Whoever has it closes it.
struct Listening {
  int fd = -1;
  int port = 0;  // of TCP
};

// Listens; errors as of ProbeTcp(). Port 0 takes a free one.
Result<Listening> ListenTcp(const std::string& address, int port, const std::string& key);
// REQUIRES: PrepareUnixSocket(path) was OK.
Result<Listening> ListenUnix(const std::string& path);

// Connects to an address that this process listens on, and lets go at once: wakes who waits for
// connections.
void Knock(const std::string& address, int port);

// Makes way for a Unix socket: removes the file that a killed server left behind. IO_ERROR, and
// nothing removed, if a server answers on it, if it is no socket, or if its folder does not exist.
Status PrepareUnixSocket(const std::string& path);

// Removes the socket file at the end, if it is one.
void RemoveUnixSocket(const std::string& path);

// Raises the limit on open files as far as the system allows and returns it. RocksDB fails for good
// if it cannot open a file for its log.
uint64_t RaiseOpenFileLimit();
// The limit as it is.
uint64_t OpenFileLimit();

}  // namespace strata::server
