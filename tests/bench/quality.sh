#!/bin/sh
# quality.sh - BLEU and chrF++ of a model on Multi30k test_2016_flickr as dragoman translates it, per direction.
#
# usage: tests/bench/quality.sh [-m MODEL] [-b DRAGOMAN] [-o FOLDER] [-- OPTION...]
#   -m   model directory (models/multi30k-token)
#   -b   the program (build/release/dragoman)
#   -o   keep the translations in this folder, and scores.tsv: direction, BLEU, chrF++
#   what follows -- goes to `dragoman translate`, after --beam-size 4
#
# Prints a markdown table with the sacreBLEU signatures; half a minute of one core. Needs python3 with venv (python_env.sh).
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/python_env.sh"

out=
while getopts m:b:o: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    o) out=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))

[ -n "$out" ] || out=$work
mkdir -p "$out"
python_env sacrebleu

for l in en de fr cs; do
    gzip -dc "$ROOT/tests/data/multi30k/test_2016_flickr.$l.gz" >"$out/$l.txt"
done
for s in en de fr cs; do
    for t in en de fr cs; do
        [ "$s" = "$t" ] && continue
        rc=0 # 1: done, some lines flagged
        "$program" translate -m "$model" -s $s -t $t --beam-size 4 "$@" \
            <"$out/$s.txt" >"$out/$s-$t.txt" 2>"$out/$s-$t.log" || rc=$?
        [ $rc -le 1 ] || { cat "$out/$s-$t.log" >&2; exit $rc; }
    done
done
"$PYTHON" - "$out" <<'PY'
import sys
from sacrebleu.metrics import BLEU, CHRF

out = sys.argv[1]
langs = ["en", "de", "fr", "cs"]
read = lambda name: open(f"{out}/{name}.txt", encoding="utf-8").read().split("\n")[:-1]
bleu, chrf, sums = BLEU(), CHRF(word_order=2), [0.0, 0.0]
pairs = [(s, t) for s in langs for t in langs if s != t]
print("| direction | BLEU | chrF++ |\n| --- | --- | --- |")
table = []
for s, t in pairs:
    hyp, ref = read(f"{s}-{t}"), [read(t)]
    if len(hyp) != len(ref[0]):
        sys.exit(f"{s}-{t}: {len(hyp)} lines, want {len(ref[0])}")
    scores = [m.corpus_score(hyp, ref).score for m in (bleu, chrf)]
    sums = [a + b for a, b in zip(sums, scores)]
    table.append(f"{s}-{t}\t{scores[0]:.4f}\t{scores[1]:.4f}\n")
    print(f"| {s}-{t} | {scores[0]:.1f} | {scores[1]:.1f} |")
print(f"| mean | {sums[0] / len(pairs):.1f} | {sums[1] / len(pairs):.1f} |")
open(f"{out}/scores.tsv", "w").writelines(table)
print(f"\nsacreBLEU: `{bleu.get_signature()}`, `{chrf.get_signature()}`")
PY
