#!/bin/sh
# vmap.sh - what `--vmap` gains: tokens/s with a vocabulary map and without, in turn, and the quotient of the medians.
#
# usage: tests/bench/vmap.sh [-m MODEL] [-b DRAGOMAN] [-t CORPUS] [-n TIMES] [-r RUNS] [-k] [-- OPTION...]
#   -m   model directory (models/multi30k-token)
#   -b   the program (build/release/dragoman)
#   -t   German text, gzip, whose pieces make the map (tests/data/multi30k/val.de.gz)
#   -n   list the pieces that it has at least so many times (1)
#   -r   runs of each (5)
#   -k   BLEU and chrF++ of both, too (needs python3 with venv: python_env.sh)
#   what follows -- goes to `dragoman translate`, after -s en -t de --threads 1 --batch-rows 384
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/python_env.sh"

corpus=$ROOT/tests/data/multi30k/val.de.gz times=1 runs=5 quality=
while getopts m:b:t:n:r:k flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    t) corpus=$OPTARG ;;
    n) times=$OPTARG ;;
    r) runs=$OPTARG ;;
    k) quality=1 ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))

for l in en de; do
    gzip -dc "$ROOT/tests/data/multi30k/test_2016_flickr.$l.gz" >"$work/$l"
done
gzip -dc "$corpus" | "$program" tokenize -m "$model" -s deu_Latn | tr ' ' '\n' | LC_ALL=C sort | uniq -c |
    awk -v n="$times" '$1 >= n { print "deu_Latn\t" $2 }' >"$work/map"

# translate NAME OPTION...: the text into $work/NAME, its tokens/s behind those of earlier runs
translate() {
    name=$1
    shift
    rc=0 # 1: done, some lines flagged
    "$program" translate -m "$model" -s en -t de --threads 1 --batch-rows 384 "$@" <"$work/en" >"$work/$name" 2>"$work/$name.log" || rc=$?
    [ $rc -le 1 ] || { cat "$work/$name.log" >&2; exit $rc; }
    sed -n 's/.* end .*: \([0-9]*\) tokens\/s$/\1/p' "$work/$name.log" >>"$work/$name.speed"
}
median() { sort -n "$1" | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

for _ in $(seq "$runs"); do
    translate whole "$@"
    translate listed --vmap "$work/map" "$@"
done
sed -n 's/.*\(deu_Latn is chosen from .*\)/\1/p' "$work/listed.log"
whole=$(median "$work/whole.speed") listed=$(median "$work/listed.speed")
echo "tokens/s: $whole without, $listed with: $(awk "BEGIN { printf \"%.2f\", $listed / $whole }")"
[ -n "$quality" ] || exit 0
python_env sacrebleu
for name in whole listed; do
    "$PYTHON" -m sacrebleu "$work/de" -i "$work/$name" -m bleu chrf --chrf-word-order 2 --format text -b -w 1 | tr '\n' ' '
    echo "BLEU, chrF++ $name"
done
