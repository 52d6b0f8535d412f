#!/bin/sh
# synthetic.sh - sourced by the scripts here that need a model of random weights or of another type, with $program (dragoman) and
# $work (a folder for logs) set. Models that are there already are taken as they are: their names tell what they are.

# shellcheck disable=SC2154 # set by those who source this
# quietly COMMAND...: what it says is shown only when it fails
quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

# synthetic DIR OPTION...: a Hugging Face directory of random f32 weights, by dragoman synth
synthetic() {
    dir=$1
    shift
    [ -d "$dir" ] || quietly "$program" synth --dense f32 "$@" -o "$dir"
}

# synthetic_moe FOLDER EXPERTS: FOLDER/moe-EXPERTS, the shape that is compared with Hugging Face
synthetic_moe() {
    synthetic "$1/moe-$2" --like demo --d-model 512 --ffn 2048 --heads 8 --layers 8,8 --sparse-step 4 --experts "$2" --vocab 32000
}

# equal_dense FOLDER WIDTH: FOLDER/dense-WIDTH, 6 + 6 layers, FFN of 4 widths
equal_dense() {
    synthetic "$1/dense-$2" --like dense-600m --d-model "$2" --ffn $((4 * $2)) --layers 6,6 --heads $(($2 / 64)) --vocab 32000
}

# equal_moe FOLDER WIDTH EXPERTS TYPE: FOLDER/moe-WIDTH-EXPERTS-TYPE (int8, f32), the same with two of so many experts of half that
# FFN for each token in every layer, so that a token costs as much arithmetic
equal_moe() {
    [ -d "$1/moe-$2-$3-$4" ] || quietly "$program" synth --like demo --d-model "$2" --ffn $((2 * $2)) --layers 6,6 \
        --heads $(($2 / 64)) --vocab 32000 --sparse-step 1 --experts "$3" --weights "$4" --dense "$4" -o "$1/moe-$2-$3-$4"
}

# typed MODEL TYPE DIR: prints the directory of MODEL in TYPE, which is DIR-TYPE when it has to be made.
#   f32     as it is                               int8    experts and all else int8, multiplied as int8
#   int8w   the same, multiplied as f32            int4    int4 experts, all else int8, multiplied as int8
typed() {
    experts=int8 compute=int8
    case $2 in
    f32) echo "$1"; return ;;
    int8) ;;
    int8w) compute=f32 ;;
    int4) experts=int4 ;;
    *) echo "want types f32, int8w, int8 or int4, found $2" >&2; return 2 ;;
    esac
    [ -d "$3-$2" ] ||
        quietly "$program" quantize -m "$1" --experts $experts --dense int8 --clip none --compute $compute -o "$3-$2" || return 1
    echo "$3-$2"
}
