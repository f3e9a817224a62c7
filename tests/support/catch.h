// Catch2, whichever version Debian has: 2 (one header, Debian 12) or 3 (a library, Debian 13).
//
// Catch's assertions are not thread-safe. Assert on the main thread; let other threads return
// results.

#ifndef STRATA_TESTS_SUPPORT_CATCH_H_
#define STRATA_TESTS_SUPPORT_CATCH_H_

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#endif  // STRATA_TESTS_SUPPORT_CATCH_H_
