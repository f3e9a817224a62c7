# What is installed, in three components, which are also the Debian packages (StrataDebian.cmake):
#
#   server  stratad, its settings and its systemd unit
#   client  the command strata
#   dev     headers, static libraries, .proto files; for CMake find_package(strata), and pkg-config
#
# A project of its own uses the last one so (docs/sdk.md):
#
#   find_package(strata REQUIRED)                       # or COMPONENTS client embedded testing
#   target_link_libraries(mine PRIVATE strata::client)  # gRPC, no RocksDB
#   target_link_libraries(mine PRIVATE strata::embedded strata::testing)

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Public headers include each other from the root of the repository, "base/status.h": they get a root of their own.
set(STRATA_HEADERS ${CMAKE_INSTALL_INCLUDEDIR}/strata)
set(STRATA_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/strata)

install(TARGETS stratad COMPONENT server RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS strata COMPONENT client RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES conf/strata.yaml COMPONENT server DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/strata)

# The unit says where stratad is.
configure_file(deploy/systemd/stratad.service.in "${PROJECT_BINARY_DIR}/stratad.service" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/stratad.service" COMPONENT server DESTINATION lib/systemd/system)

# A target strata_NAME becomes strata::NAME.
function(strata_export SET)
  foreach(target IN LISTS ARGN)
    string(REGEX REPLACE "^strata_" "" name ${target})
    set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
    target_include_directories(${target} INTERFACE "$<INSTALL_INTERFACE:${STRATA_HEADERS}>")
  endforeach()
  install(TARGETS ${ARGN} EXPORT ${SET} COMPONENT dev ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ${SET} NAMESPACE strata:: COMPONENT dev DESTINATION ${STRATA_CMAKE_DIR}
    FILE ${SET}-targets.cmake)
endfunction()

# In the order in which they are linked when they are static: pkg-config has no other way to know.
strata_export(strata-client strata_client strata_protocol strata_proto strata_base)
strata_export(strata-embedded strata_embedded strata_broker strata_broker_core strata_retention
  strata_storage strata_storage_proto)
strata_export(strata-testing strata_testing strata_memory_store)

# What a program includes, and what that includes. tests/packaging compiles against nothing else.
foreach(header IN ITEMS
    base/api.h base/batch.h base/buffer.h base/clock.h base/error_catalog.inc base/log.h base/mutex.h
    base/status.h base/thread_annotations.h base/types.h
    client/client.h client/connect.h client/types.h client/testing/in_memory.h)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} COMPONENT dev DESTINATION ${STRATA_HEADERS}/${folder})
endforeach()
install(DIRECTORY proto/strata COMPONENT dev DESTINATION ${CMAKE_INSTALL_DATADIR}/strata/proto
  FILES_MATCHING PATTERN "*.proto")

configure_package_config_file(cmake/install/strata-config.cmake.in
  "${PROJECT_BINARY_DIR}/strata-config.cmake" INSTALL_DESTINATION ${STRATA_CMAKE_DIR})
# Before 1.0 a minor version may change interfaces.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/strata-config-version.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/strata-config.cmake"
  "${PROJECT_BINARY_DIR}/strata-config-version.cmake" COMPONENT dev DESTINATION ${STRATA_CMAKE_DIR})
foreach(name IN ITEMS strata-client strata-embedded)
  configure_file(cmake/install/${name}.pc.in "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" COMPONENT dev
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

# Read on the machine: what the unit and the messages refer to.
install(FILES docs/commands.md docs/configuration.md docs/damage.md docs/errors.md docs/limits.md
  docs/reliability.md docs/retention.md COMPONENT server DESTINATION ${CMAKE_INSTALL_DOCDIR}-server)
install(FILES docs/commands.md COMPONENT client DESTINATION ${CMAKE_INSTALL_DOCDIR}-client)
install(FILES docs/protocol.md docs/sdk.md COMPONENT dev DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/libstrata-dev)
foreach(package IN ITEMS server client)
  install(FILES LICENSE COMPONENT ${package} RENAME copyright
    DESTINATION ${CMAKE_INSTALL_DOCDIR}-${package})
endforeach()
install(FILES LICENSE COMPONENT dev RENAME copyright
  DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/libstrata-dev)
