// recvmsg() of the program stratad, in the place of the C library's: what gRPC receives passes
// InspectReceived() first. inbound_guard.h says why.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "server/inbound_guard.h"

extern "C" __attribute__((visibility("default"))) ssize_t recvmsg(int fd, msghdr* message,
                                                                  int flags) {
  const ssize_t size = syscall(SYS_recvmsg, fd, message, flags);
  if (size < 0 && errno == EAGAIN) return size;
  const int error = errno;
  if ((flags & MSG_PEEK) != 0 || strata::server::InspectReceived(fd, *message, size)) {
    errno = error;
    return size;
  }
  shutdown(fd, SHUT_RDWR);
  errno = ECONNRESET;
  return -1;
}
