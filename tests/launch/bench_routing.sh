#!/usr/bin/env bash
# `dragoman bench routing`: its columns for each kind of routing, one process and ranks; experts within their bounds; decoders
# that are routed by task exchange nothing, and hold and read what their languages need.
# usage: bench_routing.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DRAGOMAN=$dragoman

for kind in token sentence task; do
    "$dragoman" synth --like demo --d-model 32 --heads 4 --ffn 48 --layers 2,4 --experts 16 --decoder-routing $kind -o "$dir/$kind" \
        >/dev/null 2>"$dir/err" || fail "synth $kind: exit code $?"
done

# bench KIND RANKS OPTIONS...: JSON in $dir/out
bench() {
    local kind=$1 with=("$here/launch/dragoman-mpirun" -n "$2" --)
    [ "$2" -ne 1 ] || with=("$dragoman")
    shift 2
    what="$kind, ${#with[@]} words, $*"
    "${with[@]}" bench routing -m "$dir/$kind" --batch 1,8 --src-tokens 8 --tgt-tokens 12 --threads 1 --json "$@" \
        >"$dir/out" 2>"$dir/err" || fail "$what: exit code $?"
}

# holds WHAT FILTER: the filter says true of the lines of cases
holds() {
    jq -es 'map(select(.bench == "routing")) | '"$2" "$dir/out" >/dev/null || { fail "$what: $1"; head -n 5 "$dir/out"; }
}

# Of 2 MoE layers of the decoder: a row has 2 experts, 8 rows 2 to 16, and no rank more than it holds.
columns() { # columns ROUTING TARGETS RANKS MOST_EXPERTS
    holds "cases" "map([.routing, .experts, .targets, .ranks, .batch]) == [[\"$1\", 16, $2, $3, 1], [\"$1\", 16, $2, $3, 8]]"
    holds "rates" 'all(.[]; .tokens_per_s > 0 and .decode_tokens_per_s > 0 and .ms_per_step > 0 and .read_mb > 0)'
    holds "predictions" 'all(.[]; .predicted_ms > .predicted_exchange_ms + .predicted_plan_ms and .predicted_exchange_ms >= 0)'
    holds "shares" 'all(.[]; .exchange_share >= 0 and .exchange_share < 1)'
    holds "experts" "all(.[]; .experts_read >= 0 and .experts_read <= $4 and .experts_read <= 2 * .batch)"
}
# An expert is 32 x 48 twice, and its biases.
expert=$((2 * 32 * 48 + 32 + 48))
# held N: decoder parameters, without the embedding, are those of N experts in 2 layers and what all kinds have in common
held() {
    local rest=$((4 * (4 * 32 * 33 + 4 * 32 * 33 + 6 * 32) + 2 * expert + 2 * 32))
    holds "parameters of $1 experts" "all(.[]; (.decoder_parameters - $rest - $1 * 2 * $expert) | . >= 0 and . <= 2 * 16 * 32)"
}

bench token 1 --targets 4
columns token 4 1 16
holds "all of a row's experts" '.[0].experts_read == 2'
held 16
bench sentence 1
columns sentence 1 1 16
held 16
bench task 1 --targets 4
columns task 4 1 8
holds "each language's two" 'map(.experts_read) == [2, 8]'
held 8
bench task 1
holds "two of one language" 'map(.experts_read) == [2, 2]'
held 2
jq -es '.[0] | .bench == "routing peaks" and .gflops > 0 and .gops > 0 and (.gbytes | length) == 7 and all(.gbytes[]; . > 0)' "$dir/out" >/dev/null ||
    { fail "no line of peaks"; head -n 1 "$dir/out"; }
if command -v mpirun >/dev/null; then
    bench token 2 --targets 4
    columns token 4 2 8
    holds "an exchange" 'all(.[]; .exchange_bytes > 0 and .exchange_share > 0 and .predicted_exchange_ms > 0)'
    held 8
    bench task 2 --targets 4
    columns task 4 2 8
    nothing='all(.[]; .exchange_bytes == 0 and .exchange_share == 0 and .predicted_exchange_ms == 0)'
    holds "no exchange" "$nothing"
    held 8
    bench task 2 --targets 4 --task-ranks split --overlap on
    columns task 4 2 4
    holds "no exchange, split" "$nothing"
    holds "its own languages' experts" '.[1].experts_read == 4'
    held 4
fi

"$dragoman" bench routing -m "$dir/task" --batch 2 --tgt-tokens 6 --threads 1 >"$dir/out" 2>"$dir/err" || fail "a table: exit code $?"
grep -Eq '^decoder routed by task, 16 experts, 1 target languages, 1 ranks$' "$dir/out" || { fail "a table: no head"; cat "$dir/out"; }

# refused PATTERN MODEL OPTIONS...: exit code 2 and one sentence
refused() {
    local pattern=$1 got
    shift
    "$dragoman" bench routing -m "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ $got -eq 2 ] || fail "bench routing $*: exit code $got, not 2"
    if [ "$(grep -c '^dragoman: ' "$dir/err")" -ne 1 ] || ! grep -Eq -- "$pattern" "$dir/err"; then
        fail "bench routing $*: no '$pattern'"; cat "$dir/err"
    fi
}
refused '--targets: want at most 4, the tasks of the model, found 5' "$dir/task" --targets 5
refused '--tgt-tokens: want at least 4' "$dir/task" --tgt-tokens 3
"$dragoman" synth --like dense-600m --d-model 32 --heads 4 --ffn 48 --layers 1,1 --vocab 6300 -o "$dir/dense" >/dev/null 2>&1 || fail "synth dense"
refused 'want a model with experts in the decoder' "$dir/dense"

[ "$bad" -eq 0 ] && echo "bench routing: ok"
exit "$bad"
