#!/bin/sh
# latency.sh - the most words a second at which 99 of 100 sentences are back within a second, of several models: sentences come
# one by one at random times (Poisson), whether earlier ones are done or not.
#
# usage: tests/bench/latency.sh [-m MODELS] [-d WIDTH] [-j THREADS] [-k BEAM] [-c BATCH] [-t TOKENS] [-l LIMIT] [-s SECONDS] [-n STEPS]
#                               [-w FOLDER] [-b DRAGOMAN]
#   -m   models (demo,dense,8,32,ct2), all int8: demo is the demonstration model; dense and numbers of experts are the random models of
#        compare_ct2.sh -e, of one active size; ct2 is the dense one in CTranslate2
#   -d   width of the random models (512)           -j   threads (1,2)
#   -k   beam (4)                                   -c   most sentences in a batch (64)
#   -t   tokens that a random model's sentences become (16); the demonstration model ends its own
#   -l   seconds within which 99 of 100 must be back (1)
#   -s   seconds of arrivals at each rate (20)      -n   rates that are tried, by bisection (7)
#   -w   folder of models, as in compare_ct2.sh     -b   the program (build/release/dragoman)
#
# About 3 minutes for each model and thread number. Only one: -m 8 -j 1 -w FOLDER; a first look: -s 5 -n 4.
# dragoman is `dragoman translate` as a filter, fed and read through pipes; it writes in the order of its lines, so a sentence may wait
# for one that came before it, which is counted. CTranslate2 has no such thing: a loop gives it all that waits, at most a batch,
# when the last batch is done, with tokens made beforehand.
# Needs python3 with venv; for ct2 ctranslate2, torch and transformers, which are installed when absent (python_env.sh).
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/python_env.sh"
. "$ROOT/tests/bench/synthetic.sh"

names=demo,dense,8,32,ct2 width=512 threads=1,2 beam=4 batch=64 tokens=16 limit=1 seconds=20 steps=7 models=''
while getopts m:d:j:k:c:t:l:s:n:w:b: flag; do
    case $flag in
    m) names=$OPTARG ;;
    d) width=$OPTARG ;;
    j) threads=$OPTARG ;;
    k) beam=$OPTARG ;;
    c) batch=$OPTARG ;;
    t) tokens=$OPTARG ;;
    l) limit=$OPTARG ;;
    s) seconds=$OPTARG ;;
    n) steps=$OPTARG ;;
    w) models=$OPTARG ;;
    b) program=$OPTARG ;;
    *) usage ;;
    esac
done
models=${models:-$work}
mkdir -p "$models"
python_env
pairs=
for wanted in $(echo "$names" | tr , ' '); do
    case $wanted in
    demo) path=$(typed "$ROOT/models/multi30k-token" int8 "$models/multi30k-token") ;;
    dense)
        equal_dense "$models" "$width"
        path=$(typed "$models/dense-$width" int8 "$models/dense-$width")
        ;;
    ct2)
        python_env torch transformers==4.55.4 sentencepiece protobuf safetensors ctranslate2==4.6.2
        equal_dense "$models" "$width"
        path=$models/dense-$width
        ;;
    *)
        equal_moe "$models" "$width" "$wanted" int8
        path=$models/moe-$width-$wanted-int8
        ;;
    esac
    pairs="$pairs $wanted=$path"
done
# shellcheck disable=SC2086 # one argument a model
"$PYTHON" "$ROOT/tests/bench/latency.py" --models $pairs --program "$program" --threads "$threads" --beam "$beam" --batch "$batch" \
    --tokens "$tokens" --limit "$limit" --seconds "$seconds" --steps "$steps" --work "$work" \
    --data "$ROOT/tests/data/multi30k/test_2016_flickr.en.gz" "$ROOT/tests/data/multi30k/val.en.gz"
