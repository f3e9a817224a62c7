# What the build takes from Debian (scripts/packages installs it). Shared libraries throughout.
#
# A library whose CMake file asks for development packages that the library does not need at run
# time is taken from pkg-config instead.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl REQUIRED CONFIG)
find_package(fmt REQUIRED CONFIG)
find_package(spdlog REQUIRED CONFIG)
find_package(Catch2 REQUIRED CONFIG)

if(STRATA_SEAM_ONLY)
  return()
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(rocksdb REQUIRED IMPORTED_TARGET rocksdb)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(isal REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(yaml_cpp REQUIRED IMPORTED_TARGET yaml-cpp)
pkg_check_modules(systemd REQUIRED IMPORTED_TARGET libsystemd)

find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED CONFIG)
find_package(civetweb REQUIRED CONFIG)
find_package(prometheus-cpp REQUIRED CONFIG)
find_package(CLI11 REQUIRED CONFIG)
find_package(nlohmann_json REQUIRED CONFIG)
find_package(benchmark REQUIRED CONFIG)

# Only for comparing with NATS (bench/peers/nats).
pkg_check_modules(libnats IMPORTED_TARGET libnats)
