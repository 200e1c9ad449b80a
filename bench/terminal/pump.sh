#!/usr/bin/env bash
# pump, pv and cat between two pipes, one after the other in each round: wall-clock and CPU time of
# each for 4 GiB, and the system calls of each for 512 MiB. Needs pv and strace.
#
#     cargo build --release --example pump && bench/terminal/pump.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
pump=target/release/examples/pump
TIMEFORMAT='%R s, user %U s, system %S s'
for ((round = 0; round < ${1:-5}; round++)); do
    for program in "pv -q" cat "$pump"; do
        printf '%s: ' "$program"
        read -ra words <<<"$program"
        { head -c 4G /dev/zero | { time "${words[@]}"; } | cat >/dev/null; } 2>&1
    done
done
trace=$(mktemp)
trap 'rm -f "$trace"' EXIT
for program in "pv -q" cat "$pump"; do
    read -ra words <<<"$program"
    head -c 512M /dev/zero | strace -f -c -o "$trace" "${words[@]}" | cat >/dev/null
    printf '%s: %s system calls\n' "$program" "$(awk 'END { print $4 }' "$trace")"
done
