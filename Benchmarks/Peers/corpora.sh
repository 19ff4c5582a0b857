#!/usr/bin/env bash
# corpora.sh DATA TREE...: two corpora of real files, taken from any trees.
#   small   the first 10,000 files below 32 KiB; v2 has one byte more at the end of one of them
#   big     one file of 100 MiB; v2 has one byte more at its beginning
set -euo pipefail
data=${1:?corpora.sh DATA TREE...}
shift
mkdir -p "$data"
if [ ! -d "$data/small-v2" ]; then
    mkdir -p "$data/small-v1"
    find "$@" -type f -size -32768c -printf '%p\n' 2>/dev/null | LC_ALL=C sort >"$data/all.list" || true
    head -10000 "$data/all.list" >"$data/small.list"
    tar cPf - -T "$data/small.list" | tar xf - -C "$data/small-v1"
    cp -a "$data/small-v1" "$data/small-v2"
    printf x >>"$data/small-v2/$(sed -n 5000p "$data/small.list")"
fi
if [ ! -d "$data/big-v2" ]; then
    mkdir -p "$data/big-v1" "$data/big-v2"
    { tar cPf - --sort=name "$@" 2>/dev/null || true; } | head -c 104857600 >"$data/big-v1/blob.bin"
    { printf Z; cat "$data/big-v1/blob.bin"; } >"$data/big-v2/blob.bin"
fi
for tree in small-v1 small-v2 big-v1 big-v2; do
    echo "$tree: $(find "$data/$tree" -type f | wc -l) files, $(du -sb "$data/$tree" | cut -f1) bytes"
done
