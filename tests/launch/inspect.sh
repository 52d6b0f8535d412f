#!/usr/bin/env bash
# `dragoman inspect` tells what is in a model directory, for people and for programs, without reading the weights.
# usage: inspect.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token

# has PATTERN: a line of the last output matches.
has() {
    grep -Eq -- "$1" "$dir/out" || { fail "no line like: $1"; cat "$dir/out" "$dir/err"; }
}

# says CODE PATTERN ARGS...: inspect ends with CODE and one sentence that matches.
says() {
    refuses "$1" "$2" "$dragoman" inspect "${@:3}"
}

"$dragoman" inspect "$model" -n 5 >"$dir/out" 2>"$dir/err" || fail "exit code $?"
has '^type +nllb-moe, d_model 128, vocabulary 6206$'
has '^encoder +4 layers, 4 heads, FFN 256, MoE in layers 1 3 \(from 0\)$'
has '^experts +32 in each of 4 MoE layers, top 2, outputs times 0\.9$'
has '^languages +202$'
has '^limits +source 512 ids, target 200 ids'
has '^weights +[0-9.]+ MiB in 1 file, BF16$'
has '^experts +8,437,760 +16\.1 MiB +16\.2 MiB  bf16$'
has '^all +10,310,400 '
has '^0 to 1 +7 +3\.5 MiB '
has '^2 to 4 +6 +3\.0 MiB '

# The parts of N ranks are the whole, whatever N.
"$dragoman" inspect "$model" -n 7 --json >"$dir/out" 2>"$dir/err" || fail "--json: exit code $?"
# holds WHAT FILTER: the filter says true of the JSON (m) and the model's configuration (c)
holds() {
    jq -es "def m: .[0]; def c: .[1]; $2" "$dir/out" "$model/config.json" >/dev/null || fail "--json: $1"
}
holds "d_model" 'm.d_model == c.d_model'
holds "MoE layers" 'm.decoder.moe_layers == [1, 3]'
holds "ranks" 'm.ranks | length == 7'
holds "expert bytes" '([m.ranks[].expert_bytes] | add) == m.parts.experts.memory_bytes'
holds "experts" '([m.ranks[].experts] | add) == c.num_experts'
holds "dense bytes" '[([m.parts | to_entries[] | select(.key != "experts") | .value.memory_bytes] | add) + m.positions_bytes]
    == ([m.ranks[].dense_bytes] | unique)'

"$dragoman" inspect "$model" --verify >"$dir/out" 2>"$dir/err" || fail "--verify: exit code $?"
has '^verified: every weight'

# Headers are enough: weights that are one large hole are described as well.
cp "$model"/*.json "$dir"
header=$((8 + $(od -An -t u8 -N 8 "$model/model.safetensors")))
head -c "$header" "$model/model.safetensors" >"$dir/model.safetensors"
truncate -s "$(stat -c %s "$model/model.safetensors")" "$dir/model.safetensors"
"$dragoman" inspect "$dir" >"$dir/out" 2>"$dir/err" || fail "a sparse file: exit code $?"
has '^languages +unknown: sentencepiece\.bpe\.model is missing'
rm "$dir/model.safetensors"
says 3 'wanted model\.safetensors, pytorch_model\.bin, or the index of shards of either, found none' "$dir"
says 3 'wanted a model directory: No such file' /no/such/model
"$dragoman" inspect "$here/models/multi30k-task" >"$dir/out" 2>"$dir/err" || fail "routed by task: exit code $?"
has '^routing +encoder by token, decoder by task$'
has '^tasks +ces_Latn, deu_Latn, eng_Latn, fra_Latn$'
says 2 'want a whole number from 1' "$model" -n 0

[ "$bad" -eq 0 ] && echo "inspect: ok"
exit "$bad"
