#!/usr/bin/env bash
# Synthetic models: the same options give the same bytes, every shape translates alike on any number of ranks, and what
# goes wrong is said in one sentence and leaves nothing that loads.
# usage: synth.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DRAGOMAN=$dragoman

# make NAME OPTIONS...: a small model in $dir/NAME
make() {
    local name=$1
    shift
    "$dragoman" synth -o "$dir/$name" "$@" >"$dir/out" 2>"$dir/err" || { fail "$name: exit code $?"; cat "$dir/err"; }
    [ ! -s "$dir/out" ] || fail "$name: standard output is not empty"
    [ ! -e "$dir/$name.part" ] || fail "$name: $name.part stays"
}

# translate NAME RANKS: with scores, to standard output
translate() {
    local with=("$here/launch/dragoman-mpirun" -n "$2")
    [ "$2" -eq 1 ] && with=("$dragoman")
    # Random models seldom end: every line is flagged as truncated, which is exit code 1.
    "${with[@]}" translate -m "$dir/$1" -s eng_Latn -t deu_Latn -i "$dir/text" --max-length 12 --with-score \
        --token-scores --threads 1 2>"$dir/err"
    [ $? -le 1 ] || { fail "$1 on $2 ranks: failed"; tail -n 3 "$dir/err"; }
}

head -n 6 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/text"
small=(--like demo --d-model 48 --heads 4 --ffn 72 --layers "4,2")

make plain "${small[@]}"
make kept "${small[@]}" --experts-kept 9,5
make one "${small[@]}" --top-k 1 --dense f32
make dense --like dense-600m --d-model 48 --heads 4 --ffn 72 --layers 2,2 --vocab 6300
make packed "${small[@]}" --experts-kept 9,5 --weights f32 --dense f32
make int4 "${small[@]}" --experts-kept 9,5 --weights int4 --dense int8 --group 32
make bf16 "${small[@]}" --top-k 1 --weights bf16
make wide "${small[@]}" --dense f32
make task "${small[@]}" --decoder-routing task
make sentence "${small[@]}" --encoder-routing task --decoder-routing sentence --tasks 2 --experts-kept 3,9 --weights int8 --dense int8

# ---- what it says of itself ----
for name in plain kept one dense packed int4 bf16; do
    "$dragoman" inspect "$dir/$name" --verify >"$dir/out" 2>&1 || { fail "inspect $name"; cat "$dir/out"; }
    grep -q 'random, made by dragoman synth' "$dir/out" || fail "inspect $name does not say that it is random"
    grep -q 'Random weights' "$dir/$name/README.md" || fail "README of $name"
done
"$dragoman" inspect "$dir/kept" -n 4 >"$dir/out"
grep -Eq '^experts +9 \(encoder\) or 5 \(decoder\) in each of 3 MoE layers' "$dir/out" || fail "kept: no numbers of experts"
grep -Eq '^0 +3\+2 ' "$dir/out" || fail "kept: rank 0 has not 3+2 experts"
"$dragoman" inspect "$dir/kept" -n 4 --json | jq -e '.synthetic and .encoder.experts == 9 and .decoder.experts == 5 and
    ([.ranks[].experts_by_stack[1]] | add) == 5 and
    ([.ranks[].expert_bytes] | add) == .parts.experts.memory_bytes' >/dev/null || fail "kept: --json"
"$dragoman" inspect "$dir/one" | grep -q 'top 1,' || fail "one: not top 1"
for name in task sentence; do
    "$dragoman" inspect "$dir/$name" --verify >"$dir/$name.inspect" 2>&1 || { fail "inspect $name"; cat "$dir/$name.inspect"; }
done
grep -Eq '^routing +encoder by token, decoder by task' "$dir/task.inspect" || fail "task: another routing"
grep -Eq '^tasks +deu_Latn, fra_Latn, ces_Latn, spa_Latn$' "$dir/task.inspect" || fail "task: not the four tasks"
grep -Eq '^routing +encoder by task, decoder by sentence' "$dir/sentence.inspect" || fail "sentence: another routing"
grep -Eq '^tasks +deu_Latn, fra_Latn$' "$dir/sentence.inspect" || fail "sentence: not two tasks"

# ---- same bytes ----
for name in plain kept one dense packed int4 bf16 task sentence; do
    translate $name 1 >"$dir/want"
    grep -q '[a-z]' <(cut -d'|' -f4 "$dir/want") || fail "$name: nothing was translated"
    [ "$(sort -u "$dir/want" | wc -l)" -eq 6 ] || fail "$name: lines are alike"
    grep -q 'random weights' "$dir/err" || fail "$name: the start line does not say that it is random"
    ranks=3
    case $name in plain | int4 | task) ranks="2 3 4" ;; esac
    for n in $ranks; do
        command -v mpirun >/dev/null || continue
        translate "$name" "$n" >"$dir/got"
        cmp -s "$dir/want" "$dir/got" || fail "$name: other bytes on $n ranks"
    done
done
translate plain 1 >"$dir/want"
translate wide 1 >"$dir/got"
cmp -s "$dir/want" "$dir/got" || fail "bf16 and f32 of one seed are other numbers"

make again "${small[@]}" --threads 3
diff -r "$dir/plain" "$dir/again" >/dev/null || fail "the same options gave other bytes"
make again4 "${small[@]}" --experts-kept 9,5 --weights int4 --dense int8 --group 32 --threads 3
diff -r "$dir/int4" "$dir/again4" >/dev/null || fail "the same options gave other bytes (int4)"
"$dragoman" quantize -m "$dir/kept" -o "$dir/smaller" >/dev/null 2>&1 || fail "quantize: exit code $?"
"$dragoman" inspect "$dir/smaller" --json | jq -e '.synthetic and .decoder.experts == 5' >/dev/null ||
    fail "quantize forgets what the model is"
make other "${small[@]}" --seed 1
cmp -s "$dir/plain/model.safetensors" "$dir/other/model.safetensors" && fail "another seed gave the same bytes"

# ---- sizes ----
# The 54.5B, shrunk in width alone, has its experts; full size is known from the header's sum before anything is written.
make big --like nllb-moe-54b --d-model 16 --heads 2 --ffn 16 --vocab 6206
"$dragoman" inspect "$dir/big" --json | jq -e '.experts == 128 and (.encoder.moe_layers == [3, 7, 11, 15, 19, 23])
    and .encoder.layers == 24 and .decoder.layers == 24 and .top_k == 2' >/dev/null || fail "nllb-moe-54b: another shape"
make elephants --like elephants-5b --d-model 16 --heads 2 --ffn 16 --vocab 6206
"$dragoman" inspect "$dir/elephants" --json | jq -e '.experts == 32 and .encoder.layers == 24 and .decoder.layers == 12 and
    (.decoder.moe_layers | length) == 6 and .top_k == 1 and .expert_scale == 1' >/dev/null || fail "elephants-5b: another shape"

# ---- what goes wrong ----
# refused CODE PATTERN OPTIONS...: one sentence, and no directory
refused() {
    local code=$1 pattern=$2 got
    shift 2
    "$dragoman" synth "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ $got -eq "$code" ] || fail "synth $*: exit code $got, not $code"
    if [ "$(grep -c '^dragoman: ' "$dir/err")" -ne 1 ] || ! grep -Eq -- "$pattern" "$dir/err"; then
        fail "synth $*: no '$pattern'"; cat "$dir/err"
    fi
    if [ -e "$dir/x" ] || [ -e "$dir/x.part" ]; then fail "synth $*: something stays"; fi
}
refused 2 'want --like SHAPE' -o "$dir/x"
refused 2 'want --output DIR' --like demo
refused 2 "want nllb-moe-54b, .* or demo, found 'big'" --like big -o "$dir/x"
refused 2 '--heads: want a divisor of --d-model \(128\), found 5' --like demo --heads 5 -o "$dir/x"
refused 2 '--vocab: want at least 6206' --like demo --vocab 100 -o "$dir/x"
refused 2 '--layers: want two whole numbers' --like demo --layers 4 -o "$dir/x"
refused 2 '--layers: want two whole numbers' --like demo --layers 4,0 -o "$dir/x"
refused 2 '--experts-kept: want at most --experts \(32\), found 33' --like demo --experts-kept 33,1 -o "$dir/x"
refused 2 '--experts-kept: .* no experts' --like dense-600m --experts-kept 3,1 -o "$dir/x"
refused 2 '--top-k: dense-600m has no experts' --like dense-600m --top-k 1 -o "$dir/x"
refused 2 '--sparse-step: want at most' --like demo --sparse-step 9 -o "$dir/x"
refused 2 '--group: want none, 32, 64 or 128' --like demo --weights int8 --group 33 -o "$dir/x"
refused 2 "--experts: want a whole number from 1 to 4096, found 'int8'" --like demo --experts int8 -o "$dir/x"
refused 2 '--group: only' --like demo --group 32 -o "$dir/x"
refused 2 '--dense: want f32 or bf16' --like demo --dense int8 -o "$dir/x"
refused 2 '--weights: want' --like demo --weights int3 -o "$dir/x"
refused 2 '--tasks: want --encoder-routing task or' --like demo --tasks 3 -o "$dir/x"
refused 2 '--tasks: want at most 202, found 203' --like demo --decoder-routing task --tasks 203 -o "$dir/x"
refused 2 '--decoder-routing: dense-600m has no experts' --like dense-600m --decoder-routing task -o "$dir/x"
refused 5 'No such file' --like demo -o "$dir/no/where"
"$dragoman" synth --like demo -o "$dir/plain" 2>"$dir/err"
[ $? -eq 5 ] || fail "an existing directory: not exit code 5"
grep -q 'wanted a name that is free' "$dir/err" || fail "an existing directory was not refused"

# More than any disk: found before anything is written. 65536 x 1048576 x 2 bytes x 4096 experts.
refused 5 'model.*\.safetensors: cannot be written' --like nllb-moe-54b --d-model 65536 --heads 16 \
    --ffn 1048576 --experts 4096 -o "$dir/x"

# A disk that is full: a file system of 4 MiB, where this user may mount one.
mkdir "$dir/full"
if unshare -rm mount -t tmpfs -o size=4m none "$dir/full" 2>/dev/null; then
    # shellcheck disable=SC2016 # the inner shell's arguments
    unshare -rm bash -c 'mount -t tmpfs -o size=4m none "$2/full" && "$1" synth --like demo -o "$2/full/x" 2>"$2/err"
        code=$?; ls -A "$2/full" >"$2/out"; exit $code' - "$dragoman" "$dir"
    [ $? -eq 5 ] || fail "full disk: exit code $?, not 5"
    grep -q '^dragoman: .*model.safetensors: cannot be written: No space left' "$dir/err" || { fail "full disk:"; cat "$dir/err"; }
    [ ! -s "$dir/out" ] || fail "full disk: something stays"
else
    echo "skip: a full disk, mounting is not allowed here"
fi

# A run that is killed leaves what does not load, and the next one starts anew.
for _ in 1 2 3 4 5 6 7 8; do # a gigabyte: who looks late finds it done
    rm -rf "$dir/x"
    "$dragoman" synth --like dense-600m -o "$dir/x" 2>/dev/null &
    job=$!
    await_from $job filled "$dir/x.part/model.safetensors"
    kill -KILL $job 2>/dev/null
    wait $job 2>/dev/null
    [ -e "$dir/x" ] || break
done
[ -e "$dir/x" ] && fail "killed: a directory is there"
filled "$dir/x.part/model.safetensors" || fail "killed: it had not begun"
"$dragoman" inspect "$dir/x.part" >/dev/null 2>&1
[ $? -eq 3 ] || fail "killed: what stays can be loaded"
cp "$dir/plain/config.json" "$dir/x.part"
"$dragoman" inspect "$dir/x.part" >/dev/null 2>&1
[ $? -eq 3 ] || fail "killed: its weights can be loaded"
make x "${small[@]}"
diff -r "$dir/plain" "$dir/x" >/dev/null || fail "after a killed run: other bytes"

[ "$bad" -eq 0 ] && echo "synth: ok"
exit "$bad"
