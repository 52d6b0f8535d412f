#!/usr/bin/env bash
# `dragoman sparsify`: what it prints, what it refuses, that threads change nothing, and that what it writes translates.
# usage: sparsify.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token
export DGM_LOG_LEVEL=error

for l in en:eng_Latn de:deu_Latn fr:fra_Latn cs:ces_Latn; do
    gzip -dc "$here/tests/data/multi30k/val.${l%:*}.gz" | head -n 40 >"$dir/${l#*:}"
done
four=(--calibration "eng_Latn=$dir/eng_Latn" "deu_Latn=$dir/deu_Latn" "fra_Latn=$dir/fra_Latn" "ces_Latn=$dir/ces_Latn")
two=(--calibration "eng_Latn=$dir/eng_Latn" --calibration "deu_Latn=$dir/deu_Latn")

# says CODE PATTERN ARGS...: sparsify ends with CODE and one sentence that matches, and leaves nothing.
says() {
    refuses "$1" "$2" "$dragoman" sparsify -m "$model" -o "$dir/none" "${@:3}"
    if [ -e "$dir/none" ] || [ -e "$dir/none.part" ]; then fail "sparsify ${*:3}: something is left"; fi
    rm -rf "$dir/none" "$dir/none.part"
}

# made NAME ARGS...: the model sparsified as $dir/NAME.
made() {
    local name=$1
    shift
    "$dragoman" sparsify -o "$dir/$name" "$@" >"$dir/out" 2>"$dir/err" || fail "sparsify $*: exit code $?"
    [ ! -e "$dir/$name.part" ] || fail "sparsify $*: $name.part is still there"
}

# options
says 2 'want LANGUAGE=FILE for each language, found none' --method wanda
says 2 "want LANGUAGE=FILE, found 'eng_Latn'" --calibration eng_Latn
says 2 "want LANGUAGE=FILE, found '=x'" --calibration =x
says 2 "want LANGUAGE=FILE, found 'more'" "${two[@]}" more
says 2 "want only options, found 'eng_Latn=x'" eng_Latn=x
says 2 'xyz' --calibration "xyz=$dir/eng_Latn"
says 2 'each language once, found deu_Latn twice' "${two[@]}" "de=$dir/deu_Latn"
says 2 'two languages or more, found eng_Latn alone' --calibration "en=$dir/eng_Latn"
says 2 'above 0 and below 1, found 0$' "${two[@]}" --sparsity 0
says 2 'above 0 and below 1, found 1$' "${two[@]}" --sparsity 1
says 2 '--sparsity' "${two[@]}" --sparsity 1.5
says 2 '--method' "${two[@]}" --method woodpecker
says 2 '--lambda: want --method m-wanda, found wanda' "${two[@]}" --lambda 2
says 2 '--owl-m: want --method owl, found m-wanda' "${two[@]}" --method m-wanda --owl-m 3
says 2 '--pattern 2:4: want --sparsity 0.5, found 0.4' "${two[@]}" --pattern 2:4 --sparsity 0.4
says 2 '--pattern 4:8: .* found --method owl' "${two[@]}" --pattern 4:8 --method owl
says 2 '--pattern 2:4: want --layer-spread 0, found 0.1' "${two[@]}" --pattern 2:4 --method m-wanda --layer-spread 0.1
"$dragoman" sparsify -m "$model" "${two[@]}" >"$dir/out" 2>"$dir/err"
{ [ $? -eq 2 ] && grep -q 'want --output DIR' "$dir/err"; } || fail "no --output"

# files
says 4 'absent: No such file' --calibration "en=$dir/eng_Latn" "de=$dir/absent"
head -n 39 "$dir/deu_Latn" >"$dir/short"
says 4 'short: want 40 lines, as many as .*/eng_Latn, found 39' --calibration "en=$dir/eng_Latn" "de=$dir/short"
sed '7s/.*/\xff\xfe/' "$dir/deu_Latn" >"$dir/bytes"
says 4 'bytes line 7: .*UTF-8' --calibration "en=$dir/eng_Latn" "de=$dir/bytes"
sed "3s/.*/$(printf 'ein Hund %.0s' {1..400})/" "$dir/deu_Latn" >"$dir/long"
says 4 'long line 3: want at most [0-9]+ tokens' --calibration "en=$dir/eng_Latn" "de=$dir/long"
yes '' | head -n 40 >"$dir/blank"
says 4 'blank: want sentences beside those of' --calibration "en=$dir/eng_Latn" "de=$dir/blank"
: >"$dir/empty"
says 4 'empty: want sentences, found none' --calibration "en=$dir/empty" --calibration-target self
mkdir "$dir/there"
# A sample has the same lines of all languages, and other ones by another seed: of a file whose every second line is empty, both of one
# find a sentence, or neither (an output that is there is looked at after the text).
awk '{ print NR % 2 ? $0 : "" }' "$dir/eng_Latn" >"$dir/second"
drawn() { "$dragoman" sparsify -m "$model" -o "$dir/there" --calibration "$1=$dir/second" --calibration-target self --samples 1 --seed "$2" >"$dir/out" 2>"$dir/err"; echo $?; }
codes=''
for seed in 1 2 3 4 5 6; do
    code=$(drawn en $seed)
    [ "$code" = "$(drawn de $seed)" ] || fail "--seed $seed: two languages have other lines"
    codes+="$code "
done
case $codes in *4*5* | *5*4*) ;; *) fail "a sample of one line: not empty by some seeds, and a sentence by others: $codes" ;; esac
"$dragoman" sparsify -m "$model" "${two[@]}" -o "$dir/there" >"$dir/out" 2>"$dir/err"
{ [ $? -eq 5 ] && grep -q 'wanted a name that is free' "$dir/err"; } || fail "an output that is there"

# What is printed and recorded; the rest of the model is as it was.
made wanda -m "$model" --method wanda "${four[@]}" --samples 6
grep -q '^zeros: 4718592, 50.00 % of the 9437184 weights of pruned matrices, 45.77 % of all 10310400$' "$dir/out" || fail "zeros"
grep -Eq "^$dir/wanda: [0-9]+ bytes of weights, [0-9.]+ %$" "$dir/out" || fail "bytes after"
jq -e '.dragoman.history[-1] | .tool == "sparsify" and .options.method == "wanda" and .options.sparsity == 0.5 and
    .options.calibration.samples == 6 and (.options.calibration.files | length) == 4 and .zeros.zeros == 4718592' "$dir/wanda/config.json" >/dev/null ||
    fail "history"
"$dragoman" inspect "$dir/wanda" --verify >"$dir/out" 2>"$dir/err" || fail "inspect"
head -n 5 "$dir/eng_Latn" | "$dragoman" translate -m "$dir/wanda" -s en -t de >"$dir/hyp" 2>"$dir/err" || fail "translate"
[ "$(wc -l <"$dir/hyp")" -eq 5 ] || fail "not five translations"

# The same bytes: threads, flags or words, instruction set; other ones: another sample, other languages.
made threads -m "$model" --method wanda "${four[@]}" --samples 6 --threads 3 --isa ref
made zero -m "$model" --method m-wanda --lambda 0 --gamma 0 --layer-spread 0 "${four[@]}" --samples 6
made seed -m "$model" --method wanda "${four[@]}" --samples 6 --seed 1
made two -m "$model" --method wanda "${two[@]}" --samples 6
made words -m "$model" --method wanda --calibration "eng_Latn=$dir/eng_Latn" "de=$dir/deu_Latn" --samples 6
same() { cmp -s "$dir/$1/model.safetensors" "$dir/$2/model.safetensors"; }
same wanda threads || fail "threads or instruction set change bytes"
same wanda zero || fail "after M-Wanda without its terms is not Wanda"
same two words || fail "several words behind one flag are not several flags"
same wanda seed && fail "another sample gives the same bytes"
if command -v mpirun >/dev/null; then # one process does it, whatever a launcher starts
    DRAGOMAN=$dragoman "$here/launch/dragoman-mpirun" -n 2 -- sparsify -m "$model" --method wanda "${two[@]}" --samples 6 -o "$dir/ranks" >"$dir/out" 2>"$dir/err" || fail "two ranks"
    same two ranks || fail "two ranks: other bytes"
fi
same wanda two && fail "other languages give the same bytes"

# Layers share unequally; 2:4; one language into itself; files that are not parallel.
made owl -m "$model" --method owl "${four[@]}" --samples 6 --sparsity 0.6
jq -e '.dragoman.history[-1].zeros | .zeros / .pruned | . > 0.59 and . <= 0.6' "$dir/owl/config.json" >/dev/null || fail "OWL's mean"
awk '/^(en|de)coder [0-9]/ { least = least == "" || $5 < least ? $5 : least; most = $5 > most ? $5 : most } END { d = most - least; exit !(d > 15 && d < 17) }' \
    "$dir/out" || fail "OWL: layers are not up to two times 8 % apart"
made pattern -m "$model" --pattern 2:4 --method m-wanda "${four[@]}" --samples 6
made mul -m "$model" --pattern 2:4 --method m-wanda --score mul "${four[@]}" --samples 6
same pattern mul && fail "--score mul gives the bytes of add"
made self -m "$model" --calibration "en=$dir/eng_Latn" --calibration-target self
made unequal -m "$model" --calibration "en=$dir/eng_Latn" "de=$dir/short" --calibration-target self --samples 0

# Packed models of any type keep it; each can be sparsified once more.
for experts in int8 int4 bf16; do
    "$dragoman" quantize -m "$model" -o "$dir/packed-$experts" --experts $experts >"$dir/out" 2>"$dir/err" || fail "quantize"
    before=$(cat "$dir/packed-$experts"/* | cksum)
    made "sparse-$experts" -m "$dir/packed-$experts" "${two[@]}" --samples 4 --sparsity 0.4
    [ "$before" = "$(cat "$dir/packed-$experts"/* | cksum)" ] || fail "$experts: the source has changed"
    "$dragoman" inspect "$dir/sparse-$experts" --verify >"$dir/inspect" 2>"$dir/err" || fail "$experts: inspect"
    grep -Eq "^experts .* $experts\$" "$dir/inspect" || fail "$experts: another type of experts"
    jq -e '.dragoman.history | map(.tool) == ["quantize", "sparsify"]' "$dir/sparse-$experts/config.json" >/dev/null || fail "$experts: history"
    jq -e '.dragoman.history[-1].zeros | .zeros / .pruned > 0.39' "$dir/sparse-$experts/config.json" >/dev/null || fail "$experts: zeros"
    head -n 2 "$dir/eng_Latn" | "$dragoman" translate -m "$dir/sparse-$experts" -s en -t de >"$dir/hyp" 2>"$dir/err" || fail "$experts: translate"
done
made twice -m "$dir/sparse-int8" "${two[@]}" --samples 4 --sparsity 0.6

# Experts by task: the encoder as a whole, the decoder by target.
made task -m "$here/models/multi30k-task" "${four[@]}" --samples 4 --method m-wanda
# Extracted, it translates into German alone: other pairs are left out, and a file that is in none is refused.
"$dragoman" extract -m "$here/models/multi30k-task" -t de -o "$dir/german" >"$dir/out" 2>"$dir/err" || fail "extract"
made into-german -m "$dir/german" "${four[@]}" --samples 4
grep -qx 'calibrated on 3 of 12 directions: the model does not translate the others' "$dir/out" || fail "directions"
jq -e '.dragoman.history[-1].options.calibration.directions == ["eng_Latn-deu_Latn", "fra_Latn-deu_Latn", "ces_Latn-deu_Latn"]' \
    "$dir/into-german/config.json" >/dev/null || fail "directions in the history"
model=$dir/german
says 2 'no such task: wanted one of deu_Latn' --calibration "en=$dir/eng_Latn" "fr=$dir/fra_Latn"
says 2 'fra_Latn: the model has no such task: wanted one of deu_Latn' --calibration "de=$dir/deu_Latn" "fr=$dir/fra_Latn" --calibration-target self
model=$here/models/multi30k-token

# A damaged file does not get checksums that fit.
cp -r "$dir/packed-int8" "$dir/damaged"
size=$(stat -c %s "$dir/damaged/model.safetensors")
printf '\x55\xaa' | dd of="$dir/damaged/model.safetensors" bs=1 seek=$((size - 5000)) conv=notrunc 2>/dev/null
"$dragoman" sparsify -m "$dir/damaged" --method magnitude -o "$dir/none" >"$dir/out" 2>"$dir/err"
{ [ $? -eq 3 ] && grep -q 'checksum' "$dir/err" && [ ! -e "$dir/none" ]; } || fail "a damaged file"
exit $bad
