#!/usr/bin/env bash
# `--vmap FILE`: a language's tokens are chosen among its pieces; the same bytes on any ranks, threads, batches, CPUs.
# usage: vmap.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman
checks=0

# runs CODE ARGS...: translate from $dir/in into $dir/out.
runs() {
    local code=$1 got
    shift
    checks=$((checks + 1))
    "$dragoman" translate -s eng_Latn -t deu_Latn "$@" <"$dir/in" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "translate $*: exit code $got, not $code"
}

# same FILE WHAT: the output is FILE.
same() {
    cmp -s "$1" "$dir/out" || fail "$2: other bytes: $(diff "$1" "$dir/out" | sed -n 2p)"
}

# refused CODE PATTERN ARGS...: one sentence and no output.
refused() {
    local code=$1 pattern=$2
    shift 2
    runs "$code" "$@"
    [ "$(grep -c . "$dir/err")" -eq 1 ] || fail "translate $*: not one line on standard error"
    grep -Eq -- "^dragoman: $pattern" "$dir/err" || fail "translate $*: no '$pattern'"
    [ ! -s "$dir/out" ] || fail "translate $*: wrote something"
}

{ head -n 6 "$here/models/sample/pictures.eng_Latn.txt"
  gzip -dc "$here/tests/data/multi30k/test_2016_flickr.en.gz" | head -n 12
  printf '\nA dog.\n'; } >"$dir/in"

# ---- maps, as docs/decoding.md makes them ----
for l in de:deu_Latn fr:fra_Latn; do
    gzip -dc "$here/tests/data/multi30k/val.${l%:*}.gz" | head -n 400 | "$dragoman" tokenize -s "${l#*:}" | sed "s/^/${l#*:}\t/"
done >"$dir/map"
# the same with other lines, and what makes no difference
{ printf '# pieces of the validation text\n\n'
  tr '\t' ' ' <"$dir/map" | awk '{ for (i = 2; i <= NF; i++) if (!seen[$1 $i]++) print $1 "\t" $i "\r" }' | LC_ALL=C sort
  printf '*\t</s>\nfra_Latn\t</s> </s>\n'; } >"$dir/map2"

# ---- what it does ----
targets=(-t "deu_Latn,fra_Latn,ces_Latn" --with-score --token-scores --n-best 2)
runs 0 "${targets[@]}"
cp "$dir/out" "$dir/whole"
runs 0 "${targets[@]}" --vmap "$dir/map" --threads 1
cp "$dir/out" "$dir/want"
for l in deu_Latn fra_Latn; do
    cmp -s <(grep "^$l" "$dir/whole") <(grep "^$l" "$dir/want") && fail "a map of $l changes nothing"
done
cmp -s <(grep ^ces_Latn "$dir/whole") <(grep ^ces_Latn "$dir/want") || fail "a map without ces_Latn changes its translations"
# each token is one that the map lists: `piece:log p` behind the second bar
awk -F'\t' 'NR == FNR { n = split($2, p, " "); for (i = 1; i <= n; i++) listed[$1 " " p[i]] = 1; next }
    $1 != "ces_Latn" && $2 != "" { sub(/.* \|\|\| /, "", $2); n = split($2, t, " ")
        for (i = 1; i <= n; i++) { sub(/:[^:]*$/, "", t[i]); tokens++; if (!(($1 " " t[i]) in listed)) { print "not listed: " $1 " " t[i]; bad = 1 } } }
    END { exit bad || tokens < 500 }' "$dir/map" "$dir/want" || fail "tokens that the map does not list"
runs 0 "${targets[@]}" --vmap "$dir/map2"
same "$dir/want" "the same lists, told otherwise"
runs 0 "${targets[@]}" --vmap <(cat "$dir/map")
same "$dir/want" "a map from a pipe"
runs 0 -t fra_Latn --with-score --token-scores --n-best 2 --vmap "$dir/map"
cmp -s <(sed -n 's/^fra_Latn\t//p' "$dir/want") "$dir/out" || fail "a target alone is another than one of three"
DGM_LOG_LEVEL=info runs 0 "${targets[@]}" --vmap "$dir/map"
grep -Eq "start .*map: deu_Latn is chosen from [0-9]{3,4} of 6206 ids" "$dir/err" || fail "does not say how many ids"
[ "$(grep -c 'does not name ces_Latn' "$dir/err")" -eq 1 ] || fail "does not say once that ces_Latn has no list"

# ---- all ids: no map at all. The pieces stand in the SentencePiece model, a message of fields 1 { 1: piece } ----
{ printf 'deu_Latn\t<s> <pad> </s> <unk> <mask> <unused>'
  "$dragoman" languages | awk '$1 ~ /^[a-z]+_[A-Z]/ { printf " %s", $1 }'
  od -An -v -tu1 "$DGM_MODEL/sentencepiece.bpe.model" | LC_ALL=C awk '
      { for (i = 1; i <= NF; i++) b[n++] = $i }
      END { for (at = 0; b[at] == 10; at += 2 + b[at + 1])
                if (pieces++ > 2) { printf " "; for (i = 0; i < b[at + 3]; i++) printf "%c", b[at + 4 + i] }
            printf "\n" }'; } >"$dir/all"
runs 0 --with-score --token-scores --n-best 2
cp "$dir/out" "$dir/german"
DGM_LOG_LEVEL=info runs 0 --with-score --token-scores --n-best 2 --vmap "$dir/all"
grep -q 'deu_Latn is chosen from 6206 of 6206 ids' "$dir/err" || fail "the map of all ids does not list all"
same "$dir/german" "a map of all ids"
runs 0 --sampling-topk 20 --seed 3 --with-score
cp "$dir/out" "$dir/drawn"
runs 0 --sampling-topk 20 --seed 3 --with-score --vmap "$dir/all"
same "$dir/drawn" "a map of all ids, drawn"

# ---- whatever chooses ----
# options OPTION...: the same on one thread and two, in batches and one by one.
options() {
    runs 0 --with-score --vmap "$dir/map" --threads 1 "$@"
    cp "$dir/out" "$dir/one"
    runs 0 --with-score --vmap "$dir/map" --threads 2 --batch-rows 1 --batch-tokens 1 "$@"
    same "$dir/one" "$*"
}
options --beam-size 1
options --sampling-topp 0.9 --seed 5
options --repetition-penalty 0.8 --no-repeat-ngram-size 3
options --repetition-penalty 1.2 --min-length 14 --beam-size 6
options --early-stopping --length-penalty 0.6
sed 's/.*/Příliš žluťoučký/' "$dir/in" >"$dir/prefix" # pieces that no German text of the map has
options --target-prefix "$dir/prefix"
[ "$(grep -c '||| Příliš žluťoučký' "$dir/one")" -ge 18 ] || fail "a prefix may hold any piece"
# one piece and </s>: fewer candidates than the beam is wide
printf 'deu_Latn\t.\n' >"$dir/dot"
runs 0 --vmap "$dir/dot" --n-best 4
grep -qv '^\.*$' "$dir/out" && fail "a map of full stops gives other words"

# ---- the same bytes ----
base=(translate -s eng_Latn -i "$dir/in" "${targets[@]}" --vmap "$dir/map")
other() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" >"$dir/out" 2>"$dir/err" || fail "$what: failed"
    same "$dir/want" "$what"
}
for isa in ref avx2 avx512 vnni; do
    ! has_isa $isa || other "isa $isa" "$dragoman" "${base[@]}" --isa $isa
done
for n in 2 3; do other "$n threads" "$dragoman" "${base[@]}" --threads $n; done
for n in 1 7 4096; do other "--batch-tokens $n" "$dragoman" "${base[@]}" --batch-tokens $n; done
for n in 1 24 2048; do other "--batch-rows $n" "$dragoman" "${base[@]}" --batch-rows $n; done
if command -v mpirun >/dev/null; then
    for n in 1 2 3; do other "$n ranks" "$here/launch/dragoman-mpirun" -n $n "${base[@]}" --threads 1; done
    other "3 ranks, 1 dense" "$here/launch/dragoman-mpirun" -n 3 "${base[@]}" --threads 1 --dense-ranks 1
    # rank 0 alone reads the map
    other "a map that only rank 0 has" mpirun --allow-run-as-root --oversubscribe \
        -n 1 "$dragoman" "${base[@]}" --threads 1 : -n 1 "$dragoman" "${base[@]}" --threads 1 --vmap "$dir/none"
    printf 'deu_Latn\tNonsense\n' >"$dir/wrong"
    "$here/launch/dragoman-mpirun" -n 2 "${base[@]}" --vmap "$dir/wrong" >"$dir/out" 2>"$dir/err"
    [ $? -eq 4 ] || fail "a wrong map on two ranks: not exit code 4"
    grep -Eq "^dragoman: rank 0 .*$dir/wrong line 1: want pieces of the model" "$dir/err" || fail "a wrong map on two ranks: another sentence"
else
    echo "skip: ranks, mpirun is not installed"
fi
"$dragoman" quantize -o "$dir/int8" --compute int8 >"$dir/out" 2>"$dir/err" || fail "quantize"
base+=(-m "$dir/int8")
"$dragoman" "${base[@]}" --threads 1 --isa ref >"$dir/want" 2>"$dir/err" || fail "int8"
other "int8, 2 threads" "$dragoman" "${base[@]}" --threads 2 --batch-rows 24
if command -v mpirun >/dev/null; then
    other "int8, 2 ranks" "$here/launch/dragoman-mpirun" -n 2 "${base[@]}" --threads 1
fi

# ---- stopped and started again: what the map lists is among what may not change, where it lies is not ----
for _ in $(seq 8); do cat "$dir/in"; done | grep . >"$dir/long"
"$dragoman" translate -s eng_Latn -t deu_Latn --vmap "$dir/map" -i "$dir/long" -o "$dir/once" 2>"$dir/err" || fail "the long text"
{ cat "$dir/map"; printf 'deu_Latn\t<mask>\n'; } >"$dir/more"
for map in "$dir/map2" "$dir/more"; do
    mkfifo "$dir/fifo"
    "$dragoman" translate -s eng_Latn -t deu_Latn --vmap "$dir/map" -i "$dir/fifo" -o "$dir/goes" 2>"$dir/err" &
    pid=$!
    exec 9<>"$dir/fifo"
    head -n 30 "$dir/long" >&9
    await_from $pid written 30 "$dir/goes.part" || fail "30 lines do not come"
    kill -s TERM $pid
    wait $pid
    exec 9>&-
    rm -f "$dir/fifo"
    checks=$((checks + 1))
    DGM_LOG_LEVEL=info "$dragoman" translate -s eng_Latn -t deu_Latn --vmap "$map" -i "$dir/long" -o "$dir/goes" 2>"$dir/err" || fail "going on"
    if [ "$map" = "$dir/map2" ]; then
        grep -q 'holds 30 lines: going on behind them' "$dir/err" || fail "the same lists: does not go on"
        cmp -s "$dir/once" "$dir/goes" || fail "stopped and started again gives another file"
    else
        grep -q 'goes.part comes from other options or another model: starting anew' "$dir/err" || fail "other lists: goes on"
    fi
    rm -f "$dir"/goes*
done

# ---- what is wrong ----
refused 4 "$dir/none: No such file" --vmap "$dir/none"
refused 4 "$dir: want a file, found a directory" --vmap "$dir"
printf 'deu_Latn\t.\ndeu_Latn .\n' >"$dir/wrong"
refused 4 "$dir/wrong line 2: want CODE, a tab, and pieces, found 'deu_Latn \.'" --vmap "$dir/wrong"
printf 'xx\t.\n' >"$dir/wrong"
refused 4 "$dir/wrong line 1: want a language or \*: language 'xx' is unknown" --vmap "$dir/wrong"
printf 'deu_Latn\tb\0d\n' >"$dir/wrong"
refused 4 "$dir/wrong line 1: byte 11 is NUL" --vmap "$dir/wrong" -o "$dir/file"
[ ! -e "$dir/file.part" ] || fail "a wrong map: FILE.part was begun"
"$dragoman" score -s eng_Latn -t deu_Latn --reference "$dir/in" --vmap "$dir/map" </dev/null >"$dir/out" 2>"$dir/err"
[ $? -eq 2 ] || fail "score --vmap: not exit code 2"
grep -q '^dragoman: .*--vmap' "$dir/err" || fail "score --vmap: the sentence does not name it"

echo "$checks runs"
exit $bad
