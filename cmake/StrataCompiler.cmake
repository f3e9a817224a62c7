# How everything of this project is compiled. Generated code is exempt from the warnings only.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Programs and tests find each other as neighbours, so all of them land in the build folder itself.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Dev CACHE STRING "Dev or Release" FORCE)
endif()

# Release: -O2, and -g1 because line tables are enough for a readable backtrace at a quarter of the
# size of -g. NDEBUG, because a library embedded in somebody's process must not abort it: what
# protects data is a checked Status in every build, and assert() is for mistakes of programmers,
# found by Dev and the sanitizers.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

# Dev: assertions on, also those of the standard library; -O1 keeps the tests fast enough to be run
# often.
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1 -D_GLIBCXX_ASSERTIONS")

# Check: Dev for a compiler that is only to say what it thinks of the code, in half the time.
set(CMAKE_CXX_FLAGS_CHECK "-O0 -D_GLIBCXX_ASSERTIONS")

find_program(CCACHE_PROGRAM ccache)
mark_as_advanced(CCACHE_PROGRAM)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

set(STRATA_SANITIZE "" CACHE STRING
  "What to pass to -fsanitize=, for example address,undefined or thread")
if(STRATA_SANITIZE)
  add_compile_options("-fsanitize=${STRATA_SANITIZE}" -fno-omit-frame-pointer)
  add_link_options("-fsanitize=${STRATA_SANITIZE}")
  if(STRATA_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

option(STRATA_FUZZ "Build tests/fuzz with libFuzzer, and everything with what guides it; needs clang" OFF)
if(STRATA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

add_library(strata_warnings INTERFACE)
target_compile_options(strata_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Only clang checks the lock annotations of base/thread_annotations.h; the beta part checks the
  # lock order.
  target_compile_options(strata_warnings INTERFACE
    -Wthread-safety -Wthread-safety-beta -Werror=thread-safety)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # Sees overlapping copies inside std::string::insert and replace (GCC bug 105651, fixed in 13).
  target_compile_options(strata_warnings INTERFACE -Wno-restrict)
endif()
if(STRATA_WERROR)
  target_compile_options(strata_warnings INTERFACE -Werror)
endif()
