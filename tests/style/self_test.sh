#!/usr/bin/env bash
# A check that cannot fail checks nothing: plants one violation of each rule in an empty tree and
# wants it found.
#
#   self_test.sh FOLDER_OF_THE_CHECKS
set -euo pipefail

checks=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

# A tree that keeps all rules.
clean_tree() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree"/{base,storage,broker,server,client,tools,tests,scripts,.ci}
  echo '#include <string>' >"$tree/base/status.h"
  printf '#include <rocksdb/db.h>\n#include "base/status.h"\n' >"$tree/storage/store.h"
  echo '#include "base/status.h"' >"$tree/storage/log_store.h"
  printf '#include "storage/log_store.h"\n#include "broker/core.h"\n' >"$tree/broker/core.cc"
  echo '#include "base/status.h"' >"$tree/broker/core.h"
  printf '#include "storage/store.h"\n' >"$tree/broker/open.cc"
  printf '#include %s\n' '<grpcpp/grpcpp.h>' '"strata/v1/strata.pb.h"' '"broker/open.h"' \
    >"$tree/server/service.cc"
  printf '#include "broker/open.h"\n#include "client/client.h"\n' >"$tree/client/embedded.cc"
  printf '#include "broker/config.h"\n#include "client/client.h"\n' >"$tree/tools/main.cc"
  printf '#include "absl/strings/str_cat.h"\n' >"$tree/base/status.cc"
  echo 'add_subdirectory(base)' >"$tree/CMakeLists.txt"
}

run() {
  local check=$1
  shift
  if [[ $check == layers ]]; then
    bash "$checks/layers.sh" "$tree" broker/core.cc
  else
    bash "$checks/house_rules.sh" "$tree"
  fi
}

# finds CHECK FILE LINE TEXT: with LINE added to FILE, CHECK fails and names FILE and TEXT.
finds() {
  local check=$1 file=$2 line=$3 text=$4 out
  clean_tree
  printf '%b\n' "$line" >>"$tree/$file"
  if out=$(run "$check" 2>&1); then
    echo "$check did not find in $file: $line"
    failures=$((failures + 1))
  elif ! grep -qE "^$file:[0-9]+: .*$text" <<<"$out"; then
    printf '%s did not say "%s" of %s in %s, but:\n%s\n' "$check" "$text" "$line" "$file" "$out"
    failures=$((failures + 1))
  fi
}

# accepts CHECK FILE LINE: the rule does not catch more than it means.
accepts() {
  local check=$1 file=$2 line=$3 out
  clean_tree
  printf '%b\n' "$line" >>"$tree/$file"
  if ! out=$(run "$check" 2>&1); then
    printf '%s refused in %s, although it is allowed: %s\n%s\n' "$check" "$file" "$line" "$out"
    failures=$((failures + 1))
  fi
}

accepts layers base/status.h ''
finds layers base/status.h '#include "storage/store.h"' 'base/ may not include storage/store.h'
finds layers storage/store.h '#include "broker/core.h"' 'storage/ may not include'
finds layers broker/core.h '#include "server/service.h"' 'broker/ may not include'
finds layers broker/open.cc '#include "strata/v1/strata.pb.h"' 'broker/ may not include'
finds layers server/service.cc '#include "client/client.h"' 'server/ may not include'
finds layers client/client.h '#include "broker/open.h"' 'client/ may not include'
finds layers client/embedded.cc '#include "storage/store.h"' 'client/ may not include'
finds layers tools/main.cc '#include "broker/core.h"' 'tools/ may not include'
finds layers tools/main.cc '#include <base/status.h>' 'with quotes'
finds layers broker/open.cc '#include <rocksdb/db.h>' 'is included only in: storage'
finds layers broker/open.cc '#  include "rocksdb/db.h"' 'is included only in: storage'
finds layers storage/store.h '#include <grpcpp/grpcpp.h>' 'is included only in: server'
finds layers client/client.h '#include <yaml-cpp/yaml.h>' 'is included only in: broker'
finds layers base/status.h '#include "absl/strings/str_cat.h"' 'in .cc files only'
finds layers broker/core.cc '#include "storage/store.h"' 'reaches storage/store.h'
finds layers broker/core.h '#include "storage/store.h"' 'reaches storage/store.h'
accepts layers tests/broker_test.cc '#include <rocksdb/db.h>\n#include "server/service.h"'

accepts house_rules base/status.cc '// All is well.'
finds house_rules base/status.cc '\tint a;' 'a tab'
finds house_rules base/status.cc 'int a; ' 'spaces at the end'
finds house_rules base/status.cc '// na\0303\0257ve' 'outside ASCII'
finds house_rules base/status.cc "// $(printf 'a%.0s' {1..118})" 'has 121 columns'
finds house_rules scripts/build "# $(printf 'a%.0s' {1..119})" 'has 121 columns'
finds house_rules base/status.cc "$(printf '\\n%.0s' {1..600})" 'longer than 600 lines'
finds house_rules base/status.cc '// TODO: later' 'note without a reason'
finds house_rules base/status.cc '// FIXME' 'note without a reason'
finds house_rules base/status.h 'using namespace std;' 'using namespace'
finds house_rules base/status.cc 'std::mutex mu_;' 'clang cannot follow'
finds house_rules base/status.cc 'void F() { const std::lock_guard<Mutex> lock(mu); }' 'clang cannot follow'
finds house_rules base/status.h '  Mutex mu_;\n  int count_ = 0;' 'nothing is annotated with mu_'
finds house_rules broker/core.cc 'void F() { std::abort(); }' 'never ends the process'
finds house_rules broker/core.cc 'void F() { ::exit(1); }' 'never ends the process'
finds house_rules broker/core.cc 'void F() { signal(SIGTERM, nullptr); }' 'no signal handler'
finds house_rules broker/core.cc 'void F() { std::cerr << 1; }' 'log sink of its host'
finds house_rules broker/core.cc 'void F() { throw 1; }' 'no exceptions'
accepts house_rules broker/core.cc 'F.abort(); G("never exit(1)");  // No exit(1), no throw.'
accepts house_rules base/status.cc '// TODO(needs the sweeper): take it.'
accepts house_rules base/mutex.h '  std::mutex mu_;'
accepts house_rules base/status.h '  mutable Mutex mu_;\n  int count_ STRATA_GUARDED_BY(mu_) = 0;'
accepts house_rules base/status.h '  Mutex sync_mu_;  // held for a whole sync'
accepts house_rules server/service.cc 'int main() { std::signal(1, nullptr); return 1; }'

# mutant DOES LINES TEXT: with these lines tests/mutants/run --check passes (fits) or says TEXT (misfits).
mutant() {
  local does=$1 lines=$2 text=$3 out status=0
  clean_tree
  mkdir "$tree/tests/mutants"
  cp "$checks/../mutants/run" "$tree/tests/mutants/run"
  printf 'int a;\nint b;\nint a;\n' >"$tree/base/lines.cc"
  printf '@ m\nin base/lines.cc\nis wrong\nby base some case\n%b\n' "$lines" >"$tree/tests/mutants/m.mutants"
  out=$(bash "$tree/tests/mutants/run" --check 2>&1) || status=1
  if [[ ($does == fits && $status == 1) || ($does == misfits && $status == 0) || $out != *"$text"* ]]; then
    printf 'mutants: the lines %s were to be said "%s" of, not:\n%s\n' "$lines" "$text" "$out"
    failures=$((failures + 1))
  fi
}
mutant fits '-int b;\n+int c;' '1 mutants fit'
mutant fits ' int a;\n-int b;' '1 mutants fit'
mutant misfits '-int c;' 'has no such lines'
mutant misfits '-int a;' 'more than once'
mutant misfits '-int' 'has no such lines'
mutant misfits '' "needs lines with"
mutant misfits '?' 'cannot read'

((failures == 0)) || exit 1
echo "every planted violation was found"
