#!/bin/sh
# compare_hf.sh - tokens/s of Hugging Face transformers (fp32) and of dragoman: same machine, model, beam, sentences, threads.
#
# usage: tests/bench/compare_hf.sh [-m MODEL] [-e EXPERTS] [-y TYPES] [-j THREADS] [-k BEAMS] [-c BATCHES] [-n SENTENCES] [-t TOKENS]
#                                  [-r REPEATS] [-w FOLDER] [-b DRAGOMAN]
#   -m   model directory (models/multi30k-token), or `synthetic`: random weights, d 512, FFN 2048, 8 + 8 layers, each 4th a
#        mixture of experts, vocabulary of 32,000
#   -e   experts a layer of the synthetic model (128)
#   -y   types of dragoman's model (f32), of f32,int8w,int8,int4: see synthetic.sh; each is a line beside the same Hugging Face runs
#   -j   threads of both (CPUs of this process)      -k   beams (1,4)      -c   sentences in a batch (1,96)
#   -n   lines of test_2016_flickr and val, en-de (1920; synthetic 96); one by one a fortieth of them
#   -t   tokens that each sentence becomes (synthetic 16; 0: until it ends)
#   -r   runs of each, alternating; medians are printed (3)
#   -w   folder where synthetic and quantised models are made, and found again by the next run (one that is removed)
#   -b   the program (build/release/dragoman)
#
# About 3 minutes for the demonstration model; for the synthetic one, of 4.3 GB, 5 to build it and then a minute or two for each cell
# (thread number, beam, batch). One cell: -m synthetic -j 1 -k 1 -c 1 -w FOLDER. Synthetic sentences never end, so their length is
# fixed on both sides, and before the table the ids of greedy f32 are compared, token by token.
# Needs python3 with venv; torch and transformers 4.55.4 are installed when absent (python_env.sh).
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/python_env.sh"
. "$ROOT/tests/bench/synthetic.sh"

experts=128 types=f32 threads=$(nproc) beams=1,4 batches=1,96
sentences='' tokens='' repeats=3 models=''
while getopts m:e:y:j:k:c:n:t:r:w:b: flag; do
    case $flag in
    m) model=$OPTARG ;;
    e) experts=$OPTARG ;;
    y) types=$OPTARG ;;
    j) threads=$OPTARG ;;
    k) beams=$OPTARG ;;
    c) batches=$OPTARG ;;
    n) sentences=$OPTARG ;;
    t) tokens=$OPTARG ;;
    r) repeats=$OPTARG ;;
    w) models=$OPTARG ;;
    b) program=$OPTARG ;;
    *) usage ;;
    esac
done
python_env torch transformers==4.55.4 sentencepiece protobuf safetensors
models=${models:-$work}
mkdir -p "$models"
if [ "$model" = synthetic ]; then
    model=$models/moe-$experts
    synthetic_moe "$models" "$experts"
    sentences=${sentences:-96} tokens=${tokens:-16}
fi
forms=
for type in $(echo "$types" | tr , ' '); do
    form=$(typed "$model" "$type" "$models/$(basename "$model")")
    forms="$forms $type=$form"
done
export TOKENIZERS_PARALLELISM=false
for n in $(echo "$threads" | tr , ' '); do
    # shellcheck disable=SC2086 # one argument a type
    OMP_NUM_THREADS=$n "$PYTHON" "$ROOT/tests/bench/compare_hf.py" --model "$model" --types $forms --program "$program" \
        --sentences "${sentences:-1920}" --tokens "${tokens:-0}" --repeats "$repeats" --threads "$n" --beams "$beams" --batches "$batches" \
        --data "$ROOT/tests/data/multi30k/test_2016_flickr.en.gz" "$ROOT/tests/data/multi30k/val.en.gz"
done
