#!/usr/bin/env bash
# `dragoman quantize --calibration`: smaller errors, the same bytes whatever it ran on, and sentences for what is wrong.
# usage: calibrate.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token

# made NAME ARGS...: the model quantised as $dir/NAME; what was said in $dir/out and $dir/err.
made() {
    local name=$1
    shift
    "$dragoman" quantize -o "$dir/$name" "$@" >"$dir/out" 2>"$dir/err" || { fail "quantize $*: exit code $?"; cat "$dir/err"; }
}

# says CODE PATTERN ARGS...: quantize ends with CODE, its last sentence matches, and it leaves nothing.
says() {
    local code=$1 pattern=$2 got
    shift 2
    "$dragoman" quantize -m "$model" -o "$dir/none" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "quantize $*: exit code $got, not $code"
    [ ! -s "$dir/out" ] || fail "quantize $*: standard output is not empty"
    tail -n 1 "$dir/err" | grep -Eq -- "^dragoman: .*$pattern" || { fail "quantize $*: no '$pattern'"; cat "$dir/err"; }
    if [ -e "$dir/none" ] || [ -e "$dir/none.part" ]; then fail "quantize $*: something is left"; rm -rf "$dir"/none*; fi
}

# 24 captions in each of the 12 directions.
for s in en de fr cs; do
    for t in en de fr cs; do
        [ $s = $t ] || gzip -dc "$here/tests/data/multi30k/val.$s.gz" | head -n 24 | sed "s/^/$s\t$t\t/"
    done
done >"$dir/text"
text=$dir/text

made int4 -m "$model" --experts int4 --calibration "$text"
grep -q "$(wc -l <"$text") lines, [0-9]* tokens" "$dir/err" || { fail "lines and tokens are not told"; cat "$dir/err"; }
grep -q 'moments of 293 matrices in 1 pass ' "$dir/err" || { fail "passes are not told"; cat "$dir/err"; }
# error of outputs: two lines of each layer, the second smaller in each column
awk '/^error of outputs/ { on = 1; next } !on { next }
     / rounded / { for (i = 1; i <= NF; i++) before[i] = $i; n = NF; next }
     / feedback  *[0-9]/ { for (i = 2; i <= NF; i++) { pairs++; if ($i >= before[i + n - NF] * 0.95) worse++ } }
     END { exit !(pairs == 17 && worse == 0) }' "$dir/out" || { fail "feedback does not lower every error"; cat "$dir/out"; }
tail -n 1 "$dir/out" | grep -Eq '^[0-9]+ matrices with feedback; without: [0-9]+ that too few rows entered, 0 whose' ||
    { fail "matrices are not counted"; tail -n 1 "$dir/out"; }
tail -n 1 "$dir/out" | awk '{ exit !($1 > 37 && $6 > 100 && $1 + $6 == 293) }' || { fail "the counts do not add up"; tail -n 1 "$dir/out"; }
jq -e --argjson lines "$(wc -l <"$text")" '.dragoman.history[-1].options.calibration
    | .lines == $lines and .tokens > 4000 and .damp == 0.01 and (.text | test("^[0-9a-f]{16}$"))' "$dir/int4/config.json" >/dev/null ||
    { fail "config.json does not tell of the calibration"; cat "$dir/int4/config.json"; }
"$dragoman" inspect "$dir/int4" --verify >/dev/null || fail "inspect refuses the result"

# same NAME ARGS...: again, with ARGS, and the same bytes come out.
same() {
    local name=$1
    shift
    made "$name" --experts int4 --calibration "$text" "$@"
    cmp "$dir/int4/model.safetensors" "$dir/$name/model.safetensors" || fail "$*: other bytes"
    rm -rf "${dir:?}/$name"
}
for isa in ref avx2; do
    has_isa $isa || continue
    same "isa" -m "$model" --isa $isa --threads 1
done
same "threads" -m "$model" --threads 2
same "memory" -m "$model" --calibration-memory 8
grep -Eq 'in ([4-9]|1[0-9]) passes over the text, at most 8.0 MiB' "$dir/err" || { fail "8 MiB: not several passes"; cat "$dir/err"; }
# the way of a machine that is smaller than the model: packed first, then mapped
made bf16 -m "$model" --experts bf16 --dense bf16
same "packed" -m "$dir/bf16"
# CRLF, a byte order mark, blank lines and a pipe
{ printf '\357\273\277'; sed 's/$/\r/' "$text"; printf '\n\n'; } >"$dir/crlf"
made "windows" -m "$model" --experts int4 --calibration <(cat "$dir/crlf")
cmp "$dir/int4/model.safetensors" "$dir/windows/model.safetensors" || fail "CRLF: other bytes"

# groups, int8, a dense model
made groups -m "$model" --experts int4 --group 32 --calibration "$text"
made int8 -m "$model" --experts int8 --calibration "$text"
for m in int4 groups int8; do
    echo 'A man rides a horse.' | "$dragoman" translate -m "$dir/$m" -s en -t de >"$dir/got" 2>"$dir/err" || { fail "$m does not translate"; cat "$dir/err"; }
    [ "$(wc -w <"$dir/got")" -ge 4 ] || { fail "$m: no translation"; cat "$dir/got"; }
done
"$dragoman" synth --like dense-600m --layers 1,1 --d-model 64 --ffn 96 --heads 2 --vocab 7000 -o "$dir/dense" >/dev/null 2>&1 ||
    fail "no dense model"
head -n 60 "$text" >"$dir/sixty"
made dense8 -m "$dir/dense" --calibration "$dir/sixty"
grep -Eq '^12 matrices with feedback; without: 0 that' "$dir/out" || { fail "a dense model: not 12 matrices"; cat "$dir/out" "$dir/err"; }

# what is wrong
says 4 'no/such: No such file' --calibration "$dir/no/such"
: >"$dir/empty"
says 4 'empty: wanted lines of calibration text, found none' --calibration "$dir/empty"
printf '\n\n' >"$dir/blank"
says 4 'blank: wanted lines of calibration text, found none' --calibration "$dir/blank"
{ head -n 2 "$text"; echo 'A man rides a horse.'; } >"$dir/plain"
says 4 'plain line 3: wanted `source language, tab, .* found no source language' --calibration "$dir/plain"
printf 'en\tA man rides a horse.\n' >"$dir/half"
says 4 'half line 1: .* found no target language' --calibration "$dir/half"
printf 'en\tklingon\tA man.\n' >"$dir/klingon"
says 4 'klingon line 1: .*klingon' --calibration "$dir/klingon"
printf 'en\tde\t\n' >"$dir/short"
says 4 'short line 1: wanted a sentence of 3 to [0-9]+ tokens.* found 2$' --calibration "$dir/short"
{ printf 'en\tde\t'; yes 'man horse' | head -n 600 | tr '\n' ' '; echo; } >"$dir/long"
says 4 'long line 1: wanted a sentence of 3 to [0-9]+ tokens.* found 1[0-9]{3}$' --calibration "$dir/long"
printf 'en\tde\tA m\377n.\n' >"$dir/latin"
says 4 'latin line 1: byte' --calibration "$dir/latin"
says 2 '--calibration: want integers to make .* found bf16 and f32' --calibration "$text" --experts bf16 --dense f32
good=$model model=$dir/int4
says 2 'found integers \(experts int4, dense int8\)' --calibration "$text"
model=$good
(ulimit -f 5000; "$dragoman" quantize -m "$model" -o "$dir/full" --calibration "$text" >"$dir/out" 2>"$dir/err")
[ $? -eq 5 ] || { fail "a limit on file sizes: not exit code 5"; cat "$dir/err"; }
if [ -e "$dir/full" ] || [ -e "$dir/full.part" ]; then fail "a limit on file sizes: something is left"; fi
head -n 48 "$text" >"$dir/some"
killed_amid 8 quantize -m "$model" --threads 1 --calibration "$dir/some"
[ "$bad" -eq 0 ] && echo "calibrate: ok, $killed runs killed"
exit "$bad"
