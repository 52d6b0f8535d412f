#!/usr/bin/env bash
# extract.sh - what extraction keeps and saves: BLEU and chrF++ of a model routed by token, of its sister routed by target
# language, and of what is extracted from that for each language, folded too; and the bytes of each.
#
# usage: tests/bench/extract.sh [-b DRAGOMAN] [-n LINES]
#   -b   the program (build/release/dragoman)
#   -n   lines of Multi30k test_2016_flickr (1000, which take some minutes; 100: some seconds)
#
# Ends with an error where an extracted model translates a line otherwise than the whole one.
set -euo pipefail
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
lines=1000
while getopts b:n: flag; do
    case $flag in
    b) program=$OPTARG ;;
    n) lines=$OPTARG ;;
    *) usage ;;
    esac
done
export DGM_LOG_LEVEL=error
langs=(en de fr cs)
for l in "${langs[@]}"; do
    gzip -dc "$ROOT/tests/data/multi30k/test_2016_flickr.$l.gz" | awk -v n="$lines" "NR <= n" >"$work/$l.txt"
done

# translate MODEL NAME SOURCE TARGET
translate() {
    "$program" translate -m "$1" -s "$3" -t "$4" --with-score --max-length 60 <"$work/$3.txt" >"$work/$2" || [ $? -eq 1 ]
    sed 's/^[^|]*||| //' "$work/$2" >"$work/$2.text"
}
# score NAME TARGET: BLEU / chrF++
score() { "$program" score-text "$work/$1.text" "$work/$2.txt" --json | jq -r '[.bleu, ."chrf++"] | map(. * 10 | round / 10) | "\(.[0]) / \(.[1])"'; }
bytes() { stat -c %s "$1/model.safetensors"; }

token=$ROOT/models/multi30k-token task=$ROOT/models/multi30k-task
for t in "${langs[@]}"; do
    "$program" extract -m "$task" -t "$t" -o "$work/model.$t" >"$work/said.$t"
    "$program" extract -m "$task" -t "$t" --fold -o "$work/fold.$t" >/dev/null
done
echo "| direction | token model | task model | extracted | folded |"
echo "| --- | --- | --- | --- | --- |"
for s in "${langs[@]}"; do
    for t in "${langs[@]}"; do
        [ "$s" != "$t" ] || continue
        translate "$token" token "$s" "$t"
        translate "$task" task "$s" "$t"
        translate "$work/model.$t" part "$s" "$t"
        translate "$work/fold.$t" fold "$s" "$t"
        cmp "$work/task" "$work/part" || { echo "$s-$t: the extracted model translates otherwise" >&2; exit 1; }
        same=$(paste -d '\n' "$work/task.text" "$work/fold.text" | awk 'NR % 2 { a = $0; next } a == $0 { n++ } END { print n + 0 }')
        echo "| $s-$t | $(score token "$t") | $(score task "$t") | $(score part "$t"), same bytes | $(score fold "$t"), $same of $(wc -l <"$work/task.text") lines the same |"
    done
done
echo
echo "bytes of weights: task model $(bytes "$task"), extracted for German $(bytes "$work/model.de"), folded $(bytes "$work/fold.de")"
grep '^decoder experts' "$work/said.de"
