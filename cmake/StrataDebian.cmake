# The Debian packages strata-server, strata-client and libstrata-dev: `cpack -G DEB` in a build folder that was
# configured with CMAKE_INSTALL_PREFIX=/usr; scripts/package does both.

set(CPACK_PACKAGE_NAME strata)
set(CPACK_PACKAGE_VENDOR "Strata")
set(CPACK_PACKAGE_CONTACT "Strata maintainers <root@localhost>")
set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_COMPONENTS_ALL server client dev)
set(CPACK_STRIP_FILES ON)
# Absolute: /etc does not lie below the prefix.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE OFF)
set(CPACK_DEBIAN_SERVER_PACKAGE_NAME strata-server)
set(CPACK_DEBIAN_SERVER_PACKAGE_SECTION database)
set(CPACK_DEBIAN_SERVER_DESCRIPTION "The daemon: stratad keeps ordered, append-only channels of messages on
RocksDB and serves them over gRPC. An append is acknowledged after the sync
that covers it; retention rules and a disk budget bound what is kept.")
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS "adduser")
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS "strata-client")
set(STRATA_DEBIAN "${PROJECT_SOURCE_DIR}/deploy/debian")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA "${STRATA_DEBIAN}/postinst" "${STRATA_DEBIAN}/prerm"
  "${STRATA_DEBIAN}/postrm" "${STRATA_DEBIAN}/conffiles")

set(CPACK_DEBIAN_CLIENT_PACKAGE_NAME strata-client)
set(CPACK_DEBIAN_CLIENT_PACKAGE_SECTION database)
set(CPACK_DEBIAN_CLIENT_DESCRIPTION "The command line: strata produces, consumes, shows and administers channels of
a stratad, and verifies, repairs and opens stores without one.")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libstrata-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_DESCRIPTION "For programs: headers and static libraries of the C++ client and of the broker
that runs in a process, CMake and pkg-config files, and the .proto files for
clients in other languages.")
# What strata-config.cmake looks for.
set(STRATA_DEV_PACKAGES
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev libfmt-dev
  librocksdb-dev libzstd-dev libxxhash-dev libisal-dev libyaml-cpp-dev "pkgconf | pkg-config")
list(JOIN STRATA_DEV_PACKAGES ", " CPACK_DEBIAN_DEV_PACKAGE_DEPENDS)

include(CPack)
