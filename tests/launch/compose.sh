#!/usr/bin/env bash
# prune, sparsify, quantise and extract in all orders of up to three steps: each result loads, tells all its steps, has the weights that
# any other order of the same steps gives, translates to the bytes that these steps promise, and counts its zeros right.
# usage: compose.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_LOG_LEVEL=error
head -n 3 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"

run() { "$dragoman" "$@" >"$dir/out" 2>"$dir/err" || fail "$*: exit code $?"; }
# translated MODEL FILE ARGS...: to German, with scores
translated() {
    "$dragoman" translate -m "$1" -s en -t de -i "$dir/in" --max-length 16 --with-score --threads 1 "${@:3}" >"$2" 2>"$dir/err"
    [ $? -le 1 ] || fail "translate $*: exit code" # 1: random models do not end
}

# The model: its encoder chooses by token, its decoder by target. The sets keep what German uses of the decoder, and one expert more;
# of an extracted model they name what there is.
run synth --like demo --d-model 32 --heads 2 --ffn 64 --layers 2,2 --experts 8 --decoder-routing task --tasks 4 -o "$dir/m."
run extract -m "$dir/m." -t de -o "$dir/german"
used=$(jq -c '.dragoman.history[0].options.experts.decoder[0]' "$dir/german/config.json")
# keep FILE DECODER
keep() {
    jq -n --argjson decoder "$2" '{format: 1, model: null, options: {}, statistics: [],
        encoder: {eng_Latn: {"1": [0, 2, 3, 6]}}, decoder: {deu_Latn: {"1": $decoder}}}' >"$1"
}
keep "$dir/whole.json" "$(jq -nc --argjson used "$used" '$used + [([range(8)] - $used)[-1]] | sort')"
keep "$dir/german.json" '[0, 1]'

# keep_of PATH: the keep file for a model that those steps made
keep_of() { case $1 in *e*) echo "$dir/german.json" ;; *) echo "$dir/whole.json" ;; esac; }

# step LETTER PATH: of m.PATH, as m.PATHLETTER
step() {
    local from=$dir/m.$2 to=$dir/m.$2$1
    case $1 in
    p) run prune -m "$from" -k "$(keep_of "$2")" --for en-de -o "$to" ;;
    s) run sparsify -m "$from" --method magnitude --sparsity 0.5 -o "$to" ;;
    q) run quantize -m "$from" --experts f32 --dense f32 -o "$to" ;;
    i) run quantize -m "$from" --experts int8 --dense int8 -o "$to" ;;
    n) run quantize -m "$from" --experts int4 --dense bf16 --group 32 -o "$to" ;;
    e) run extract -m "$from" -t de -o "$to" ;;
    f) run extract -m "$from" -t de --fold -o "$to" ;;
    esac
}
declare -A tool=([p]=prune [s]=sparsify [q]=quantize [i]=quantize [n]=quantize [e]=extract [f]=extract)

# told PATH: every step is in the history and a line of inspect; from sparsify on, with zeros, which are those that there are: whoever
# counts again (sparsify with a share too small to make one) finds as many, of as many.
told() {
    local want='' count
    for ((i = 0; i < ${#1}; i++)); do want+="${tool[${1:i:1}]} "; done
    [ "$(jq -r '[.dragoman.history[].tool + " "] | add' "$dir/m.$1/config.json")" = "$want" ] || fail "$1: other steps"
    run inspect "$dir/m.$1" --verify
    [ "$(sed -nE 's/^(history|       ) +[0-9]\. ([a-z]+).*/\2/p' "$dir/out" | tr '\n' ' ')" = "$want" ] || fail "$1: inspect shows other steps"
    case $1 in
    *s*) ;;
    *) jq -e '[.dragoman.history[] | has("zeros")] | any' "$dir/m.$1/config.json" >/dev/null && fail "$1: zeros, and nothing was zeroed"; return ;;
    esac
    rm -rf "$dir/again"
    run sparsify -m "$dir/m.$1" --method magnitude --sparsity 0.001 -o "$dir/again"
    count=$(sed -nE 's/^zeros: ([0-9]+), .* of the ([0-9]+) weights of pruned matrices, .* of all ([0-9]+)$/\1 \2 \3/p' "$dir/out")
    [ "$(jq -r '.dragoman.history[-1].zeros | "\(.zeros) \(.pruned) \(.parameters)"' "$dir/m.$1/config.json")" = "$count" ] ||
        fail "$1: zeros are not $count: $(jq -c '.dragoman.history[-1].zeros' "$dir/m.$1/config.json")"
}

# promised PATH: extracting and packing as f32 change nothing, pruning what its keep file does; what rounds and what zeroes do not
# commute, all else does.
promised() {
    local base same with=() kind
    base=$(tr -cd si <<<"$1")
    case $1 in *p*) with=(-k "$dir/whole.json") ;; esac
    kind=$base.$(grep -o . <<<"$1" | sort | tr -d '\n')
    same=$(cat "$dir/first.$kind" 2>/dev/null || echo "$1" | tee "$dir/first.$kind")
    cmp -s "$dir/m.$1/model.safetensors" "$dir/m.$same/model.safetensors" || fail "$1: other weights than $same"
    [ -e "$dir/want.$base.${#with[@]}" ] || translated "$dir/m.$base" "$dir/want.$base.${#with[@]}" "${with[@]}"
    translated "$dir/m.$1" "$dir/got"
    cmp -s "$dir/want.$base.${#with[@]}" "$dir/got" || fail "$1: other bytes than the model after '$base' ${with[*]}"
}

paths=('')
for _ in 1 2 3; do
    next=()
    for path in "${paths[@]}"; do
        for letter in p s q i e; do
            case $path$letter in *"$letter"*"$letter"* | *q*i* | *i*q*) continue ;; esac
            step $letter "$path"
            told "$path$letter"
            promised "$path$letter"
            next+=("$path$letter")
        done
    done
    paths=("${next[@]}")
done
for base in '' s si is i; do
    cmp -s "$dir/want.$base.0" "$dir/want.$base.2" && fail "'$base': pruning changes nothing, which proves nothing"
done
cmp -s "$dir/want.si.0" "$dir/want.is.0" && fail "sparsify and quantize in either order: the same bytes"

# Calibrated: what was cut or extracted for English into German sees this direction, and is as good a source as any.
head -n 3 "$here/models/sample/pictures.deu_Latn.txt" >"$dir/de"
texts=(--calibration "en=$dir/in" "de=$dir/de")
for path in p e pe ep; do
    rm -rf "$dir"/{x,x.q}
    run sparsify -m "$dir/m.$path" "${texts[@]}" -o "$dir/x"
    grep -qx 'calibrated on 1 of 2 directions: the model does not translate the others' "$dir/out" || fail "$path: calibrated otherwise"
    run quantize -m "$dir/x" --experts int8 --dense int8 -o "$dir/x.q"
done
rm -rf "$dir"/{x,x.q}

# Folded in the end, of what is no packed model: its zeros are counted with those that make its layers wide.
for path in s p sp ps; do
    step f $path
    told ${path}f
done
# Zeros of int4 are counted too, by each that copies them.
step n ''
step s n
for letter in e p; do
    step $letter ns
    told ns$letter
done
# Places of 2:4 and 4:8 go along.
for pattern in 2:4 4:8; do
    rm -rf "$dir"/{whole,part,x}
    run sparsify -m "$dir/m.q" --method magnitude --pattern $pattern -o "$dir/whole"
    run extract -m "$dir/whole" -t de -o "$dir/part"
    translated "$dir/whole" "$dir/want"
    translated "$dir/part" "$dir/got"
    cmp -s "$dir/want" "$dir/got" || fail "$pattern, extracted: other bytes"
    run sparsify -m "$dir/m.eq" --method magnitude --pattern $pattern -o "$dir/x"
    cmp -s "$dir/x/model.safetensors" "$dir/part/model.safetensors" || fail "$pattern, extracted before and after: other weights"
done
exit $bad
