#!/usr/bin/env bash
# Models whose zeros are not stored: smaller files, the same bytes as from the same weights stored whole, on any instruction set, ranks
# and batch; quantised and sparsified again; damage found; what that gains.
# usage: sparse.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token
export DGM_LOG_LEVEL=error
has_isa avx2 && isa=avx2 || isa=ref
gzip -dc "$here/tests/data/multi30k/val.en.gz" | head -n 12 >"$dir/text"

# translated MODEL OUT ARGS...
translated() {
    local m=$1 out=$2
    shift 2
    "$dragoman" translate -m "$dir/$m" -s en -t de --with-score "$@" <"$dir/text" >"$dir/$out" 2>"$dir/err"
    [ $? -le 1 ] || fail "translate $m $*" # 1: lines are flagged
}
run() { "$dragoman" "$@" >"$dir/out" 2>"$dir/err" || fail "$*: exit code $?"; }
size() { stat -c %s "$dir/$1/model.safetensors"; }
# tails MODEL: which forms without zeros its matrices have
tails() { tail -c +9 "$dir/$1/model.safetensors" | head -c "$(od -An -tu8 -N8 "$dir/$1/model.safetensors" | tr -d ' ')" | jq -r 'keys[] | match("\\.(2of4|4of8|bits)$").captures[0].string' | sort -u | paste -sd' '; }

for pattern in 2:4 4:8 unstructured; do
    p=${pattern/:/of}
    run sparsify -m "$model" --method magnitude --pattern $pattern -o "$dir/$p"
    for types in "f32 f32" "int8 bf16"; do
        read -r experts dense <<<"$types"
        run quantize -m "$dir/$p" --experts "$experts" --dense "$dense" --storage dense -o "$dir/$p-whole"
        run quantize -m "$dir/$p" --experts "$experts" --dense "$dense" -o "$dir/$p-$experts"
        # half of the f32 weights and an index of a 16th or 32nd, the embedding whole; of int8 a quarter or an eighth
        limit=$([ "$experts" = f32 ] && echo 65 || echo 83)
        [ $((100 * $(size "$p-$experts"))) -lt $((limit * $(size "$p-whole"))) ] ||
            fail "$pattern $types: $(size "$p-$experts") bytes of $(size "$p-whole")"
        [ "$(tails "$p-$experts")" = "$([ "$p" = unstructured ] && echo bits || echo "$p")" ] || fail "$pattern $types: stored as $(tails "$p-$experts")"
        run inspect "$dir/$p-$experts" --verify
        translated "$p-whole" want
        translated "$p-$experts" got
        cmp -s "$dir/want" "$dir/got" || fail "$pattern $types: other bytes"
        translated "$p-$experts" got --isa ref --batch-tokens 1 --beam-size 4
        cmp -s "$dir/want" "$dir/got" || fail "$pattern $types: other bytes with ref and one line at a time"
        translated "$p-$experts" got --isa "$isa" --threads 2
        cmp -s "$dir/want" "$dir/got" || fail "$pattern $types: other bytes with $isa"
        [ "$experts" = f32 ] || {
            translated "$p-whole" want --compute int8
            translated "$p-$experts" got --compute int8
            cmp -s "$dir/want" "$dir/got" || fail "$pattern $types: other bytes with rows of int8"
        }
        rm -r "$dir/$p-whole"
    done
    # What lies compactly is quantised to what its source is, and stays compact; sparsified again, it is written anew.
    run quantize -m "$dir/$p-f32" --experts int8 --dense bf16 -o "$dir/$p-again"
    cmp -s "$dir/$p-int8/model.safetensors" "$dir/$p-again/model.safetensors" || fail "$pattern: a detour changes the file"
done
mpirun=(mpirun --allow-run-as-root --oversubscribe -n 2)
translated 2of4-int8 want
"${mpirun[@]}" "$dragoman" translate -m "$dir/2of4-int8" -s en -t de --with-score <"$dir/text" >"$dir/got" 2>"$dir/err" || fail "two ranks"
cmp -s "$dir/want" "$dir/got" || fail "two ranks: other bytes"
run sparsify -m "$dir/unstructured-int8" --method magnitude --sparsity 0.7 -o "$dir/more"
[ "$(size more)" -lt "$(size unstructured-int8)" ] || fail "more zeros take more bytes"
run inspect "$dir/more" --verify

# says PATTERN: the model is refused in one sentence.
says() {
    "$dragoman" translate -m "$dir/bad" --verify never -s en -t de <"$dir/text" >"$dir/out" 2>"$dir/err"
    { [ $? -eq 3 ] && [ "$(wc -l <"$dir/err")" -eq 1 ] && grep -Eq -- "$1" "$dir/err"; } || fail "no '$1'"
}
# where NAME: the first byte of a tensor in the file; patch NAME BYTES_IN: four bytes there become ff.
where() {
    local file=$dir/bad/model.safetensors begin header
    header=$(od -An -tu8 -N8 "$file" | tr -d ' ')
    begin=$(head -c $((header + 8)) "$file" | tail -c +9 | jq ".\"$1\".data_offsets[0]")
    echo $((8 + header + begin))
}
patch() { printf '\xff\xff\xff\x7f' | dd of="$dir/bad/model.safetensors" bs=1 seek=$(($(where "$1") + $2)) conv=notrunc 2>/dev/null; }
# changed FROM TO: a word of the header, of the same length.
changed() { LC_ALL=C sed -i "1s/$1/$2/g" "$dir/bad/model.safetensors"; }
good() { rm -rf "$dir/bad" && cp -r "$dir/unstructured-int8" "$dir/bad"; }
w=encoder.layers.0.self_attn.qkv_proj.weight
good && patch $w.starts 8
says "tensor $w.starts: wanted [0-9]+ numbers in block 1, as the bits of $w.bits say, found"
good && patch $w.bits 0
says "tensor $w.starts: wanted [0-9]+ numbers in block 0"
good && changed "$w.starts" "$w.starte"
says "wanted a tensor $w.starts, found none"
good && changed "$w.bits" "$w.bitz"
says "tensor $w.q: wanted shape"
good && truncate -s -4096 "$dir/bad/model.safetensors"
says 'truncated'

# ---- what it gains: a line for each type, shape and number of rows, cold and warm weights ----
run bench sparse --isa "$isa" --batch 3 --json
jq -es --arg isa "$isa" 'length == 2 * 4 * 2 and all(.[]; .isa == $isa and .rows == 3 and .dense_us > 0 and .["2of4"] > 0 and .["4of8"] > 0 and .bitmap > 0) and
    (group_by(.type) | map(.[0].type)) == ["bf16", "f32", "int8", "int8 x int8"] and (group_by([.n, .weights]) | map(length)) == [4, 4, 4, 4]' \
    "$dir/out" >/dev/null || fail "bench sparse: other lines"
for rows in 0 33 '1,'; do
    "$dragoman" bench sparse --batch "$rows" >"$dir/out" 2>"$dir/err"
    { [ $? -eq 2 ] && grep -q "batch: want at most 16 whole numbers from 1 to 32 such as 1,8,32, found '$rows'" "$dir/err"; } || fail "bench sparse --batch $rows"
done
exit $bad
