#!/usr/bin/env bash
# `dragoman prune -o`: a smaller model gives the bytes of the whole one with its keep file, has the size that its shape says, and
# refuses what it was not cut for; a run that ends early leaves nothing that loads.
# usage: cut.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token
export DGM_MODEL=$model DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman

# says CODE PATTERN ARGS...: dragoman ends with CODE and one sentence that matches.
says() {
    refuses "$1" "$2" "$dragoman" "${@:3}"
}
# shellcheck disable=SC2317 # run calls it
translate() { "$dragoman" translate -s en -t de -i "$dir/en" --with-score "$@"; }

# short lines: ranks that share a CPU take long for each step
for l in en de; do gzip -dc "$here/tests/data/multi30k/test_2016_flickr.$l.gz" | awk "length < 40" | head -n 3 >"$dir/$l"; done
run 0 "$dragoman" stats -s en -t de,fr -i "$dir/en" -o "$dir/en.stats"
run 0 "$dragoman" stats -s de -t en -i "$dir/de" -o "$dir/de.stats"
run 0 "$dragoman" stats --merge "$dir/en.stats" "$dir/de.stats" -o "$dir/stats"
run 0 "$dragoman" prune --stats "$dir/stats" -k "$dir/keep.json"

# ---- the bytes of the whole model, on any number of ranks ----
run 0 "$dragoman" prune -k "$dir/keep.json" --for eng_Latn-deu_Latn -o "$dir/ende"
grep -qx "$model: 20702520 bytes of weights" "$dir/out" || fail "the bytes before are not told"
grep -qx "$dir/ende: $(stat -c %s "$dir/ende/model.safetensors") bytes of weights, 33.6 %" "$dir/out" || fail "bytes after: $(cat "$dir/out")"
grep -qx 'encoder experts by layer: 9/32 9/32' "$dir/out" || fail "experts: $(cat "$dir/out")"
[ ! -e "$dir/ende.part" ] || fail "ende.part is still there"
run 0 translate -k "$dir/keep.json"
cp "$dir/out" "$dir/want"
run 0 translate
cmp -s "$dir/out" "$dir/want" && fail "24 of 128 experts give the same text"
run 0 translate -m "$dir/ende"
same "$dir/want" "$dir/out" "the smaller model: other bytes"
run 0 translate -m "$dir/ende" -k "$dir/keep.json"
same "$dir/want" "$dir/out" "the smaller model with its keep file: other bytes"
if command -v mpirun >/dev/null; then
    for n in 2 3 4 8; do
        run 0 ranks $n translate -s en -t de -i "$dir/en" --with-score --threads 1 -k "$dir/keep.json"
        same "$dir/want" "$dir/out" "$n ranks, a keep file: other bytes"
        run 0 ranks $n translate -s en -t de -i "$dir/en" --with-score --threads 1 -m "$dir/ende"
        same "$dir/want" "$dir/out" "$n ranks, the smaller model: other bytes"
    done
else
    echo "skip: ranks, mpirun is not installed"
fi
run 0 translate -m "$dir/ende" --report "$dir/report.cut"
run 0 translate -k "$dir/keep.json" --report "$dir/report.whole"
for f in cut whole; do jq -c '[.absent_mass, .absent_most, .worst_layer]' "$dir/report.$f" >"$dir/absent.$f"; done
same "$dir/absent.whole" "$dir/absent.cut" "the smaller model tells another loss of gates"
run 0 "$dragoman" score -s en -t de -i "$dir/en" --reference "$dir/de" -k "$dir/keep.json"
cp "$dir/out" "$dir/scores"
run 0 "$dragoman" score -m "$dir/ende" -s en -t de -i "$dir/en" --reference "$dir/de"
same "$dir/scores" "$dir/out" "the smaller model: other scores"
for m in "" "$dir/ende"; do
    run 0 "$dragoman" stats -m "${m:-$model}" -s en -t de -i "$dir/en" -o "$dir/stats.${m:+cut}" -k "$dir/keep.json"
done
[ "$(jq -c .runs "$dir/stats.")" = "$(jq -c .runs "$dir/stats.cut")" ] || fail "the smaller model: other statistics"

# ---- its size: arithmetic of the shape ----
# params KEPT_ENCODER KEPT_DECODER: of a config.json with the experts of one layer of each stack that stay
params() {
    jq --argjson e "$1" --argjson d "$2" '.d_model as $m | (4 * ($m * $m + $m)) as $attention | (2 * $m) as $norm
        | def stack($layers; $ffn; $step; $kept; $crosses): (2 * $m * $ffn + $ffn + $m) as $dense | (($layers / $step) | floor) as $moe
            | $layers * ((1 + $crosses) * $attention + (2 + $crosses) * $norm) + $norm + ($layers - $moe) * $dense
            + $moe * ($kept * $dense + .num_experts * $m);
        .vocab_size * $m + stack(.encoder_layers; .encoder_ffn_dim; .encoder_sparse_step; $e; 0)
            + stack(.decoder_layers; .decoder_ffn_dim; .decoder_sparse_step; $d; 1)'
}
# near FOUND WANT: within 1 %
near() { [ $((100 * ($1 > $2 ? $1 - $2 : $2 - $1))) -le "$2" ] || fail "$3: wanted $2 within 1 %, found $1"; }
want=$((2 * $(params 9 3 <"$model/config.json")))
beside=$(cat "$dir/ende"/*.json "$dir/ende"/*.model | wc -c)
near "$(($(stat -c %s "$dir/ende"/* | paste -sd+)))" $((want + beside)) "bytes of the directory"
positions=$((514 * 128 * 4))
near "$("$dragoman" inspect "$dir/ende" --json | jq '.ranks[0] | .expert_bytes + .dense_bytes')" $((want + positions)) "bytes in memory"
run 0 "$dragoman" inspect "$dir/ende" --keep "$dir/keep.json" --json
[ "$(jq .file_bytes "$dir/out")" = "$want" ] || fail "inspect --keep: file_bytes is not $want"
run 0 "$dragoman" inspect "$dir/ende" --json -n 3
jq -e '.cut.for == ["eng_Latn-deu_Latn"] and .cut.experts == {"encoder": [9, 9], "decoder": [3, 3]} and .parts.routers.parameters == 4 * 32 * 128
    and ([.ranks[].expert_bytes] | add) == .parts.experts.memory_bytes' "$dir/out" >/dev/null || fail "inspect --json: $(cat "$dir/out")"
run 0 "$dragoman" inspect "$dir/ende" --verify
grep -q "^there  *cut for eng_Latn-deu_Latn, of model $("$dragoman" inspect --json | jq -r .hash)\$" "$dir/out" || fail "inspect does not tell the cut"

# Of the 54.5B model, from its configuration alone: 1536, 384 and 288 experts in 16 bits.
run 0 "$dragoman" synth --like nllb-moe-54b --layers 4,4 --d-model 16 --ffn 16 --heads 2 --experts 2 --vocab 6300 -o "$dir/tiny"
mkdir "$dir/large"
jq '. + {d_model: 2048, encoder_layers: 24, decoder_layers: 24, encoder_ffn_dim: 8192, decoder_ffn_dim: 8192, num_experts: 128, vocab_size: 256206}' \
    "$dir/tiny/config.json" >"$dir/large/config.json"
while read -r enc dec gib; do
    jq -cn --argjson e "$enc" --argjson d "$dec" '{"eng_Latn": [range(12) as $k | range(if $k < 6 then $e else $d end) | 128 * $k + .]}' >"$dir/list"
    run 0 "$dragoman" prune -m "$dir/large" --import "$dir/list" -k "$dir/large.keep"
    rm "$dir/list"
    want=$((2 * $(params "$enc" "$dec" <"$dir/large/config.json")))
    run 0 "$dragoman" inspect "$dir/large" --keep "$dir/large.keep" -n 4
    grep -Eq "^weights of these on disk: $gib GiB \($want bytes\)$" "$dir/out" || fail "$enc + $dec experts: $(cat "$dir/out")"
    run 0 "$dragoman" inspect "$dir/large" --keep "$dir/large.keep" -n 4 --json
    near "$(jq '([.ranks[].expert_bytes] | add) + .ranks[0].dense_bytes' "$dir/out")" "$want" "bytes on ranks"
    rm "$dir/large.keep"
done <<X
128 128 101.5
32 32 29.5
36 12 23.5
X

# ---- several directions, a cut of a cut, and integers ----
run 0 "$dragoman" prune -k "$dir/keep.json" --for en-de,eng_Latn-fra_Latn,en-de -o "$dir/two"
[ "$(jq -c '.dragoman.cut.for' "$dir/two/config.json")" = '["eng_Latn-deu_Latn","eng_Latn-fra_Latn"]' ] || fail "directions of two"
run 0 translate -m "$dir/two"
same "$dir/want" "$dir/out" "a model for two directions: other bytes"
run 0 "$dragoman" prune -m "$dir/two" -k "$dir/two/keep.json" --for en-de -o "$dir/twice"
same "$dir/ende/model.safetensors" "$dir/twice/model.safetensors" "a cut of a cut: other weights"
run 0 translate -m "$dir/twice"
same "$dir/want" "$dir/out" "a cut of a cut: other bytes"
run 0 "$dragoman" prune -k "$dir/keep.json" --for eng_Latn-deu_Latn -o "$dir/ende2"
same "$dir/ende/config.json" "$dir/ende2/config.json" "the same cut again: another configuration"
same "$dir/ende/model.safetensors" "$dir/ende2/model.safetensors" "the same cut again: other weights"

jq -c '.model = null' "$dir/keep.json" >"$dir/any.json" # so that the quantised model takes it
for how in "--experts int8 --dense int8" "--experts int4 --dense bf16 --group 32"; do
    rm -rf "$dir/q.whole" "$dir/q.cut" "$dir/cut.q"
    # shellcheck disable=SC2086
    run 0 "$dragoman" quantize $how --clip none -o "$dir/q.whole"
    # shellcheck disable=SC2086
    run 0 "$dragoman" quantize $how --clip none -m "$dir/ende" -o "$dir/q.cut"
    run 0 "$dragoman" prune -m "$dir/q.whole" -k "$dir/any.json" --for eng_Latn-deu_Latn -o "$dir/cut.q"
    run 0 translate -m "$dir/q.whole" -k "$dir/any.json"
    cp "$dir/out" "$dir/want.q"
    for m in q.cut cut.q; do
        run 0 translate -m "$dir/$m" --verify open
        same "$dir/want.q" "$dir/out" "$m, $how: other bytes"
    done
    same "$dir/q.cut/model.safetensors" "$dir/cut.q/model.safetensors" "$how: quantising and cutting, other weights"
    same "$dir/q.cut/keep.json" "$dir/keep.json" "quantize leaves the keep file behind"
    [ "$(jq -c '[.dragoman.history[].tool]' "$dir/q.cut/config.json")" = '["prune","quantize"]' ] || fail "history of q.cut"
    run 0 translate -m "$dir/q.cut" -k "$dir/keep.json" --compute int8
done
sed "s/^/eng_Latn\tdeu_Latn\t/" "$dir/en" >"$dir/text"
run 0 "$dragoman" quantize -m "$dir/ende" -o "$dir/fed" --experts int4 --calibration "$dir/text"
run 0 "$dragoman" inspect "$dir/fed" --verify
run 0 "$dragoman" bench layers -m "$dir/ende" --threads 1 --batch 2 --src-tokens 5 --tgt-tokens 4

# ---- what is refused ----
says 2 "ende lacks decoder experts of fra_Latn, the first of them [0-9]+ in layer 1: it was cut for eng_Latn-deu_Latn$" translate -m "$dir/ende" -s en -t fr -i "$dir/en"
says 2 "ende lacks encoder experts of deu_Latn" translate -m "$dir/ende" -s de -t de -i "$dir/en"
says 2 "lacks decoder experts of ces_Latn" translate -m "$dir/ende" -s en -t cs -i "$dir/en"
says 2 "lacks decoder experts of fra_Latn" score -m "$dir/ende" -s en -t fr -i "$dir/en" --reference "$dir/de"
says 2 "lacks decoder experts of fra_Latn" stats -m "$dir/ende" -s en -t fr -i "$dir/en" -o "$dir/x"
says 4 "lacks decoder experts of fra_Latn in .*/keep.json, the first" translate -m "$dir/ende" -s en -t fr -i "$dir/en" -k "$dir/keep.json"
says 4 "keeps no decoder experts for ces_Latn" translate -m "$dir/ende" -s en -t cs -i "$dir/en" -k "$dir/keep.json"
says 4 "lacks decoder experts of ces_Latn" translate -m "$dir/ende" -s en -t cs -i "$dir/en" -k "$dir/keep.json" --keep-missing exact
says 4 "lacks decoder experts of fra_Latn" inspect "$dir/ende" --keep "$dir/keep.json" --languages fra_Latn
says 4 "lacks decoder experts of fra_Latn" prune -m "$dir/ende" -k "$dir/keep.json" --for en-fr -o "$dir/x"
says 2 "want the whole model to choose experts of, found one that was cut" prune -m "$dir/ende" --stats "$dir/stats" -k "$dir/x"
says 4 "is of another model" translate -m "$dir/q.whole" -s en -t de -i "$dir/en" -k "$dir/keep.json"
says 4 "is of another model" prune -m "$dir/q.whole" -k "$dir/keep.json" --for en-de -o "$dir/x"
says 2 "want -k FILE, the experts to keep, found none" prune --for en-de -o "$dir/x"
says 2 "want --for SRC-TGT" prune -k "$dir/keep.json" -o "$dir/x"
says 2 "\-\-for: want -o DIR" prune -k "$dir/keep.json" --for en-de
says 2 "found both" prune -k "$dir/keep.json" --for en-de -o "$dir/x" --stats "$dir/stats"
for text in en en-de-fr -de en- "en-de," ",en-de" en_de; do
    says 2 "\-\-for: want directions such as eng_Latn-deu_Latn" prune -k "$dir/keep.json" --for="$text" -o "$dir/x"
done
says 2 "language 'xyzzy' is unknown" prune -k "$dir/keep.json" --for en-xyzzy -o "$dir/x"
says 4 "keeps no decoder experts for ces_Latn, but for deu_Latn, eng_Latn, fra_Latn" prune -k "$dir/keep.json" --for en-cs -o "$dir/x"
says 4 "nowhere: " prune -k "$dir/nowhere" --for en-de -o "$dir/x"
says 5 "ende: wanted a name that is free" prune -k "$dir/keep.json" --for en-de -o "$dir/ende"
cp -r "$dir/ende" "$dir/broken"
truncate -s -100 "$dir/broken/model.safetensors"
says 3 "model.safetensors" prune -m "$dir/broken" -k "$dir/keep.json" --for en-de -o "$dir/x"
sed 's/"decoder":{/"decoder": {/' "$dir/ende/keep.json" >"$dir/broken/keep.json"
cp "$dir/ende/model.safetensors" "$dir/broken/"
for command in "translate -s en -t de" "inspect" "prune -k $dir/keep.json --for en-de -o $dir/x" "quantize -o $dir/x"; do
    # shellcheck disable=SC2086
    says 3 "keep.json: wanted the keep file that the model was cut with, of checksum" $command -m "$dir/broken"
done
rm "$dir/broken/keep.json"
says 3 "keep.json: wanted the keep file that the model was cut with, found none" translate -m "$dir/broken" -s en -t de
if [ -e "$dir/x" ] || [ -e "$dir/x.part" ]; then fail "a refused command left something"; fi

# Another keep file of what is there: fewer experts.
jq -c '.encoder |= map_values(map_values(.[0:4]))' "$dir/keep.json" >"$dir/few.json"
run 1 translate -k "$dir/few.json" --max-length 8
cp "$dir/out" "$dir/want.few"
run 1 translate -m "$dir/ende" -k "$dir/few.json" --max-length 8
same "$dir/want.few" "$dir/out" "fewer of the experts that are there: other bytes"

# ---- runs that end early ----
before=$(cat "$model"/* | cksum)
(ulimit -f 3000; "$dragoman" prune -k "$dir/keep.json" --for en-de -o "$dir/full" >"$dir/out" 2>"$dir/err")
[ $? -eq 5 ] || fail "a limit on file sizes: not exit code 5"
grep -Eq '^dragoman: .*full\.part/model\.safetensors: cannot be written: File too large' "$dir/err" || fail "a limit on file sizes: no sentence"
mkdir "$dir/small"
if unshare -rm true 2>/dev/null; then
    # shellcheck disable=SC2016
    unshare -rm sh -c 'mount -t tmpfs -o size=1m none "$1" && { "$2" prune -m "$3" -k "$4" --for en-de -o "$1/full"; echo $? >"$5"; ls -A "$1"; }' \
        - "$dir/small" "$dragoman" "$model" "$dir/keep.json" "$dir/code" >"$dir/out" 2>"$dir/err" || fail "cannot try a small file system"
    [ "$(cat "$dir/code")" = 5 ] || fail "a full disk: not exit code 5"
    grep -q 'No space left on device' "$dir/err" || fail "a full disk: not said"
    [ ! -s "$dir/out" ] || fail "a full disk: something is left"
else
    echo "skip: no file system may be mounted here"
fi
if [ -e "$dir/full" ] || [ -e "$dir/full.part" ]; then fail "a full disk: something is left"; fi

rm -rf "$dir/large"
run 0 "$dragoman" synth --like demo --d-model 512 --heads 8 --ffn 1024 --experts 16 -o "$dir/large" --seed 2
jq -cn '{"eng_Latn": [range(64)], "deu_Latn": [range(64)]}' >"$dir/list"
run 0 "$dragoman" prune -m "$dir/large" --import "$dir/list" -k "$dir/large.keep"
killed_amid 12 prune -m "$dir/large" -k "$dir/large.keep" --for en-de
# 166 MiB of weights with 20 MiB of memory
(ulimit -d 20480; "$dragoman" prune -m "$dir/large" -k "$dir/large.keep" --for en-de -o "$dir/killed" >"$dir/out" 2>"$dir/err") ||
    fail "cutting wants more than 20 MiB"
run 0 "$dragoman" inspect "$dir/killed" --verify
[ "$before" = "$(cat "$model"/* | cksum)" ] || fail "the source was changed"
[ "$bad" -eq 0 ] && echo "cut: ok, $killed runs killed"
exit "$bad"
