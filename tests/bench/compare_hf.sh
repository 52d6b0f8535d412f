#!/bin/sh
# compare_hf.sh - tokens/s of Hugging Face transformers and of dragoman: same machine, model, beam, sentences, threads.
#
# usage: tests/bench/compare_hf.sh [-m MODEL] [-b DRAGOMAN] [-n SENTENCES] [-r REPEATS] [-j THREADS]
#   -m   model directory (models/multi30k-token)      -b   the program (build/release/dragoman)
#   -n   lines of test_2016_flickr and val, en-de (1920; one by one a fortieth)   -r   runs of each, alternating; medians (3)
#   -j   threads for both (CPUs of this process)
#
# Needs python3 with venv; torch and transformers 4.55.4 are installed when absent (python_env.sh).
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/bench/python_env.sh"

model=$ROOT/models/multi30k-token program=$ROOT/build/release/dragoman sentences=1920 repeats=3 threads=$(nproc)
while getopts m:b:n:r:j: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    n) sentences=$OPTARG ;;
    r) repeats=$OPTARG ;;
    j) threads=$OPTARG ;;
    *) sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
python_env torch transformers==4.55.4 sentencepiece protobuf safetensors
export OMP_NUM_THREADS="$threads" TOKENIZERS_PARALLELISM=false
exec "$PYTHON" "$ROOT/tests/bench/compare_hf.py" --model "$model" --program "$program" --sentences "$sentences" \
    --repeats "$repeats" --threads "$threads" --data "$ROOT/tests/data/multi30k/test_2016_flickr.en.gz" "$ROOT/tests/data/multi30k/val.en.gz"
