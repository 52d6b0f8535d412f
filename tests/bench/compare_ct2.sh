#!/bin/sh
# compare_ct2.sh - tokens/s and memory of CTranslate2 and of dragoman: a dense model of random weights in both, and mixtures of
# experts of the same active size in dragoman; same machine, sentences, beam, batch, threads, and as many tokens from each sentence.
#
# usage: tests/bench/compare_ct2.sh [-d WIDTHS] [-e EXPERTS] [-y TYPES] [-j THREADS] [-c BATCHES] [-k BEAMS] [-n TOKENS] [-r REPEATS]
#                                   [-w FOLDER] [-b DRAGOMAN]
#   -d   widths of the models (512,1024): 6 + 6 layers, FFN of 4 widths, vocabulary of 32,000
#   -e   dragoman's models (0,8): 0 is the dense one; others have so many experts of 2 widths in every layer, two for each token, so
#        that a token costs what it costs the dense model. Each is a line beside the same CTranslate2 runs
#   -y   types of both (int8,float32)          -j   threads of both (1,2)
#   -c   sentences in a batch (1,32,256)       -k   beams (1,4)
#   -n   tokens that each sentence becomes (24)
#   -r   runs of each, alternating; medians are printed (5)
#   -w   folder where models are made, and found again by the next run (one that is removed)
#   -b   the program (build/release/dragoman)
#
# Expected time: at width 512 some 20 minutes a type with 1 thread, four times that at 1024; batch 256 takes most of it. One cell, under
# two minutes: -d 512 -y int8 -j 1 -c 32 -k 1 -e 8 -w FOLDER. 128 experts have 1.6 GB at width 512 in int8, 6.5 at 1024 (float32: 26).
# Memory is the peak of the process: of dragoman as its last line says, with all of its mapped model; of CTranslate2 what
# its process grew by since `import ctranslate2`, so that Python is not counted.
# Needs python3 with venv; ctranslate2, torch and transformers are installed when absent (python_env.sh).
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/python_env.sh"
. "$ROOT/tests/bench/synthetic.sh"

widths=512,1024 experts=0,8 types=int8,float32 threads=1,2 batches=1,32,256 beams=1,4 tokens=24 repeats=5 models=''
while getopts d:e:y:j:c:k:n:r:w:b: flag; do
    case $flag in
    d) widths=$OPTARG ;;
    e) experts=$OPTARG ;;
    y) types=$OPTARG ;;
    j) threads=$OPTARG ;;
    c) batches=$OPTARG ;;
    k) beams=$OPTARG ;;
    n) tokens=$OPTARG ;;
    r) repeats=$OPTARG ;;
    w) models=$OPTARG ;;
    b) program=$OPTARG ;;
    *) usage ;;
    esac
done
python_env torch transformers==4.55.4 sentencepiece protobuf safetensors ctranslate2==4.6.2
models=${models:-$work}
mkdir -p "$models"
gzip -dc "$ROOT/tests/data/multi30k/test_2016_flickr.en.gz" >"$work/text"
for width in $(echo "$widths" | tr , ' '); do
    dense=$models/dense-$width
    equal_dense "$models" "$width"
    for type in $(echo "$types" | tr , ' '); do
        case $type in int8) ours=int8 ;; float32) ours=f32 ;; *) echo "-y: want int8 or float32, found $type" >&2; exit 2 ;; esac
        forms=
        for n in $(echo "$experts" | tr , ' '); do
            if [ "$n" -eq 0 ]; then
                form=$(typed "$dense" $ours "$dense")
            else
                equal_moe "$models" "$width" "$n" $ours
                form=$models/moe-$width-$n-$ours
            fi
            forms="$forms $n=$form"
        done
        # shellcheck disable=SC2086 # one argument a model
        "$PYTHON" "$ROOT/tests/bench/compare_ct2.py" --model "$dense" --width "$width" --ours $forms --program "$program" --type "$type" \
            --threads "$threads" --batches "$batches" --beams "$beams" --tokens "$tokens" --repeats "$repeats" --text "$work/text" \
            --work "$work"
    done
done
