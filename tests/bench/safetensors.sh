#!/usr/bin/env bash
# Opens what `dragoman quantize` writes with Python's safetensors, and undoes int8 and int4 in numpy by the layout of
# docs/adr/0006 alone: the values must be within the printed error of the source's.
# usage: tests/bench/safetensors.sh [-m MODEL] [-b DRAGOMAN]
set -eu
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tests/bench/python_env.sh"
model=$ROOT/models/multi30k-token program=$ROOT/build/release/dragoman
while getopts m:b: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    *) sed -n '/^# usage/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
python_env safetensors numpy ml_dtypes
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for experts in int8 int4; do
    for group in none 32; do
        "$program" quantize -m "$model" -o "$dir/$experts-$group" --experts $experts --dense bf16 --group $group >/dev/null
        "$PYTHON" "$ROOT/tests/bench/safetensors_check.py" "$model" "$dir/$experts-$group"
    done
done
