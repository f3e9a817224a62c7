// The checksum of RocksDB's log, by the processor's instructions.
//
// RocksDB checks every byte of its log by CRC-32C. Debian builds it for any amd64, so its own
// implementation goes through tables: 1.2 GB/s here, which was 40 % of the write stage's time and the
// largest single cost of an append of 1 MiB. The instructions that compute it have been in every amd64
// since 2008; ISA-L picks them at run time (10 GB/s and more).
//
// RocksDB offers no hook for it, but exports the function: crc32c.cc defines rocksdb::crc32c::Extend
// once more, and the dynamic linker takes the program's definition before the library's. The results
// are the same, so files stay as they are. Where it does not apply (a static RocksDB, this code inside
// a plug-in opened with dlopen, a library linked with -Bsymbolic) RocksDB's own remains in use: slower,
// not wrong.
#pragma once

namespace strata::storage {

// Whether RocksDB's calls reach this implementation. Calling it is also what links it in.
bool HasFastCrc32c();

}  // namespace strata::storage
