#!/bin/sh
# expert_findings.sh - what arXiv 2212.09811 found about the experts of each language, asked of a model here: the tables of
# docs/expert-findings.md. Statistics from val, quality from test_2016_flickr, all 12 directions of Multi30k, beam 4.
#
# usage: tests/bench/expert_findings.sh [-m MODEL] [-b DRAGOMAN] [-o FOLDER] [-n LINES] [-f LINES] [-p PARTS] [-k]
#   -m   model (models/multi30k-token); budgets are for 2 + 2 layers of 32 experts
#   -b   the program (build/release/dragoman), copied into the folder, so that it may be built anew meanwhile
#   -o   what was translated and scored stays in this folder (build/expert-findings); the same command goes on from there
#   -n   lines of val and of test (1000)
#   -f   fewer lines of test (250), for all but the main configurations: importance, fixed, per language and global
#   -p   parts, by comma: granularity ratio metrics algorithms random greedy similarity forced directions mass (all)
#   -k   translate nothing more: the tables of what is known by now
#
# Prints markdown. A configuration takes 25 s of one core with 1000 lines, 7 s with 250, and twice as much where translations run
# on: some 58 take 13 minutes (with -f 1000 half an hour), the choices by loss some minutes more. With -n 20 all parts take 2.
# Needs python3 with venv (python_env.sh).
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/python_env.sh"

out=$ROOT/build/expert-findings lines=1000 fewer=250 parts='' known=''
while getopts m:b:o:n:f:p:k flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    o) out=$OPTARG ;;
    n) lines=$OPTARG ;;
    f) fewer=$OPTARG ;;
    p) parts=$OPTARG ;;
    k) known=--only-known ;;
    *) usage ;;
    esac
done
python_env numpy
python_env sacrebleu
mkdir -p "$out"
[ -x "$out/dragoman" ] || cp "$program" "$out/dragoman"
export DGM_LOG_LEVEL=error
"$PYTHON" "$ROOT/tests/bench/expert_findings.py" --model "$model" --out "$out" --lines "$lines" --fewer-lines "$fewer" --parts "$parts" \
    --texts "$ROOT/tests/data/multi30k" $known
