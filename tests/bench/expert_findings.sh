#!/bin/sh
# expert_findings.sh - what arXiv 2212.09811 found about the experts of each language, asked of a model here: the tables of
# docs/expert-findings.md. Statistics from val, quality from test_2016_flickr, all 12 directions of Multi30k, beam 4.
#
# usage: tests/bench/expert_findings.sh [-m MODEL] [-b DRAGOMAN] [-o FOLDER] [-n LINES] [-r LINES] [-p PARTS]
#   -m   model (models/multi30k-token); budgets are for 2 + 2 layers of 32 experts
#   -b   the program (build/release/dragoman), copied into the folder, so that it may be built anew meanwhile
#   -o   what was translated and scored stays in this folder (build/expert-findings); the same command goes on from there
#   -n   lines of val and of test (1000)
#   -r   lines that random experts translate (250): the first of test; such translations run on, and cost three times as much
#   -p   parts, by comma: granularity ratio metrics algorithms random greedy similarity forced directions mass (all)
#
# Prints markdown. With 1000 lines some 70 configurations take about 25 s of one core each, 40 minutes in all; where random
# experts make translations run on, twice as much. With -n 50 all parts take 4 minutes. Needs python3 with venv (python_env.sh).
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/bench/python_env.sh"

model=$ROOT/models/multi30k-token program=$ROOT/build/release/dragoman out=$ROOT/build/expert-findings lines=1000 drawn=250 parts=
while getopts m:b:o:n:r:p: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    o) out=$OPTARG ;;
    n) lines=$OPTARG ;;
    r) drawn=$OPTARG ;;
    p) parts=$OPTARG ;;
    *) sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
python_env numpy
python_env sacrebleu
mkdir -p "$out"
[ -x "$out/dragoman" ] || cp "$program" "$out/dragoman"
export DGM_LOG_LEVEL=error
exec "$PYTHON" "$ROOT/tests/bench/expert_findings.py" --model "$model" --out "$out" --lines "$lines" --drawn-lines "$drawn" --parts "$parts" \
    --texts "$ROOT/tests/data/multi30k"
