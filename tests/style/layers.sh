#!/usr/bin/env bash
# Who may include whom (docs/architecture.md): dependencies point down only, and each library has
# its place.
#
#   layers.sh ROOT [SEAM_SOURCE...]
#
# SEAM_SOURCE: the sources of strata_broker_core, below ROOT. Nothing that they reach by includes
# may be in storage/, except the seam, log_store.h and records.h, because they run under ThreadSanitizer without a
# store. Prints FILE:LINE: what is wrong, one line for each finding, and fails if there is one.
set -euo pipefail

root=$1
shift
cd "$root"
folders=()
for folder in base storage retention broker server client tools bench tests; do
  [[ -d $folder ]] && folders+=("$folder")
done

# Every include as FILE:LINE:<header> or FILE:LINE:"header".
includes=$(grep -rnoE --include='*.cc' --include='*.h' --include='*.inc' \
  '^[[:space:]]*#[[:space:]]*include[[:space:]]*(<[^>]*>|"[^"]*")' "${folders[@]}" |
  sed -E 's/^([^:]*:[0-9]+):[^<"]*(.*)$/\1:\2/' || true)

findings=$(awk '
  function fail(text) { print where ": " text }

  BEGIN {
    # Modules of this project. "proto" is what is included as strata/v1/....
    split("base storage retention broker server client tools bench tests", names)
    for (i in names) module[names[i]] = 1
    may["base"] = "base"
    may["storage"] = "base storage"
    may["retention"] = "base storage retention"
    may["broker"] = "base storage retention broker"
    may["server"] = "base proto broker server"
    may["client"] = "base proto client"
    may["tools"] = "base client storage tools"
    may["bench"] = may["tests"] = "*"

    # Libraries, by how their headers begin, and the only folders that include them.
    home["rocksdb/"] = "storage tests bench"
    home["grpc/"] = home["grpcpp/"] = home["grpc++/"] = "server client proto tests bench tools"
    home["yaml-cpp/"] = "broker server tests"
    home["prometheus/"] = home["CivetServer.h"] = home["civetweb.h"] = "server tests"
    home["CLI/"] = "server tools bench tests"
    home["benchmark/"] = "bench"
    home["catch2/"] = "tests"
  }

  {
    match($0, /:[0-9]+:/)
    file = substr($0, 1, RSTART - 1)
    where = substr($0, 1, RSTART + RLENGTH - 2)
    header = substr($0, RSTART + RLENGTH + 1)
    header = substr(header, 1, length(header) - 1)
    quoted = substr($0, RSTART + RLENGTH, 1) == "\""

    from = file
    sub(/\/.*/, "", from)
    to = header
    sub(/\/.*/, "", to)
    if (to == "strata") to = "proto"

    if (header ~ /^absl\// && file !~ /\.cc$/)
      fail("abseil is included in .cc files only: its string_view is not std::string_view")
    for (prefix in home)
      if (index(header, prefix) == 1 && index(" " home[prefix] " ", " " from " ") == 0)
        fail("<" header "> is included only in: " home[prefix])

    if (to != "proto" && !(to in module)) next
    if (may[from] == "*" || index(" " may[from] " ", " " to " ")) {
      if (!quoted) fail("a header of this project is included with quotes: \"" header "\"")
      next
    }
    # The embedded client is the one way from the client to a broker in the same process.
    if (from == "client" && to == "broker" && file ~ /^client\/embedded/) next
    # The client in memory, for tests of users, has a broker over a store of its own.
    if (from == "client" && (to == "broker" || to == "storage") && file ~ /^client\/testing/) next
    if (from == "tools" && header == "broker/config.h") next
    fail(from "/ may not include " header "; it may include: " may[from])
  }' <<<"$includes")

# The seam: follow includes of this project from the core sources.
declare -A reached=()
queue=("$@")
while ((${#queue[@]})); do
  file=${queue[0]}
  queue=("${queue[@]:1}")
  [[ -n ${reached[$file]:-} ]] && continue
  reached[$file]=1
  while IFS=: read -r line header; do
    [[ -n $header ]] || continue
    if [[ $header == storage/* && $header != storage/log_store.h &&
      $header != storage/records.h ]]; then
      findings+=$'\n'"$file:$line: strata_broker_core reaches $header; only log_store.h and records.h are its seam"
    elif [[ -f $header ]]; then
      queue+=("$header")
    fi
  done < <(awk -F: -v file="$file" '
    $1 == file { gsub(/[<>"]/, "", $3); print $2 ":" $3 }' <<<"$includes")
done

findings=$(sed '/^$/d' <<<"$findings")
if [[ -n $findings ]]; then
  echo "$findings"
  exit 1
fi
