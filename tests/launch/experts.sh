#!/usr/bin/env bash
# `dragoman stats`, `prune` and --keep: what routers prefer, which experts stay, and translating with those alone.
# usage: experts.sh DRAGOMAN_BINARY COMPARE_GATES
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 compare=$2
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman


for l in en de; do gzip -dc "$here/tests/data/multi30k/test_2016_flickr.$l.gz" | head -n 40 >"$dir/$l"; done

# Against Hugging Face: forced translations in both directions.
run 0 "$dragoman" stats -s en -t de -i "$dir/en" --reference "$dir/de" -o "$dir/ende"
run 0 "$dragoman" stats -s de -t en -i "$dir/de" --reference "$dir/en" -o "$dir/deen"
run 0 "$dragoman" stats --merge "$dir/ende" "$dir/deen" -o "$dir/both"
run 0 "$compare" "$dir/both" "$here/tests/golden/experts/gates.json"
[ -s "$dir/out" ] && head -n 5 "$dir/out"
run 4 "$dragoman" stats --merge "$dir/both" "$dir/deen" -o "$dir/x"
says 'is counted already'
cp "$dragoman" "$dir/alone" # far from the demonstration model: merging needs none
run 0 env -u DGM_MODEL "$dir/alone" stats --merge "$dir/ende" "$dir/deen" -o "$dir/got"
same "$dir/both" "$dir/got" "other statistics merged without a model"
run 0 ranks 2 stats --merge "$dir/ende" "$dir/deen" -o "$dir/got"
same "$dir/both" "$dir/got" "other statistics merged under two ranks"

# The same bytes for any batch, instruction set, overlap and number of ranks; equal lines count each.
head -n 20 "$dir/en" | cat - "$dir/en" >"$dir/twice"
run 0 "$dragoman" stats -s en -t de,fr -i "$dir/twice" -o "$dir/want"
run 0 "$dragoman" stats -s en -t de,fr -i "$dir/twice" -o "$dir/got" --isa ref --batch-rows 5 --batch-tokens 30
same "$dir/want" "$dir/got" "other statistics with small batches"
run 0 ranks 3 stats -s en -t de,fr -i "$dir/twice" -o "$dir/got" --threads 1
same "$dir/want" "$dir/got" "other statistics on 3 ranks"
run 0 ranks 2 stats -s en -t de,fr -i "$dir/twice" -o "$dir/got" --threads 1 --dense-ranks 1
same "$dir/want" "$dir/got" "other statistics with one dense rank"

cat "$dir/en" "$dir/en" >"$dir/doubled"
run 0 "$dragoman" stats -s en -t de -i "$dir/en" -o "$dir/once"
run 0 "$dragoman" stats -s en -t de -i "$dir/doubled" -o "$dir/got"
[ "$(jq -c '.runs[0] | .tokens.encoder, .tokens.decoder, .top1[3][] | . * 2' "$dir/once")" = \
    "$(jq -c '.runs[0] | .tokens.encoder, .tokens.decoder, .top1[3][]' "$dir/got")" ] || fail "a text twice does not count twice"

# Several directions in one run are the same runs merged.
run 0 "$dragoman" stats -s en -t de -i "$dir/en" --reference "$dir/de" -s de -t en -i "$dir/de" --reference "$dir/en" -o "$dir/got"
same "$dir/both" "$dir/got" "two directions in one run: other statistics"
run 0 ranks 2 stats -s en -s de -t de -t en -i "$dir/en" -i "$dir/de" --reference "$dir/de" --reference "$dir/en" -o "$dir/got" --threads 1
same "$dir/both" "$dir/got" "two directions in one run on 2 ranks: other statistics"
run 2 "$dragoman" stats -s en -t de -i "$dir/en" -s de -t en -o "$dir/x"
says 'want as many -s as -t, -i and (if any) --reference, found 2, 2, 1 and 0'
run 2 "$dragoman" stats -s en -t de -i "$dir/en" -s eng -t fr,de -i "$dir/en" -o "$dir/x"
says 'eng_Latn into deu_Latn is there twice'
run 2 "$dragoman" stats -s en -t de -i "$dir/en" -s de -t en -i "$dir/de" -o "$dir/x" --report "$dir/y"
says '--report: want one direction with it, found 2'

# What the best hypotheses used is what they give as forced translations; translating tells the same on the way.
run 0 "$dragoman" translate -s en -t de -i "$dir/en" -o "$dir/hyp" --record-stats "$dir/beam" --beam-size 3
run 0 "$dragoman" stats -s en -t de -i "$dir/en" --reference "$dir/hyp" -o "$dir/forced"
run 0 "$compare" "$dir/beam" "$dir/forced"

# Keeping all changes nothing; keeping few is the same on any number of ranks, and loads less.
run 0 "$dragoman" prune --stats "$dir/both" -k "$dir/all.json" --fraction 0 --ratio 1
run 0 "$dragoman" translate -s en -t de -i "$dir/en" -k "$dir/all.json"
cp "$dir/out" "$dir/full"
run 0 "$dragoman" translate -s en -t de -i "$dir/en"
same "$dir/full" "$dir/out" "a keep file of all experts changes the text"
run 0 "$dragoman" prune --stats "$dir/both" -k "$dir/keep.json"
grep -q '^encoder  eng_Latn  *18/64  *9 9$' "$dir/out" || fail "counts of the encoder: $(cat "$dir/out")"
grep -q '^decoder  deu_Latn  *6/64  *3 3$' "$dir/out" || fail "counts of the decoder"
run 0 "$dragoman" translate -s en -t de -i "$dir/en" -k "$dir/keep.json"
cp "$dir/out" "$dir/kept"
cmp -s "$dir/kept" "$dir/full" && fail "24 of 128 experts give the same text"
for n in 2 3 4; do
    run 0 ranks "$n" translate -s en -t de -i "$dir/en" -k "$dir/keep.json" --threads 1
    same "$dir/kept" "$dir/out" "$n ranks: other bytes with a keep file"
done
run 0 "$dragoman" translate -s en -t de -i "$dir/en" -k "$dir/keep.json" --isa ref --batch-rows 5
same "$dir/kept" "$dir/out" "small batches: other bytes with a keep file"
weights() { DGM_LOG_LEVEL=info "$dragoman" translate -s en -t de "$@" </dev/null 2>&1 | grep -o '[0-9.]* MiB of weights' | cut -d. -f1; }
[ "$(weights -k "$dir/keep.json")" -lt $(($(weights) / 2)) ] || fail "a keep file does not make the model smaller"
run 0 "$dragoman" quantize -o "$dir/int8" --experts int8 --dense int8
run 4 "$dragoman" translate -m "$dir/int8" -s en -t de -i "$dir/en" -k "$dir/keep.json"
says 'is of another model'

# What is lost of the gates, against Hugging Face's model with the same experts masked; nothing where all are kept.
golden=$here/tests/golden/experts
head -n 5 "$dir/en" >"$dir/five"
for n in 1 2; do
    run 0 ranks "$n" translate -s en -t de -i "$dir/five" -k "$golden/absent.json" --report "$dir/report.$n" --threads 1
    jq -r '[.absent_mass, .absent_most, .worst_layer] | join(" ")' "$dir/report.$n" | paste -d ' ' - "$golden/absent.txt" |
        awk 'function far(a, b) { return a - b > 1e-5 || b - a > 1e-5 }
             far($1, $5) || far($2, $6) || $3 != $7 || $4 != $8 { bad = 1 } END { exit bad || NR != 5 }' ||
        fail "gates lost, $n ranks: $(cat "$dir/report.$n")"
done
DGM_LOG_LEVEL=info run 0 "$dragoman" translate -s en -t de -i "$dir/five" -k "$golden/absent.json"
says 'experts that are not kept would have had 0\.[0-9]* of the gates on average, [01]\.[0-9]* at most'
run 0 "$dragoman" translate -s en -t de -i "$dir/five" -k "$dir/all.json" --report "$dir/report"
jq -es 'all(.[]; .absent_mass == 0 and .absent_most == 0 and .worst_layer == null)' "$dir/report" >/dev/null || fail "all kept, yet lost"

# Sets by pair and for all; languages that are not there.
run 0 "$dragoman" prune --stats "$dir/both" -k "$dir/pair.json" --granularity pair --algorithm threshold --fraction 0.5
run 0 "$dragoman" translate -s en -t de -i "$dir/en" -k "$dir/pair.json"
run 4 "$dragoman" translate -s en -t fr -i "$dir/en" -k "$dir/pair.json"
says 'keeps no encoder experts for eng_Latn'
run 0 "$dragoman" translate -s en -t fr -i "$dir/en" -k "$dir/pair.json" --keep-missing exact
run 0 "$dragoman" prune --stats "$dir/both" -k "$dir/any.json" --granularity all --metric top2 --average tokens --fraction 0.5
run 0 "$dragoman" translate -s en -t de -i "$dir/en" -k "$dir/any.json"
run 4 "$dragoman" translate -s en -t fr -i "$dir/en" -k "$dir/keep.json"
says 'keeps no decoder experts for fra_Latn'
sed 's/"deu_Latn":{[^}]*},*//g' "$dir/keep.json" >"$dir/lacking"
run 0 "$dragoman" translate -s en -t de -i "$dir/five" -k "$dir/lacking" --keep-missing exact
jq 'del(.decoder.deu_Latn)' "$dir/keep.json" >"$dir/lacking"
run 0 "$dragoman" translate -s en -t de -i "$dir/five" -k "$dir/lacking" --keep-missing exact
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --fraction 0.99
says 'the largest fraction that can be removed is 0.9375'
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --fraction 0.25
says 'want at most 64 in the encoder and 64 in the decoder; another --ratio'
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --keep-total 20
says 'want both or none'
run 4 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --stats-mode beam
says 'want a direction of the wanted kind'
run 4 "$dragoman" prune -m "$dir/int8" --stats "$dir/both" -k "$dir/x"
says 'is of another model'
sed 's/"top1":\[\[[0-9]*/"top1":[[99999/' "$dir/both" >"$dir/edited"
run 4 "$dragoman" prune --stats "$dir/edited" -k "$dir/x"
says 'top1: want as many first places in each layer as tokens'
run 2 "$dragoman" stats -s en -t de -i "$dir/en"
says 'want -o FILE'
run 2 "$dragoman" prune -k "$dir/x"
says 'want --stats FILE'
[ -e "$dir/x" ] && fail "a refused command left a file"

# Guards against translations that do not end: EOS experts stay, a target keeps more; statistics of before gates are told.
run 0 "$dragoman" prune --stats "$dir/both" -k "$dir/eos.json" --protect-eos --fraction 0.75 --ratio 1
for l in 0 1; do
    jq -e --argjson l $l --slurpfile s "$dir/both" '
        ([$s[0].runs[] | select(.tgt == "eng_Latn") | .eos_gate_sum[2 + $l]] | transpose | map(add)) as $w
        | ($w | add * 0.9) as $want | ([$w | to_entries | sort_by(-.value, .key)[]]) as $order
        | [range(0; 32) | select(([$order[0:.][].value] | add // 0) < $want) | $order[.].key] as $eos
        | (.decoder.eng_Latn[(1 + 2 * $l | tostring)]) as $kept | ($eos[0:8] - $kept) == [] and ($eos | length) > 1' "$dir/eos.json" >/dev/null ||
        fail "decoder layer $l does not keep the experts of </s>: $(cat "$dir/eos.json")"
done
run 0 "$dragoman" prune --stats "$dir/both" -k "$dir/more.json" --decoder-keep en=0.5
grep -q '^decoder  eng_Latn  *32/64  *16 16$' "$dir/out" || fail "--decoder-keep: $(cat "$dir/out")"
grep -q '^decoder  deu_Latn  *6/64  *3 3$' "$dir/out" || fail "--decoder-keep changes another language"
grep -q '^encoder  eng_Latn  *18/64  *9 9$' "$dir/out" || fail "--decoder-keep changes the encoder"
jq 'del(.runs[].gate_sum, .runs[].eos_gate_sum)' "$dir/both" >"$dir/older"
run 0 "$dragoman" prune --stats "$dir/older" -k "$dir/x.json"
same "$dir/keep.json" "$dir/x.json" "statistics without gates: another choice"
rm "$dir/x.json"
run 4 "$dragoman" prune --stats "$dir/older" -k "$dir/x" --protect-eos
says 'want the gates of experts, which an older dragoman did not record: take them anew (dragoman stats)'
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --decoder-keep fr=0.5
says 'want a target language of the statistics ([a-zA-Z_ ]*), found .fr'
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --decoder-keep en=50
says 'want LANG=FRACTION with a fraction above 0 and at most 1'
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --decoder-keep en=0.5,eng_Latn=0.4
says 'eng_Latn is there twice'
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --decoder-keep en=0.01
says 'the largest fraction that can be removed'
run 2 "$dragoman" prune --stats "$dir/both" -k "$dir/x" --decoder-keep en=0.5 --granularity all
says 'found all'
jq '.runs[] |= (.eos_gate_sum[2:] = .gate_sum[2:])' "$dir/both" >"$dir/always" # as if each position ended a sentence
run 0 "$dragoman" prune --stats "$dir/always" -k "$dir/tight.json" --protect-eos
grep -q '^decoder  deu_Latn  *6/64  *3 3$' "$dir/out" || fail "EOS experts break the budget"
says 'decoder set deu_Latn, layer 1: [0-9]* experts have 90 % of the gates at </s>, the budget keeps 3 of them, which have [0-9.]* %'

# Lists as the paper's authors released them, for a model of which only the configuration is there.
mkdir "$dir/config" && cp "$DGM_MODEL/config.json" "$dir/config/"
echo '{"eng_Latn":[0,1,2,3,32,33,64,65,96,97],"deu_Latn":[0,1,10,11,32,40,64,70,96,97],"fra_Latn":[2,3,32,33,80,81,100,101]}' >"$dir/list"
run 0 "$dragoman" prune -m "$dir/config" --import "$dir/list" -k "$dir/imported"
run 0 "$dragoman" inspect "$dir/config" --keep "$dir/imported" --json
jq -e '.languages == ["deu_Latn", "eng_Latn", "fra_Latn"] and (.ranks | length) == 1
    and (.encoder | .experts == 64 and .kept == {"deu_Latn": 6, "eng_Latn": 6, "fra_Latn": 4} and .kept_union == 9 and .kept_by_all == 1
        and (.jaccard_mean - (3 / 9 + 4 / 6 + 1 / 9) / 3 | fabs) < 1e-12
        and (.jaccard_min - 1 / 9 | fabs) < 1e-12 and (.jaccard_max - 4 / 6 | fabs) < 1e-12)
    and (.decoder | .kept_union == 9 and .kept_by_all == 0 and .jaccard_min == 0 and (.jaccard_max - 3 / 5 | fabs) < 1e-12)' "$dir/out" >/dev/null ||
    fail "inspect --keep: $(cat "$dir/out")"
run 0 "$dragoman" inspect "$dir/config" --keep "$dir/imported" --languages eng_Latn,deu_Latn
grep -q '^encoder      2       64        9        3  0.3333, 0.3333, 0.3333$' "$dir/out" || fail "two languages: $(cat "$dir/out")"
run 1 "$dragoman" translate -s en -t de -i "$dir/en" -k "$dir/imported" --max-length 30
run 2 "$dragoman" inspect --keep "$dir/imported" --languages xyz
says 'has no set named xyz'
sed 's/97\]/128]/' "$dir/list" >"$dir/outside"
run 4 "$dragoman" prune -m "$dir/config" --import "$dir/outside" -k "$dir/x"
says 'want whole numbers from 0 to 127, ascending, found 128'
run 2 "$dragoman" prune --import "$dir/list" --stats "$dir/both" -k "$dir/x"
says 'want --stats or --import, found both'

# What ranks would hold: experts of the union, spread as they are at a start.
run 0 "$dragoman" inspect --keep "$dir/keep.json" --languages deu_Latn --json -n 3
kept=$(jq '[.ranks[].expert_bytes] | add' "$dir/out")
run 0 "$dragoman" inspect --json -n 3
jq -e --argjson kept "$kept" '$kept * 128 == ([.ranks[].expert_bytes] | add) * (18 + 6)' "$dir/out" >/dev/null ||
    fail "24 of 128 experts have $kept bytes"

# A run that goes on does so with the same experts only.
head -n 3 "$dir/kept" >"$dir/part.part"
run 0 "$dragoman" translate -s en -t de -i "$dir/en" -k "$dir/keep.json" -o "$dir/part"
same "$dir/kept" "$dir/part" "going on with a keep file gives other bytes"
exit $bad
