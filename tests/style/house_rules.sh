#!/usr/bin/env bash
# The rules of CONTRIBUTING.md that a machine can check: house_rules.sh ROOT Prints FILE:LINE: what
# is wrong and what to do, one line for each finding, and fails if there is one.
set -euo pipefail

cd "$1"
mapfile -d '' files < <(find . -mindepth 1 \
  \( -path ./.git -o -path ./build -o -path ./run -o -path ./docs \) -prune -o \
  -type f \( -name '*.cc' -o -name '*.h' -o -name '*.inc' -o -name '*.proto' -o -name '*.cmake' \
  -o -name CMakeLists.txt -o -name '*.sh' -o -path './scripts/*' -o -path './.ci/*' \) -print0)
((${#files[@]})) || { echo "no sources found in $1"; exit 1; }

# Bytes, not characters, so that ranges mean ASCII.
LC_ALL=C awk '
  function fail(text) { printf "%s:%d: %s\n", file, FNR, text; ++failed }
  function end_of_file(name) {
    for (name in mutexes) {
      if (name in guards) continue
      printf "%s:%d: nothing is annotated with %s; say what it guards, or what it is held for\n", file,
        mutexes[name], name
      ++failed
    }
    split("", mutexes)
    split("", guards)
    if (!cpp || lines <= 600) return
    printf "%s:%d: the file is longer than 600 lines; split it by idea\n", file, lines
    ++failed
  }

  FNR == 1 {
    end_of_file()
    file = FILENAME
    sub(/^\.\//, "", file)
    cpp = file ~ /\.(cc|h)$/
    # The library lives in the process of somebody else; programs and tests may do as they like.
    library = cpp && file ~ /^(base|storage|retention|broker|client)\// &&
      file !~ /^client\/examples\//
  }

  { lines = FNR }
  /\t/ { fail("a tab; indent with spaces") }
  /[ ]+$/ { fail("spaces at the end of the line") }
  /[^\t -~]/ { fail("a character outside ASCII; write an escape, or put it in docs/") }
  # An .inc file is a table with one row in each line, however long.
  length($0) > 120 && file !~ /\.inc$/ {
    fail("the line has " length($0) " columns; 120 is the limit")
  }
  /(^|[^A-Za-z0-9_])(TODO|FIXME|XXX)([^A-Za-z0-9_(]|$)/ && file !~ /^tests\/style\// {
    fail("a note without a reason; do it, or write TODO(why it waits): what")
  }
  # What clang checks it can only check of base/mutex.h, and of what is annotated.
  cpp && file != "base/mutex.h" &&
      /std::(mutex|shared_mutex|recursive_mutex|condition_variable|lock_guard|unique_lock|scoped_lock)/ {
    fail("a lock that clang cannot follow; take Mutex, MutexLock and CondVar of base/mutex.h")
  }
  cpp && match($0, /(^|[ ])Mutex [a-z_]+_;/) {
    name = substr($0, RSTART, RLENGTH)
    sub(/^.*Mutex /, "", name)
    sub(/;$/, "", name)
    # One that makes a whole operation exclusive guards no data, and says so.
    if ((before2 before1 $0) !~ /[Hh]eld/) mutexes[name] = FNR
  }
  cpp {
    before2 = before1
    before1 = $0
    rest = $0
    while (match(rest, /STRATA_[A-Z_]+\([a-z_]+_[,)]/)) {
      name = substr(rest, RSTART, RLENGTH)
      rest = substr(rest, RSTART + RLENGTH)
      sub(/^[A-Z_]+\(/, "", name)
      sub(/.$/, "", name)
      guards[name] = 1
    }
  }
  file ~ /\.h$/ && /^[ ]*using namespace / {
    fail("a using namespace in a header reaches every file that includes it")
  }

  library {
    code = $0
    gsub(/"([^"\\]|\\.)*"/, "\"\"", code)
    sub(/\/\/.*/, "", code)
    if (code ~ /(^|[^A-Za-z0-9_.>])(abort|exit|_exit|_Exit|quick_exit|terminate)\(/)
      fail("the library never ends the process of its host; return a Status")
    if (code ~ /(^|[^A-Za-z0-9_.>])(signal|sigaction|pthread_sigmask)\(/)
      fail("the library installs no signal handler and changes no signal mask")
    if (code ~ /(std::(cout|cerr|clog)|(^|[^A-Za-z0-9_])(printf|puts)\()/)
      fail("the library writes to the log sink of its host only (base/log.h)")
    if (code ~ /(^|[^A-Za-z0-9_])throw[ (;]/)
      fail("no exceptions across module borders; return a Status")
  }

  END {
    end_of_file()
    exit failed > 0
  }' "${files[@]}"
