#!/bin/sh
# compare_ct2.sh - tokens/s of CTranslate2 and of dragoman: a dense model of random weights in both, same machine, sentences,
# beam, batch, threads, and as many tokens from each sentence.
#
# usage: tests/bench/compare_ct2.sh [-d WIDTHS] [-y TYPES] [-j THREADS] [-c BATCHES] [-k BEAMS] [-n TOKENS] [-r REPEATS] [-b DRAGOMAN]
#   -d   widths of the models (512,1024): 6 + 6 layers, FFN of 4 widths, vocabulary of 32,000
#   -y   types of both (int8,float32)          -j   threads of both (1,2)
#   -c   sentences in a batch (1,32,256)       -k   beams (1,4)
#   -n   tokens that each sentence becomes (24)
#   -r   runs of each, alternating; medians are printed (5)
#   -b   the program (build/release/dragoman)
#
# Needs python3 with venv; ctranslate2, torch and transformers are installed when absent (python_env.sh).
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/bench/python_env.sh"

widths=512,1024 types=int8,float32 threads=1,2 batches=1,32,256 beams=1,4 tokens=24 repeats=5 program=$ROOT/build/release/dragoman
while getopts d:y:j:c:k:n:r:b: flag; do
    case $flag in
    d) widths=$OPTARG ;;
    y) types=$OPTARG ;;
    j) threads=$OPTARG ;;
    c) batches=$OPTARG ;;
    k) beams=$OPTARG ;;
    n) tokens=$OPTARG ;;
    r) repeats=$OPTARG ;;
    b) program=$OPTARG ;;
    *) sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
python_env torch transformers==4.55.4 sentencepiece protobuf safetensors ctranslate2==4.6.2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gzip -dc "$ROOT/tests/data/multi30k/test_2016_flickr.en.gz" >"$work/text"
for width in $(echo "$widths" | tr , ' '); do
    model=$work/d$width
    "$program" synth --like dense-600m --d-model "$width" --ffn $((4 * width)) --layers 6,6 --heads $((width / 64)) \
        --vocab 32000 --dense f32 -o "$model" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
    "$program" quantize -m "$model" --experts int8 --dense int8 --compute int8 -o "$model-int8" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    "$PYTHON" "$ROOT/tests/bench/compare_ct2.py" --model "$model" --program "$program" --types "$types" --threads "$threads" \
        --batches "$batches" --beams "$beams" --tokens "$tokens" --repeats "$repeats" --text "$work/text" --work "$work"
done
