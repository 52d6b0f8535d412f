#!/usr/bin/env bash
# Opens what `dragoman quantize` writes with Python's safetensors, and undoes int8 and int4 in numpy by the layout of
# docs/adr/0006 alone: the values must be within the printed error of the source's.
# usage: tests/bench/safetensors.sh [-m MODEL] [-b DRAGOMAN]
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"
. "$ROOT/tests/bench/python_env.sh"
while getopts m:b: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    *) usage ;;
    esac
done
python_env safetensors numpy ml_dtypes
for experts in int8 int4; do
    for group in none 32; do
        "$program" quantize -m "$model" -o "$work/$experts-$group" --experts $experts --dense bf16 --group $group >/dev/null
        "$PYTHON" "$ROOT/tests/bench/safetensors_check.py" "$model" "$work/$experts-$group"
    done
done
