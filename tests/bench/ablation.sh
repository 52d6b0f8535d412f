#!/bin/sh
# ablation.sh - what each step from Hugging Face to dragoman brings, on a synthetic mixture of experts (compare_hf.sh).
#
# usage: tests/bench/ablation.sh [-p PARTS] [-e EXPERTS] [-j THREADS] [-k BEAMS] [-c BATCHES] [-r REPEATS] [-w FOLDER] [-b DRAGOMAN]
#   -p   parts of the table (experts,types,pruning):
#          experts   a layer's experts in one grouped product, beside one after another (dragoman bench experts)
#          types     Hugging Face, then dragoman with f32, with int8 weights, with int8 arithmetic too, with int4 experts (compare_hf.sh)
#          pruning   finished sentences leave the batch, beside all of a batch to its longest (dragoman bench pruning): lengths
#                    are those of the demonstration model's translations of Multi30k, 960 lines for that model and 192 for the synthetic
#                    one, in batches as they come and sorted by length of the source; not for a batch of one
#   -e   experts a layer (128)               -j   threads (1,2)
#   -k   beams (1,4)                         -c   batches (1,96)
#   -r   runs of types (3)                   -w   folder of models, as in compare_hf.sh
#   -b   the program (build/release/dragoman)
#
# Expected time: experts half a minute; types some 20 minutes, a minute or two for each thread number, beam and batch, and 5 to build the
# models once; pruning 5 minutes. Only one: -p types -j 1 -k 1 -c 1 -w FOLDER.
# Needs what compare_hf.sh needs, for types.
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/synthetic.sh"

parts=experts,types,pruning experts=128 threads=1,2 beams=1,4 batches=1,96 repeats=3 models=''
while getopts p:e:j:k:c:r:w:b: flag; do
    case $flag in
    p) parts=$OPTARG ;;
    e) experts=$OPTARG ;;
    j) threads=$OPTARG ;;
    k) beams=$OPTARG ;;
    c) batches=$OPTARG ;;
    r) repeats=$OPTARG ;;
    w) models=$OPTARG ;;
    b) program=$OPTARG ;;
    *) usage ;;
    esac
done
models=${models:-$work}
mkdir -p "$models"
list() { echo "$1" | tr , ' '; }

# lengths LINES: $work/as-they-come, tokens of the demonstration model's translations; $work/sorted, the same by length of the source
lengths() {
    gzip -dc "$ROOT/tests/data/multi30k/test_2016_flickr.en.gz" | head -n "$1" >"$work/text" || return 1
    rc=0 # 1: done, some lines flagged
    "$program" translate -m "$ROOT/models/multi30k-token" -s eng_Latn -t deu_Latn -i "$work/text" -o "$work/out" \
        --report "$work/report" 2>"$work/log" || rc=$?
    [ $rc -le 1 ] || { cat "$work/log" >&2; return 1; }
    sed -nE 's/.*"src_tokens":([0-9]+),"tgt_tokens":([1-9][0-9]*).*/\1 \2/p' "$work/report" >"$work/pairs"
    cut -d' ' -f2 "$work/pairs" >"$work/as-they-come"
    sort -n -k1,1 "$work/pairs" | cut -d' ' -f2 >"$work/sorted"
    rm "$work/out" "$work/report"
}

# pruning MODEL LINES: a table for each order of the lines, thread number and beam
pruning() {
    lengths "$2"
    for order in as-they-come sorted; do
        for j in $(list "$threads"); do
            echo
            echo "$(basename "$1"), $2 lines, $order, $j threads: finished sentences leave the batch (published gain: up to 1.14)"
            for k in $(list "$beams"); do
                "$program" bench pruning -m "$1" --lengths "$work/$order" --batch "$many" --beam "$k" --src-tokens 18 --threads "$j" \
                    2>"$work/log" || { cat "$work/log" >&2; return 1; }
            done
        done
    done
}

for part in $(list "$parts"); do
    case $part in
    experts) "$program" bench experts --threads "$(list "$threads" | tr ' ' '\n' | sort -n | tail -n 1)" ;;
    types)
        "$ROOT/tests/bench/compare_hf.sh" -m synthetic -e "$experts" -y f32,int8w,int8,int4 -j "$threads" -k "$beams" -c "$batches" \
            -r "$repeats" -w "$models" -b "$program"
        ;;
    pruning)
        many=$(list "$batches" | tr ' ' '\n' | grep -v '^1$' | paste -sd, -) # nobody leaves a batch of one
        [ -n "$many" ] || continue
        pruning "$ROOT/models/multi30k-token" 960
        synthetic_moe "$models" "$experts"
        pruning "$(typed "$models/moe-$experts" int8 "$models/moe-$experts")" 192
        ;;
    *) echo "-p: want experts, types or pruning, found $part" >&2; exit 2 ;;
    esac
    echo
done
