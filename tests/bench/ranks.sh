#!/usr/bin/env bash
# Translation on 2 ranks x 1 thread against 1 rank x 2 threads: alternating runs, medians, one ratio.
# usage: ranks.sh [LINES [RUNS]]      default 1000 lines of Multi30k test_2016_flickr, 7 runs each: about a minute
set -euo pipefail
case ${1:-1}${2:-1} in *[!0-9]*) sed -n '3s/^# //p' "$0" >&2; exit 2 ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
lines=${1:-1000} runs=${2:-7}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
gzip -dc tests/data/multi30k/test_2016_flickr.en.gz | head -n "$lines" >"$dir/in" || true
base=(translate -m models/multi30k-token -s eng_Latn -t deu_Latn -i "$dir/in")

# rate NAME COMMAND...: appends tokens/s of one run, as the program measured it (loading left out)
rate() {
    local name=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err" || [ $? -eq 1 ] # 1: some lines are flagged
    sed -nE 's/.*: ([0-9]+) tokens\/s.*/\1/p' "$dir/err" | tail -n 1 >>"$dir/$name"
}
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

for beam in 1 4; do
    rm -f "$dir/threads" "$dir/ranks"
    for _ in $(seq "$runs"); do
        rate threads build/release/dragoman "${base[@]}" --beam-size $beam --threads 2
        rate ranks launch/dragoman-mpirun -n 2 "${base[@]}" --beam-size $beam --threads 1
    done
    awk -v b=$beam -v t="$(median "$dir/threads")" -v r="$(median "$dir/ranks")" -v n="$runs" 'BEGIN {
        printf "beam %d: 1 rank x 2 threads %d tokens/s, 2 ranks x 1 thread %d tokens/s, ratio %.2f (medians of %d)\n", b, t, r, r / t, n }'
done
