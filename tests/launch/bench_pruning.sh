#!/usr/bin/env bash
# `dragoman bench pruning` counts the rows of both ways right; `dragoman bench experts` has every case, with the same bytes.
# usage: bench_pruning.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token
export DRAGOMAN=$dragoman

printf '%s\n' 5 12 30 8 9 14 11 >"$dir/lengths"
"$dragoman" bench pruning -m "$model" --lengths "$dir/lengths" --batch 3,7,99 --beam 2 --src-tokens 8 --threads 1 --json \
    >"$dir/out" 2>"$dir/err" || { fail "exit code $?"; cat "$dir/err"; }
# Of 3: 30 and 14 are the longest, the last one is left out. Of 7: 30. Two rows a token.
jq -es 'map([.batch, .padded_rows, .pruned_rows]) ==
    [[3, 2 * 3 * (30 + 14), 2 * (5 + 12 + 30 + 8 + 9 + 14)], [7, 2 * 7 * 30, 2 * 89], [7, 2 * 7 * 30, 2 * 89]]
    and all(.[]; .padded_s > 0 and .pruned_s > 0)' "$dir/out" >/dev/null || { fail "other rows"; cat "$dir/out"; }
"$dragoman" bench pruning -m "$model" --lengths "$dir/lengths" --batch 7 --threads 1 >"$dir/out" 2>"$dir/err" || fail "a table: exit code $?"
[ "$(wc -l <"$dir/out")" -eq 2 ] || { fail "a table: not two lines"; cat "$dir/out"; }

# refused CODE PATTERN OPTIONS...: one sentence
refused() {
    local code=$1 pattern=$2 got
    shift 2
    "$dragoman" bench pruning -m "$model" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ $got -eq "$code" ] || fail "bench pruning $*: exit code $got, not $code"
    if [ "$(grep -c '^dragoman: ' "$dir/err")" -ne 1 ] || ! grep -Eq -- "$pattern" "$dir/err"; then
        fail "bench pruning $*: no '$pattern'"; cat "$dir/err"
    fi
}
printf '3\n511\n' >"$dir/long"
printf '3\n4 5\n' >"$dir/cut"
: >"$dir/empty"
refused 2 'want --lengths FILE'
refused 4 'long line 2: want a whole number from 1 to 510, found .511' --lengths "$dir/long"
refused 4 'cut line 2: want a whole number' --lengths "$dir/cut"
refused 4 'empty: want lengths, found an empty file' --lengths "$dir/empty"
refused 4 'none: cannot be opened' --lengths "$dir/none"
refused 2 "batch: want at most 16 whole numbers .*, found '3,'" --lengths "$dir/lengths" --batch 3,
refused 2 'src-tokens: want at most 512' --lengths "$dir/lengths" --src-tokens 513

"$dragoman" bench experts --threads 1 --json >"$dir/out" 2>"$dir/err" || { fail "experts: exit code $?"; cat "$dir/err"; }
jq -es 'length == 24 and all(.[]; .grouped_ms > 0 and .one_by_one_ms > 0) and (map(.type) | unique | length) == 4' "$dir/out" >/dev/null ||
    { fail "experts: other cases"; cat "$dir/out"; }

[ "$bad" -eq 0 ] && echo "bench pruning: ok"
exit "$bad"
