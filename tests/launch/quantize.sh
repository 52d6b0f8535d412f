#!/usr/bin/env bash
# `dragoman quantize`: what it prints, what it refuses, and that a run that ends early leaves nothing that loads.
# usage: quantize.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
export DRAGOMAN=$dragoman

# says CODE PATTERN ARGS...: quantize ends with CODE and one sentence that matches.
says() {
    refuses "$1" "$2" "$dragoman" quantize -m "$model" "${@:3}"
}

# made NAME ARGS...: the model quantised as $dir/NAME, and every checksum fits.
made() {
    local name=$1
    shift
    "$dragoman" quantize -m "$model" -o "$dir/$name" "$@" >"$dir/out" 2>"$dir/err" ||
        { fail "quantize $*: exit code $?"; cat "$dir/err"; }
    "$dragoman" inspect "$dir/$name" --verify >"$dir/inspect" 2>>"$dir/err" ||
        { fail "inspect of $*: exit code $?"; cat "$dir/err"; }
    [ ! -e "$dir/$name.part" ] || fail "quantize $*: $name.part is still there"
}

before=$(cat "$model"/* | cksum)
for experts in int8 int4 bf16 f32; do
    for dense in int8 bf16 f32; do
        made "$experts-$dense" --experts $experts --dense $dense
        grep -Eq "^experts .* $experts\$" "$dir/inspect" || fail "$experts, $dense: inspect names another type of experts"
        grep -Eq "^embedding .* $dense\$" "$dir/inspect" || fail "$experts, $dense: inspect names another type of embedding"
    done
done
grep -Eq '^'"$model"': 20702520 bytes of weights$' "$dir/out" || fail "the bytes before are not told"
grep -Eq '^decoder 3 +0\.000000 +0\.000000$' "$dir/out" || { fail "f32 should lose nothing"; cat "$dir/out"; }
"$dragoman" quantize -m "$model" -o "$dir/x" --experts int4 --group 32 >"$dir/out" 2>/dev/null
grep -Eq '^all +0\.00[45][0-9]+ +0\.00[45][0-9]+ +0\.00[45][0-9]+ +0\.08[0-9]+$' "$dir/out" || { fail "other errors"; cat "$dir/out"; }
size() { stat -c %s "$dir/$1/model.safetensors"; }
[ "$(size int8-int8)" -lt $(($(size bf16-bf16) * 55 / 100)) ] || fail "int8 is not about half of bf16"
[ "$(size int4-int8)" -lt $(($(size int8-int8) * 65 / 100)) ] || fail "int4 experts are not about half of int8"

# Experts of int4 with a scale an output, d 1024: an eighth of f32 within 3 in 100, in the file and in memory. An output's scale is 4 bytes
# to 512 of integers, and biases stay f32.
wide=(synth --like demo --d-model 1024 --heads 16 --ffn 2048 --layers "2,2" --sparse-step 2 --experts 2)
"$dragoman" "${wide[@]}" --weights f32 --dense f32 -o "$dir/wide" 2>"$dir/err" || { fail "synth of d 1024"; cat "$dir/err"; }
"$dragoman" quantize -m "$dir/wide" -o "$dir/wide-int4" --experts int4 --clip none >"$dir/out" 2>"$dir/err" ||
    { fail "quantize of d 1024"; cat "$dir/err"; }
for name in wide wide-int4; do "$dragoman" inspect "$dir/$name" --json; done |
    jq -es 'map(.parts.experts) | all(.[0].file_bytes / .[1].file_bytes, .[0].memory_bytes / .[1].memory_bytes;
        . > 8 / 1.03 and . <= 8) and .[0].file_bytes > 2 * 2 * 2 * 1024 * 2048 * 4' >/dev/null ||
    fail "d 1024: experts of int4 are not an eighth of f32"
rm -rf "$dir/wide" "$dir/wide-int4"
for f in generation_config.json sentencepiece.bpe.model tokenizer_config.json; do
    cmp -s "$model/$f" "$dir/int8-int8/$f" || fail "$f was not copied"
done
jq -e --slurpfile old "$model/config.json" 'del(.dragoman) == $old[0] and .dragoman.format == "1.0"
    and .dragoman.weights == {"experts":"int8","dense":"int8","group":0,"scale_rule":"paper","clip":"mse"}
    and .dragoman.compute == "f32" and (.dragoman.history | length) == 1' "$dir/int8-int8/config.json" >/dev/null ||
    { fail "config.json is not the source's and our keys"; cat "$dir/int8-int8/config.json"; }

"$dragoman" inspect "$dir/int4-bf16" --json -n 5 | jq -e '.packed == {"experts":"int4","dense":"bf16","group":0} and .compute == "f32"
    and .parts.experts.type == "int4" and .parts.routers.type == "f32" and .parts.embedding.type == "bf16"
    and ([.ranks[].expert_bytes] | add) == .parts.experts.memory_bytes' >/dev/null || fail "inspect --json tells other types"
says 5 'int8-int8: wanted a name that is free' -o "$dir/int8-int8"
says 5 'no/such/x\.part: cannot be made: No such file' -o "$dir/no/such/x"
says 2 'want --output DIR'
says 2 '--dense: want int8, bf16 or f32' -o "$dir/y" --dense int4
says 2 '--group: want none, 32, 64 or 128' -o "$dir/y" --group 48
good=$model model=$dir/int4-bf16
says 2 'found integers \(experts int4, dense bf16\)' -o "$dir/y"
model=$good

# A disk that is full, by a limit on file sizes and by a file system of 1 MiB where one may be mounted.
(ulimit -f 5000; "$dragoman" quantize -m "$model" -o "$dir/full" >"$dir/out" 2>"$dir/err")
[ $? -eq 5 ] || { fail "a limit on file sizes: not exit code 5"; cat "$dir/err"; }
grep -Eq '^dragoman: .*full\.part/model\.safetensors: cannot be written: File too large' "$dir/err" || { fail "no sentence"; cat "$dir/err"; }
if [ -e "$dir/full" ] || [ -e "$dir/full.part" ]; then fail "a limit on file sizes: something is left"; fi
mkdir "$dir/small"
if unshare -rm true 2>/dev/null; then
    # shellcheck disable=SC2016
    unshare -rm sh -c 'mount -t tmpfs -o size=1m none "$1" && { "$2" quantize -m "$3" -o "$1/full"; echo $? >"$4"; ls -A "$1"; }' \
        - "$dir/small" "$dragoman" "$model" "$dir/code" >"$dir/out" 2>"$dir/err" || fail "cannot try a small file system"
    [ "$(cat "$dir/code")" = 5 ] || fail "a full disk: not exit code 5"
    grep -q 'No space left on device' "$dir/err" || { fail "a full disk: not said"; cat "$dir/err"; }
    [ ! -s "$dir/out" ] || fail "a full disk: something is left"
else
    echo "skip: no file system may be mounted here"
fi

# Killed at any moment: OUT is not there, or it is whole; and the next run is not disturbed.
killed_amid 25 quantize -m "$model" --threads 1
made killed

# What was packed as f32 translates as before, from any number of ranks.
head -n 12 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"
translate=(translate -s eng_Latn -t deu_Latn --with-score -i "$dir/in")
"$dragoman" "${translate[@]}" -m "$model" >"$dir/want" 2>/dev/null
# same NAME COMMAND...
same() {
    local name=$1
    shift
    "$@" >"$dir/got" 2>"$dir/err" || { fail "$name: exit code $?"; cat "$dir/err"; }
    cmp -s "$dir/want" "$dir/got" || fail "$name: other bytes"
}
for v in first-use open never; do same "--verify $v" "$dragoman" "${translate[@]}" -m "$dir/f32-f32" --verify $v; done
# damaged CODE TENSOR COMMAND...: a flipped bit there ends the command with CODE, and the sentence names the tensor.
damaged() {
    local code=$1 tensor=$2 file=$dir/broken/model.safetensors header at byte got
    shift 2
    rm -rf "$dir/broken"; cp -r "$dir/f32-f32" "$dir/broken"
    header=$(od -An -t u8 -N 8 "$file" | tr -d ' ')
    at=$(tail -c +9 "$file" | head -c "$header" | jq --arg t "$tensor" '.[$t].data_offsets[0] + 77')
    at=$((at + 8 + header))
    byte=$(od -An -t u1 -j $at -N 1 "$file" | tr -d ' ')
    printf '%b' "\\0$(printf %03o $((byte ^ 16)))" | dd of="$file" bs=1 seek=$at conv=notrunc status=none
    "$@" >"$dir/got" 2>"$dir/err"
    got=$?
    [ $got -eq "$code" ] || { fail "$tensor damaged, $*: exit code $got, not $code"; cat "$dir/err"; }
    [ "$code" -eq 0 ] || grep -Eq "^dragoman: .*tensor $tensor: wanted bytes of checksum" "$dir/err" ||
        { fail "$tensor damaged: not said"; cat "$dir/err"; }
}
expert=encoder.layers.1.ffn.experts.expert_1.fc1.weight.q
damaged 3 $expert "$dragoman" inspect "$dir/broken" --verify
damaged 0 $expert "$dragoman" inspect "$dir/broken"
damaged 3 $expert "$dragoman" "${translate[@]}" -m "$dir/broken"
damaged 3 $expert "$dragoman" "${translate[@]}" -m "$dir/broken" --verify open
damaged 0 $expert "$dragoman" "${translate[@]}" -m "$dir/broken" --verify never
damaged 3 shared.weight.q "$dragoman" "${translate[@]}" -m "$dir/broken"
if command -v mpirun >/dev/null; then
    for n in 1 2 3 4; do same "$n ranks" "$here/launch/dragoman-mpirun" -n $n "${translate[@]}" -m "$dir/f32-f32" --threads 1; done
    same "3 ranks, 1 dense" "$here/launch/dragoman-mpirun" -n 3 "${translate[@]}" -m "$dir/f32-f32" --threads 1 --dense-ranks 1
    damaged 3 $expert "$here/launch/dragoman-mpirun" -n 2 "${translate[@]}" -m "$dir/broken" --threads 1
    damaged 3 $expert "$here/launch/dragoman-mpirun" -n 3 "${translate[@]}" -m "$dir/broken" --threads 1 --dense-ranks 1
else
    echo "skip: ranks, mpirun is not installed"
fi
[ "$before" = "$(cat "$model"/* | cksum)" ] || fail "the source was changed"
[ "$bad" -eq 0 ] && echo "quantize: ok, $killed runs killed"
exit "$bad"
