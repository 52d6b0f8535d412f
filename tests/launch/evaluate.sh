#!/usr/bin/env bash
# `dragoman prune --evaluate`: what a keep file costs beside references, the same as translating and scoring says; --sweep and
# --max-loss: the same for many choices.
# usage: evaluate.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman

silent() { [ -s "$dir/err" ] && fail "says something: $1"; }
json() { jq -e "$1" "$dir/out" >/dev/null || fail "$1 does not hold: $(cat "$dir/out")"; }

for l in en de; do
    gzip -dc "$here/tests/data/multi30k/test_2016_flickr.$l.gz" | head -n 40 >"$dir/$l"
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
json '.mean.directions == 2 and .mean.lines == 80 and (.mean.bleu.change - (.directions | map(.bleu.change) | add / 2) | fabs) < 1e-8'
# shellcheck disable=SC2016 # of jq
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
says 'val.de: want as many lines as .*/en (40), found 30$'
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

# A sweep measures what --evaluate does, of what prune --fraction --ratio chooses; the same on 2 ranks.
sweep=(--stats "$dir/stats" --fractions "0.5,0.875,0.98" --ratios "1,3" "${both[@]}" --max-length 40 --threads 1)
run 0 "$dragoman" prune --sweep "${sweep[@]}" -o "$dir/sweep" -k "$dir/knee"
silent "$dir/err"
cp "$dir/out" "$dir/table"
run 0 jq . "$dir/sweep"
json '(.points | map([.fraction, .ratio])) == [[0.875, 1], [0.875, 3], [0.5, 1], [0.5, 3]] or (.points | map([.fraction, .ratio]) | sort) == [[0.5, 1], [0.5, 3], [0.875, 1], [0.875, 3]]'
# shellcheck disable=SC2016 # of jq
json '.points as $p | all(range(1; $p | length); $p[. - 1].bytes <= $p[.].bytes) and $p[-1].bytes < .unpruned.bytes'
json '(.unpruned.bytes - .points[0].bytes) * 4 == (.unpruned.bytes - .points[-1].bytes) * 7' # 112 experts gone, 64 gone
json 'all(.points[]; .encoder + .decoder == (1 - .fraction) * 128 and .bytes <= .bytes_all and .bytes_all <= 2 * .bytes)'
jq -e --slurpfile one "$dir/want" '($one[0].mean) as $m | (.unpruned."chrf++" - $m."chrf++".before | fabs) < 1e-8 and
    (.points[] | select(.fraction == 0.875 and .ratio == 3) | (.lost."chrf++" + $m."chrf++".change | fabs) < 1e-8
        and (.lost.low + $m."chrf++".high | fabs) < 1e-8 and (.bleu - $m.bleu.after | fabs) < 1e-8 and .looping == $m.looping.after
        and .unfinished == $m.unfinished.after and .worst.direction == ($one[0].directions[0] | .src + "-" + .tgt))' "$dir/sweep" >/dev/null ||
    fail "a sweep is not what --evaluate says: $(cat "$dir/sweep" "$dir/want")"
[ "$(grep -c '^  0\.[0-9]* ' "$dir/table")" -eq 5 ] || fail "the table: $(cat "$dir/table")"
knee=$(jq -r '.points[.knee] | "--fraction \(.fraction) --ratio \(.ratio)"' "$dir/sweep")
# shellcheck disable=SC2086 # options
run 0 "$dragoman" prune --stats "$dir/stats" -k "$dir/chosen" $knee
cmp -s "$dir/chosen" "$dir/knee" || fail "the knee's experts are not those of prune $knee"
run 0 ranks 2 prune --sweep "${sweep[@]}" -o "$dir/sweep.2"
cmp -s "$dir/sweep" "$dir/sweep.2" || fail "a sweep on 2 ranks gives another file"

# The fewest bytes within a loss: a choice that is within it, while the next of its ratio is not.
found=(--stats "$dir/stats" --fractions "0.25,0.5,0.625,0.75,0.875" --ratios 1 "${both[@]}" --max-length 40)
run 0 "$dragoman" prune --max-loss 1.5 "${found[@]}" -k "$dir/found"
grep -q '^fewest bytes within 1.5 chrF++ (worst): fraction 0\.[0-9]*, ratio 1: [-0-9.]* lost with [0-9.]* % of the bytes$' "$dir/out" || fail "found: $(cat "$dir/out")"
f=$(sed -n 's/^fewest .* fraction \([0-9.]*\), .*/\1/p' "$dir/out")
awk -v f="$f" '/^  0/ && $1 > 0 { near = $1 - f < 1e-3 && f - $1 < 1e-3; if (near) { seen = 1; if ($10 > 1.505) bad = 1 } else if ($1 > f && $10 < 1.495) bad = 1 }
     END { exit bad || !seen }' <(sed 's/, /,/' "$dir/out") || fail "not the fewest: $(cat "$dir/out")"
case $f in 0.25) next=0.5000 ;; 0.5) next=0.6250 ;; 0.625) next=0.7500 ;; 0.75) next=0.8750 ;; *) fail "found $f, of which the test learns nothing" ;; esac
grep -q "^  $next " "$dir/out" || fail "$next was not tried: $(cat "$dir/out")"
run 0 "$dragoman" prune --stats "$dir/stats" -k "$dir/chosen" --fraction "$f" --ratio 1
cmp -s "$dir/chosen" "$dir/found" || fail "the file is not of the choice that was found"
run 4 "$dragoman" prune --max-loss 0 --stats "$dir/stats" --fractions 0.875 --ratios 1 "${both[@]}" -k "$dir/x"
says '--max-loss 0: no choice of fewer experts loses so little on these texts; fraction 0.875, ratio 1 loses [0-9.]* (worst)$'
[ -e "$dir/x" ] && fail "a file of a choice that was not found"

run 0 "$dragoman" prune --sweep --stats "$dir/own" -s en -t de -i "$dir/val.en" --reference "$dir/val.de" --fractions 0.5 --ratios 1
says "val.en: the statistics of .*/own come from this very text"
run 2 "$dragoman" prune --sweep --max-loss 1 --stats "$dir/stats" "${both[@]}"
says 'want --sweep or --max-loss, found both'
run 2 "$dragoman" prune --sweep "${both[@]}"
says 'want --stats FILE'
run 2 "$dragoman" prune --sweep --stats "$dir/stats" --algorithm loss "${both[@]}"
says 'want an --algorithm that goes by statistics'
run 2 "$dragoman" prune --max-loss 1 --stats "$dir/stats" "${both[@]}"
says 'want -k FILE'
run 2 "$dragoman" prune --sweep --stats "$dir/stats" "${both[@]}" --fractions 0.5,1.5
says "--fractions: want at most 64 numbers from 0 to 1 such as 0.5,0.75, found '0.5,1.5'"
run 2 "$dragoman" prune --sweep --stats "$dir/stats" "${both[@]}" --fractions 0.99
says 'the largest fraction that can be removed is 0.9375'
run 4 "$dragoman" prune --sweep --stats "$dir/stats" -s en -t fr -i "$dir/en" --reference "$dir/de"
says 'want statistics for the decoder of eng_Latn-fra_Latn, found only those of deu_Latn, eng_Latn$'
exit $bad
