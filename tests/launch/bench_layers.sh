#!/usr/bin/env bash
# `dragoman bench layers`: every stage has its line, shares make a whole, and the arithmetic is that of the shape.
# usage: bench_layers.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token
export DRAGOMAN=$dragoman

# holds WHAT FILTER: the filter says true of the lines of $dir/out
holds() {
    jq -es "$2" "$dir/out" >/dev/null || { fail "$1"; head -n 5 "$dir/out"; }
}

checks() {
    holds "$1: batches" '[.[].batch] | unique == [2, 8]'
    holds "$1: every stage" '[.[] | select(.batch == 8) | .stack + " " + .stage] | sort == ([" all else",
        ("encoder", "decoder" | . + " " + ("embed", "self attention", "ffn", "router", "exchange", "expert ffn", "combine")),
        "encoder whole phase", "decoder whole step", "encoder cross kv", "decoder cross attention", "decoder vocabulary", "decoder search"] | sort)'
    holds "$1: shares are a whole" 'group_by(.batch) | all((map(select(.stage | startswith("whole") | not) | .share) | add),
        (map(select(.stage | startswith("whole")) | .share) | add) | . > 0.99 and . < 1.01)'
    holds "$1: times" 'all(.[] | select(.stack != ""); .ms_per_step > 0)'
    holds "$1: rates" 'all(.[] | select(.bound); .rate > 0 and .peak > 0)'
    # a whole has its roofline, and no stage needs less than it does; kinds of arithmetic that are not there cost nothing
    holds "$1: rooflines" '[.[] | select(.roofline_ms)] | length == 4 and
        all(.[]; .roofline_ms > 0 and (.roofline_ms / .ms_per_step / .ratio | . > 0.99 and . < 1.01) and
            (.rate / .peak / .ratio | . > 0.99 and . < 1.01))'
    # rate * time of the dense layers of the encoder, operations or bytes by what bounds them here: 2 layers of two matrices in bf16,
    # 8 x 24 tokens, d 128, FFN 256
    holds "$1: operations of the ffn" '.[] | select(.batch == 8 and .stack == "encoder" and .stage == "ffn") |
        .rate * .ms_per_step * 1e6 / (2 * 2 * (if .bound == "compute" then 2 * 8 * 24 * 128 * 256 else 2 * 128 * 256 + 4 * 8 * 24 * (128 + 256) end)) |
        . > 0.99 and . < 1.01'
    # 8 sentences of beam 3 are 24 rows; the step that feeds the prompt has fewer; 21 operations a logit are the softmax
    holds "$1: operations of the vocabulary" '.[] | select(.batch == 8 and .stage == "vocabulary") |
        if .bound == "compute" then .rate * .ms_per_step * 1e6 / (24 * 6206 * (2 * 128 + 21)) | . > 0.5 and . <= 1.01 else true end'
}

options=(bench layers -m "$model" --batch "2,8" --beam 3 --src-tokens 24 --tgt-tokens 9 --threads 1 --json)
"$dragoman" "${options[@]}" >"$dir/out" 2>"$dir/err" || { fail "exit code $?"; cat "$dir/err"; }
checks "one rank"
if command -v mpirun >/dev/null; then
    "$here/launch/dragoman-mpirun" -n 2 "${options[@]}" --overlap on >"$dir/out" 2>"$dir/err" || { fail "2 ranks: exit code $?"; cat "$dir/err"; }
    holds "2 ranks: the exchange takes time" 'any(.[]; .stage == "exchange" and .ms_per_step > 0)'
    holds "2 ranks: shares are a whole" 'group_by(.batch) | all(map(select(.stage | startswith("whole") | not) | .share) | add | . > 0.99 and . < 1.01)'
fi
# ---- arithmetic and cache as translate has them ----
"$dragoman" quantize -m "$model" -o "$dir/int8" --experts int8 --dense int8 --compute int8 >/dev/null 2>&1 || fail "quantize: exit code $?"
# arithmetic MODEL OPTIONS...: what a step does most of, int8 or f32; all of it, where that is f32
arithmetic() {
    local from=$1
    shift
    "$dragoman" bench layers -m "$from" --batch 8 --src-tokens 24 --tgt-tokens 9 --threads 1 --json "$@" >"$dir/out" 2>"$dir/err" ||
        fail "$from $*: exit code $?"
    jq -r 'select(.stage == "whole step") | if .gop > .gflop then "int8" elif .gop == 0 then "f32" else "both" end' "$dir/out"
}
[ "$(arithmetic "$dir/int8")" = int8 ] || { fail "a model that says compute int8 is not benched so"; cat "$dir/out"; }
grep -q 'compute int8' "$dir/err" || fail "the start line does not say compute int8"
[ "$(arithmetic "$dir/int8" --compute f32)" = f32 ] || { fail "--compute f32 is not heard"; cat "$dir/out"; }
[ "$(arithmetic "$model")" = f32 ] || { fail "a model in bf16: not f32 arithmetic"; cat "$dir/out"; }
# What a step reads of sources, 4 layers, 8 x 24 keys and values of 128 elements, and of a past of 4.5 keys on average that
# 4 beams share in part, is less by half in a cache of bf16.
read_mb='select(.stage == "whole step") | .read_mb'
wide=$(jq "$read_mb" "$dir/out")
arithmetic "$model" --kv bf16 >/dev/null
jq -e --argjson wide "$wide" "$read_mb"' | ($wide - .) / (4 * 8 * 2 * 128 * 2 * 1e-6) | . > 24 + 4 and . < 24 + 4 * 5' "$dir/out" >/dev/null ||
    { fail "--kv bf16 saves another number of bytes than half the cache (f32: $wide)"; grep whole "$dir/out"; }

"$dragoman" bench layers --batch 2 --tgt-tokens 4 --threads 1 >"$dir/out" 2>"$dir/err" || fail "a table: exit code $?"
grep -Eq '^decoder  whole step .* (compute|bandwidth), at best [0-9.]+ ms$' "$dir/out" || { fail "a table: no roofline"; cat "$dir/out"; }
grep -Eq '^decoder  expert ffn .* (compute|bandwidth)$' "$dir/out" || { fail "a table: no line of the experts"; cat "$dir/out"; }

# refused PATTERN OPTIONS...: exit code 2 and one sentence
refused() {
    local pattern=$1 got
    shift
    "$dragoman" bench layers -m "$model" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ $got -eq 2 ] || fail "bench layers $*: exit code $got, not 2"
    if [ "$(grep -c '^dragoman: ' "$dir/err")" -ne 1 ] || ! grep -Eq -- "$pattern" "$dir/err"; then
        fail "bench layers $*: no '$pattern'"; cat "$dir/err"
    fi
}
refused "batch: want at most 16 whole numbers .*, found '4,'" --batch 4,
refused "batch: want at most 16 whole numbers .*, found '0'" --batch 0
refused 'src-tokens: want at most 512, as the model says, found 513' --src-tokens 513
refused 'beam: want' --beam 129

[ "$bad" -eq 0 ] && echo "bench layers: ok"
exit "$bad"
