#!/usr/bin/env bash
# `dragoman score`: log p of given translations is what the search said of its own.
# usage: score.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn

# score CODE ARGS...: $dir/in against $dir/ref.
score() {
    local code=$1 got
    shift
    "$dragoman" score -s eng_Latn -t deu_Latn -i "$dir/in" --reference "$dir/ref" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "score $*: exit code $got, not $code"
}

head -n 6 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"
echo >>"$dir/in"
"$dragoman" translate -s eng_Latn -t deu_Latn -i "$dir/in" --with-score --token-scores >"$dir/best" 2>"$dir/err" || fail "translate"
sed 's/ ||| [^|]*$//; s/^[^|]*||| //' "$dir/best" >"$dir/ref"

score 0 --token-scores
[ "$(wc -l <"$dir/out")" -eq 7 ] || fail "not 7 lines"
[ -z "$(sed -n 7p "$dir/out")" ] || fail "a blank pair has a score"
# The mean is the translation's score, the tokens' log p are the translation's, sum / n is the mean.
cut -f2 "$dir/out" | head -n 6 >"$dir/got"
sed 's/ .*//' "$dir/best" | head -n 6 | cmp -s - "$dir/got" || fail "the mean is not the search's score"
cut -f4 "$dir/out" | head -n 6 >"$dir/got"
sed 's/.* ||| //' "$dir/best" | head -n 6 | cmp -s - "$dir/got" || fail "log p of the tokens are not the search's"
head -n 6 "$dir/out" | awk -F'\t' '
    { d = $1 / $3 - $2; if (d * d > 1e-10) exit 1
      n = split($4, t, " "); sum = 0
      for (i = 1; i <= n; i++) { sub(/.*:/, "", t[i]); sum += t[i] }
      d = sum - $1; if (n != $3 - 1 || d * d > 1e-8) exit 1 }' || fail "sum, mean and tokens do not fit"
cp "$dir/out" "$dir/all"
score 0
cut -f1-3 "$dir/all" | cmp -s - "$dir/out" || fail "--token-scores changes the scores"
for more in "--batch-tokens 1" "--threads 2" "--isa ref"; do
    # shellcheck disable=SC2086 # two words
    score 0 --token-scores $more
    cmp -s "$dir/all" "$dir/out" || fail "$more changes the scores"
done

# A wrong translation is less likely.
{ sed -n 2p "$dir/ref"; sed -n 1p "$dir/ref"; sed -n '3,$p' "$dir/ref"; } >"$dir/swapped"
cp "$dir/swapped" "$dir/ref"
score 0
paste <(cut -f2 "$dir/all") <(cut -f2 "$dir/out") | awk 'NR <= 2 && $2 > $1 - 1 { exit 1 }' || fail "wrong pairs score as well"

# Unequal files, bad lines, wrong options.
head -n 3 "$dir/swapped" >"$dir/ref"
score 4
says 'want as many lines as .*/in, found only 3'
{ cat "$dir/swapped"; echo Hund; } >"$dir/ref"
score 4
says 'want as many lines as .*/in (7), found more'
{ printf 'b\xFFd\n'; sed -n '2,$p' "$dir/swapped"; } >"$dir/ref"
score 1 --report "$dir/report"
[ -z "$(sed -n 1p "$dir/out")" ] || fail "a bad reference has a score"
says '/ref line 1: byte 2 (0xff) is not UTF-8'
sed -n 1p "$dir/report" | grep -q '"status":"bad_input"' || fail "the report does not say bad_input"
score 4 --strict
{ for _ in $(seq 2000); do printf 'Hund '; done; echo; sed -n '2,$p' "$dir/swapped"; } >"$dir/ref"
score 1
says 'too long: want at most [0-9]* tokens, found'
cp "$dir/swapped" "$dir/ref"
"$dragoman" score -s en -t de,fr -i "$dir/in" --reference "$dir/ref" >"$dir/out" 2>"$dir/err"
[ $? -eq 2 ] || fail "two languages: exit code is not 2"
"$dragoman" score -s en -t de -i "$dir/in" >"$dir/out" 2>"$dir/err"
[ $? -eq 2 ] || fail "no reference: exit code is not 2"
says 'want --reference FILE'
"$dragoman" score -s en -t de --reference - >"$dir/out" 2>"$dir/err" </dev/null
[ $? -eq 2 ] || fail "two standard inputs: exit code is not 2"
exit $bad
