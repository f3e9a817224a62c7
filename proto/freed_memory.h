// Lets the allocator keep the memory that messages of a megabyte come and go in.
//
// glibc gives what is free at the end of a heap back to the system as soon as that is twice the
// largest block which was ever mapped and freed: 2 MiB, with batches of 1 MiB. A reader that
// receives 4 MiB ahead crosses that line with every batch, so that each page of what gRPC receives
// into, and of the batch put together from it, was zeroed by the kernel and faulted in again:
// measured, 180,000 page faults per GB replayed over the Unix socket, 0.35 of the client's 0.53 CPU
// seconds, and 800 MB/s instead of 1,700.
//
// So the line is raised in the way in which glibc raises it by itself: a block of 8 MiB is mapped and
// freed, untouched. From then on blocks up to 8 MiB come from the heap and it keeps up to 16 MiB free,
// as in any process that has freed a message of that size. Limits that the process or its
// environment has set (mallopt, MALLOC_TRIM_THRESHOLD_, GLIBC_TUNABLES) stay as they are.
#pragma once

namespace strata {

// Idempotent; any thread. Called before the first channel or server is made.
void KeepFreedMemory();

}  // namespace strata
