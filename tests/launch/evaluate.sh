#!/usr/bin/env bash
# `dragoman prune --evaluate`: what a keep file costs beside references, the same as translating and scoring says.
# usage: evaluate.sh DRAGOMAN_BINARY
set -u
dragoman=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

fail() {
    echo "$1"
    sed 's/^/    /' "$dir/err" | head -n 5
    bad=1
}

# run CODE COMMAND...
run() {
    local want=$1 got
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$want" ] || fail "$*: exit code $got, not $want"
}
says() { grep -q -- "$1" "$dir/err" || fail "does not say '$1'"; }
silent() { [ -s "$dir/err" ] && fail "says something: $1"; }
json() { jq -e "$1" "$dir/out" >/dev/null || fail "$1 does not hold: $(cat "$dir/out")"; }
# shellcheck disable=SC2317 # run calls it
ranks() { "$here/launch/dragoman-mpirun" -n "$@"; }

for l in en de; do
    gzip -dc "$here/tests/data/multi30k/test_2016_flickr.$l.gz" | head -n 60 >"$dir/$l"
    gzip -dc "$here/tests/data/multi30k/val.$l.gz" | head -n 30 >"$dir/val.$l"
done
sed -i 7s/.*// "$dir/en"
both=(-s en -t de -i "$dir/en" --reference "$dir/de" -s de -t en -i "$dir/de" --reference "$dir/en")
run 0 "$dragoman" stats -s en -t de -i "$dir/val.en" -s de -t en -i "$dir/val.de" -o "$dir/stats"
run 0 "$dragoman" prune --stats "$dir/stats" -k "$dir/keep" --fraction 0.875

# Against translate and score-text; the blank line is neither empty nor lost.
run 0 "$dragoman" prune --evaluate -k "$dir/keep" "${both[@]}" --json --threads 1 --max-length 40
silent "$dir/err"
cp "$dir/out" "$dir/want"
json '.directions | length == 2 and .[0]."chrf++".change <= .[1]."chrf++".change'
json '.mean.directions == 2 and .mean.lines == 120 and (.mean.bleu.change - (.directions | map(.bleu.change) | add / 2) | fabs) < 1e-8'
json 'all(.directions[], .mean; . as $d | all("bleu", "spbleu", "chrf++"; $d[.] | .low <= .change and .change <= .high and .low < .high))'
for side in before after; do
    args=()
    [ $side = after ] && args=(-k "$dir/keep")
    "$dragoman" translate -s en -t de -i "$dir/en" --report "$dir/report" -o "$dir/hyp" --max-length 40 "${args[@]}" 2>"$dir/err"
    run 0 "$dragoman" score-text --json "$dir/hyp" "$dir/de"
    jq -e --argjson got "$(cat "$dir/out")" --argjson cut "$(grep -c truncated "$dir/report")" --arg side $side '.directions[] | select(.tgt == "deu_Latn")
        | .bleu[$side] == $got.bleu and .spbleu[$side] == $got.spbleu and ."chrf++"[$side] == $got."chrf++"
        and (.length_ratio[$side] - $got.length_ratio | fabs) < 1e-6 and .unfinished[$side] == $cut and .empty[$side] == 1' "$dir/want" >/dev/null ||
        fail "$side is not what translate and score-text say: $(cat "$dir/out" "$dir/want")"
    rm -f "$dir/hyp" "$dir/report"
done
jq -e '.directions[] | select(.tgt == "deu_Latn") | .unfinished.after > 0 and .looping.after > 0' "$dir/want" >/dev/null ||
    fail "6 + 2 experts a layer never run on: $(cat "$dir/want")"

# The same on 2 ranks, and with one that holds experts alone; another seed draws other lines.
for more in "" "--dense-ranks 1"; do
    # shellcheck disable=SC2086 # options
    run 0 ranks 2 prune --evaluate -k "$dir/keep" "${both[@]}" --json --threads 1 --max-length 40 $more
    cmp -s "$dir/want" "$dir/out" || fail "2 ranks $more: $(diff "$dir/want" "$dir/out")"
done
run 0 "$dragoman" prune --evaluate -k "$dir/keep" "${both[@]}" --json --max-length 40 --seed 7
json '.seed == 7'
[ "$(jq -c '[.directions[].bleu.change]' "$dir/out")" = "$(jq -c '[.directions[].bleu.change]' "$dir/want")" ] || fail "the seed changes scores"
[ "$(jq -c '[.directions[].bleu.low]' "$dir/out")" != "$(jq -c '[.directions[].bleu.low]' "$dir/want")" ] || fail "the seed does not change intervals"

# Keeping all costs nothing, surely. Pipes are read once.
run 0 "$dragoman" prune --stats "$dir/stats" -k "$dir/all" --fraction 0 --ratio 1
run 0 "$dragoman" prune --evaluate -k "$dir/all" -s en -t de -i <(cat "$dir/en") --reference <(cat "$dir/de")
grep -q '^  chrF++ .* +0.00   \[+0.00, +0.00\]$' "$dir/out" || fail "all kept: $(cat "$dir/out")"
grep -q "^  spBLEU (this model's pieces) " "$dir/out" || fail "spBLEU is not named"
grep -q '1000 resamples, --seed 0$' "$dir/out" || fail "no seed"
grep -q '^chrF++ chrF2++|nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no$' "$dir/out" || fail "no signature"
grep -q '^mean' "$dir/out" && fail "a mean of one direction"

# On the text that the experts were chosen by.
for given in "" "--reference $dir/val.de"; do
    # shellcheck disable=SC2086 # options
    run 0 "$dragoman" stats -s en -t de -i "$dir/val.en" $given -o "$dir/own"
    run 0 "$dragoman" prune --stats "$dir/own" -k "$dir/own.keep"
    run 0 "$dragoman" prune --evaluate -k "$dir/own.keep" -s en -t de -i "$dir/val.en" --reference "$dir/val.de"
    says "val.en: the statistics of .*/own.keep come from this very text"
done

# What it says of options and texts that do not fit.
run 2 "$dragoman" prune --evaluate -k "$dir/keep" -s en -t de -i "$dir/en"
says 'want -i FILE and --reference FILE with each -s and -t'
run 2 "$dragoman" prune --evaluate -k "$dir/keep" -s en -t de -s de -t en -i "$dir/en" --reference "$dir/de"
says 'found 2, 2, 1 and 1'
run 2 "$dragoman" prune --evaluate -k "$dir/keep" -s en -t de,fr -i "$dir/en" --reference "$dir/de"
says "want one language a direction, found 'de,fr'"
run 2 "$dragoman" prune --evaluate "${both[@]}"
says 'want -k FILE'
run 4 "$dragoman" prune --evaluate -k "$dir/keep" -s en -t fr -i "$dir/en" --reference "$dir/de"
says 'keeps no decoder experts for fra_Latn'
run 4 ranks 2 prune --evaluate -k "$dir/keep" -s en -t de -i "$dir/en" --reference "$dir/val.de"
says 'val.de: want as many lines as .*/en (60), found 30$'
printf 'a\xff\n' >"$dir/bytes"
head -n 1 "$dir/en" >"$dir/one"
run 4 "$dragoman" prune --evaluate -k "$dir/keep" -s en -t de -i "$dir/one" --reference "$dir/bytes"
says '/bytes line 1: byte 2 (0xff) is not UTF-8$'
: >"$dir/none"
run 4 "$dragoman" prune --evaluate -k "$dir/keep" -s en -t de -i "$dir/none" --reference "$dir/none"
says '/none: want at least one line, found none$'
run 4 "$dragoman" prune --evaluate -k "$dir/keep" -s en -t de -i "$dir/missing" --reference "$dir/de"
says '/missing: No such file'
run 4 "$dragoman" prune --evaluate -k "$dir/missing" "${both[@]}"
says '/missing'
exit $bad
