# The three kinds of targets this project is made of. Sources are listed by hand in each module's
# CMakeLists.txt. Include paths start at the root of the repository: #include "base/status.h".
#
# strata_module(NAME SRCS file... [DEPS target...] [USES target...])
#     The static library strata_NAME.
#     DEPS: what its public headers include, so that users get it too.
#     USES: what only its .cc files include; third-party libraries, as a rule.
#     Without sources it is headers only.
#
# strata_program(NAME SRCS file... [DEPS target...])
#     The executable NAME.
#
# strata_test(NAME SRCS file... [DEPS target...] [PROGRAMS target...] [LABELS label]
#             [TIMEOUT seconds])
#     The executable test_NAME. Its Catch2 cases are registered with ctest one by one, "NAME/case".
#     PROGRAMS: executables that the test starts; built before it, and its neighbours on disk.
#     LABELS: one label, for `ctest -L`. TIMEOUT: for one case, default 120.

function(strata_module NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SRCS;DEPS;USES")
  if(ARG_SRCS)
    add_library(strata_${NAME} STATIC ${ARG_SRCS})
    target_link_libraries(strata_${NAME} PUBLIC ${ARG_DEPS}
      PRIVATE ${ARG_USES} $<BUILD_INTERFACE:strata_warnings>)
    target_include_directories(strata_${NAME} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  else()
    add_library(strata_${NAME} INTERFACE)
    target_link_libraries(strata_${NAME} INTERFACE ${ARG_DEPS})
    target_include_directories(strata_${NAME} INTERFACE "${PROJECT_SOURCE_DIR}")
  endif()
endfunction()

function(strata_program NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SRCS;DEPS")
  add_executable(${NAME} ${ARG_SRCS})
  target_link_libraries(${NAME} PRIVATE ${ARG_DEPS} strata_warnings)
  target_include_directories(${NAME} PRIVATE "${PROJECT_SOURCE_DIR}")
endfunction()

include(Catch)

function(strata_test NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "LABELS;TIMEOUT" "SRCS;DEPS;PROGRAMS")
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  strata_program(test_${NAME} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS} strata_catch_main)
  foreach(program IN LISTS ARG_PROGRAMS)
    add_dependencies(test_${NAME} ${program})
  endforeach()
  # Not passed when empty: Catch2 would take the next property for the label.
  if(ARG_LABELS)
    set(labels LABELS "${ARG_LABELS}")
  endif()
  catch_discover_tests(test_${NAME}
    TEST_PREFIX "${NAME}/"
    WORKING_DIRECTORY "${CMAKE_BINARY_DIR}"
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} ${labels})
endfunction()
