#!/usr/bin/env bash
# growth.sh REEVE FILE: by how many bytes a store grows with one operation to its whole group, counted
# after closing it (which checkpoints), and over 100 such operations.
set -euo pipefail
size() { stat -c %s "$1"; }
"$1" w3 "$2" n=1 >/dev/null
for count in 1 100; do
    before=$(size "$2")
    "$1" w3 "$2" n=$((count - 1)) >/dev/null # and the one that is not counted
    after=$(size "$2")
    printf 'reeve\t1M W3 growth of %s, bytes\t%s\t0\t0\t0\t%s\t%s\n' "$count" "$count" 0 "$((after - before)) bytes"
done
