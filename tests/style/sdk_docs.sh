#!/usr/bin/env bash
# docs/sdk.md and the code that it speaks of say the same: sdk_docs.sh ROOT
#
#   - each C++ block comes behind <!-- sdk_tour: NAME --> and is the text between "// [NAME]" and
#     "// [/NAME]" in client/examples/sdk_tour.cc, but for the indentation
#   - each of those is shown
#   - every public virtual method of client/client.h is mentioned
#   - prose has at most 110 columns
#
# Prints what is wrong and what to do, one line for each finding, and fails if there is one.
set -euo pipefail

cd "$1"
doc=docs/sdk.md
tour=client/examples/sdk_tour.cc
header=client/client.h
failures=0

fail() {
  echo "$1"
  failures=$((failures + 1))
}

# Without the indentation of the first line.
unindent() {
  awk 'NR == 1 { match($0, /^ */); indent = RLENGTH }
    { match($0, /^ */); print substr($0, (RLENGTH < indent ? RLENGTH : indent) + 1) }'
}

in_tour() { awk -v name="$1" '
  index($0, "// [/" name "]") { shown = 0 }
  shown { print }
  index($0, "// [" name "]") { shown = 1 }' "$tour" | unindent; }

in_doc() { awk -v name="$1" '
  shown && /^```$/ { exit }
  shown { print }
  named && /^```cpp$/ { shown = 1 }
  { named = $0 == "<!-- sdk_tour: " name " -->" }' "$doc"; }

mapfile -t shown < <(sed -nE 's/^<!-- sdk_tour: (.*) -->$/\1/p' "$doc")
mapfile -t written < <(sed -nE 's|^ *// \[([a-z_]+)\]$|\1|p' "$tour")
((${#shown[@]} && ${#written[@]})) || { echo "no examples found in $1"; exit 1; }

for name in "${shown[@]}"; do
  if [[ -z $(in_tour "$name") ]]; then
    fail "$doc: shows '$name', which is not in $tour; write it there"
  elif ! difference=$(diff <(in_tour "$name") <(in_doc "$name")); then
    fail "$doc: '$name' is not the text of $tour; copy it from there:"$'\n'"$difference"
  fi
done
for name in "${written[@]}"; do
  [[ " ${shown[*]} " == *" $name "* ]] || fail "$tour: '$name' is not in $doc; show it there"
done

while read -r line; do
  fail "$doc:$line: a C++ block without <!-- sdk_tour: NAME --> in the line before; nobody compiles it"
done < <(awk '/^```cpp$/ && before !~ /^<!-- sdk_tour: .* -->$/ { print FNR } { before = $0 }' "$doc")

# A declaration may begin on one line and have its name on the next ones.
mapfile -t methods < <(sed 's|//.*||' "$header" | tr '\n' ' ' | grep -oE 'virtual [^;({]*\(' |
  sed -nE 's/.*[^A-Za-z0-9_~]([A-Za-z_]+) *\($/\1/p' | sort -u)
((${#methods[@]} >= 30)) || fail "$header: only ${#methods[@]} virtual methods were found"
for method in "${methods[@]}"; do
  grep -qE "(^|[^A-Za-z0-9_])$method\(" "$doc" ||
    fail "$doc: says nothing of $method(), a method of $header; describe it"
done

while read -r line; do
  fail "$doc:$line: longer than 110 columns; break the line"
done < <(awk '!/^\|/ && length($0) > 110 { print FNR }' "$doc")

((failures == 0)) || exit 1
echo "${#written[@]} examples and ${#methods[@]} methods agree"
