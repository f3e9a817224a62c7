// Compiled once for all tests, because main() is most of Catch2's header. Version 3 brings its own.

#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
