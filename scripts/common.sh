# Shared by the scripts in this folder; sourced, not run. Leaves the caller in the root of the
# repository.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '==> %s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "scripts/$(basename "$0")" "$*" >&2
  exit 1
}

# The number of parallel compilations: one per core, but 1.2 GB of memory for each, because a file
# that includes gRPC or RocksDB takes about 1 GB and a machine that swaps is slower than one that
# waits. A container's limit counts.
jobs() {
  local cores kb limit
  cores=$(nproc)
  kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)
  if [[ $limit =~ ^[0-9]+$ ]] && ((limit / 1024 < kb)); then kb=$((limit / 1024)); fi
  local fit=$((kb / 1200000))
  ((fit < cores)) || fit=$cores
  ((fit > 0)) || fit=1
  echo "$fit"
}
