#!/usr/bin/env bash
# Planted truth: models of which it is known which experts each language needs. Statistics and prune find just these, by
# every metric and algorithm; with them no byte changes; without the one that says </s>, translations do not end.
# usage: planted.sh DRAGOMAN_BINARY
# shellcheck disable=SC2016 # variables of jq
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DRAGOMAN=$dragoman DGM_LOG_LEVEL=warn

# holds WHAT FILE JQ_OPTION...: the last is a filter that must be true
holds() {
    local what=$1 file=$2
    shift 2
    jq -e "$@" "$file" >/dev/null || fail "$what: $(jq -c . "$file" | head -c 600)"
}

languages=(eng_Latn deu_Latn fra_Latn ces_Latn spa_Latn ita_Latn nld_Latn jpn_Jpan)
m=$dir/model
run 0 "$dragoman" synth --planted-languages 8 -o "$m"
run 0 "$dragoman" synth --planted-languages 8 -o "$dir/again" --threads 3
diff -r "$m" "$dir/again" >/dev/null || fail "the same options gave other bytes"
run 0 "$dragoman" inspect "$m" --json
holds "another shape" "$dir/out" '.synthetic and .experts == 128'
gzip -dc "$here/tests/data/multi30k/test_2016_flickr.en.gz" | head -n 12 >"$dir/text"
run 0 "$dragoman" translate -m "$m" -s eng_Latn -t jpn_Jpan -i "$dir/text"
cmp -s "$dir/text" "$dir/out" || fail "it does not copy its source"

# ---- sets ----
stats=()
for i in "${!languages[@]}"; do # each is a source once and a target once, never of itself
    s=${languages[i]} t=${languages[(i + 3) % 8]}
    run 0 "$dragoman" stats -m "$m" -s "$s" -t "$t" -i "$dir/text" -o "$dir/stats.$i"
    stats+=("$dir/stats.$i")
done
run 0 "$dragoman" stats --merge "${stats[@]}" -o "$dir/stats"
for metric in top1 top2 load vanilla importance; do
    for algorithm in fixed threshold stack-thresholds; do
        # 4 of 128 experts in each layer
        run 0 "$dragoman" prune -m "$m" --stats "$dir/stats" -k "$dir/keep" --fraction 0.96875 --ratio 1 --metric $metric --algorithm $algorithm
        holds "$metric, $algorithm: other experts" "$dir/keep" --slurpfile planted "$m/planted.json" \
            '.encoder == $planted[0].encoder and .decoder == $planted[0].decoder'
    done
done

# An expert that is in no set is never chosen.
holds "an expert of no set is used" "$dir/stats" --slurpfile planted "$m/planted.json" '
    [.layers, range(.layers | length)] as [$layers] |
    [.runs[] as $run | range($layers | length) as $l | $layers[$l] as $layer |
        ([$planted[0][$layer.stack][][$layer.index | tostring]] | add | unique) as $used |
        range(128) | select([.] | inside($used) | not) | $run.top1[$l][.] + $run.top2[$l][.]] |
    length > 8 * 4 * 100 and add == 0'

# ---- overlap ----
run 0 "$dragoman" inspect "$m" --keep "$m/planted.json" --json
cp "$dir/out" "$dir/planted.overlap"
run 0 "$dragoman" inspect "$m" --keep "$dir/keep" --json
cmp -s "$dir/out" "$dir/planted.overlap" || fail "other overlap than planted: $(cat "$dir/out")"
# Encoder: 3 pairs of neighbours share 2 of 6, 18 others 1 of 7, the last language nothing with 7 others.
holds "overlap" "$dir/out" 'def is($x): . - $x | fabs < 1e-12;
    (.encoder | .kept_by_all == 0 and .kept_union == 2 * (1 + 3 + 7 * 2 + 1 + 4) and .jaccard_min == 0
        and (.jaccard_max | is(1 / 3)) and (.jaccard_mean | is((3 / 3 + 18 / 7) / 28)))
    and (.decoder | .kept_by_all == 2 * 2 and .kept_union == 2 * (2 + 4 + 8)
        and (.jaccard_min | is(1 / 3)) and (.jaccard_max | is(3 / 5)) and (.jaccard_mean | is((4 * 3 / 5 + 24 / 3) / 28)))'
run 0 "$dragoman" inspect "$m" --keep "$dir/keep" --languages eng_Latn,jpn_Jpan --json
holds "two languages that share no expert" "$dir/out" '.encoder | .kept_by_all == 0 and .kept_union == 16 and .jaccard_max == 0'
# Languages that share an expert of the decoder are each other's nearest: the first merges of the dendrogram.
run 0 "$dragoman" atlas -m "$m" "$dir/stats" -o "$dir/page.html" --csv "$dir/csv"
sed -n 2,5p "$dir/csv/linkage.csv" | cut -d, -f2,3 | sort >"$dir/merges"
printf '%s\n' ces_Latn,fra_Latn deu_Latn,eng_Latn ita_Latn,spa_Latn jpn_Jpan,nld_Latn | cmp -s - "$dir/merges" ||
    fail "another dendrogram than planted: $(cat "$dir/csv/linkage.csv")"

# ---- pruned to them: the same bytes, nothing lost ----
for pair in eng_Latn:deu_Latn jpn_Jpan:nld_Latn; do
    translate=(translate -m "$m" -s "${pair%:*}" -t "${pair#*:}" -i "$dir/text" --with-score --token-scores)
    run 0 "$dragoman" "${translate[@]}"
    cp "$dir/out" "$dir/want"
    run 0 "$dragoman" "${translate[@]}" -k "$dir/keep" --report "$dir/report"
    cmp -s "$dir/want" "$dir/out" || fail "$pair: pruning to the planted experts changes bytes"
    holds "$pair: gates are lost" "$dir/report" -s 'length == 12 and all(.[]; .absent_mass == 0 and .absent_most == 0)'
done
if command -v mpirun >/dev/null; then
    run 0 "$here/launch/dragoman-mpirun" -n 2 "${translate[@]}" -k "$dir/keep" --threads 1
    cmp -s "$dir/want" "$dir/out" || fail "2 ranks: pruning to the planted experts changes bytes"
else
    echo "skip: ranks, mpirun is not installed"
fi
# Another language's experts are not these: the scores tell, and gates are lost.
jq '.encoder.jpn_Jpan = .encoder.eng_Latn' "$dir/keep" >"$dir/wrong"
run 0 "$dragoman" "${translate[@]}" -k "$dir/wrong" --report "$dir/report"
cmp -s "$dir/want" "$dir/out" && fail "the experts of another language change nothing"
holds "nothing is lost with another language's experts" "$dir/report" -s 'all(.[]; .absent_most > 0.999 and .absent_most <= 1)'

# ---- an expert that says </s> ----
m=$dir/ends
run 0 "$dragoman" synth --planted-languages 8 --planted-eos -o "$m"
translate=(translate -m "$m" -s eng_Latn -t deu_Latn -i "$dir/text" --max-length 100)
run 0 "$dragoman" stats -m "$m" -s eng_Latn -t deu_Latn -i "$dir/text" -o "$dir/stats"
run 0 "$dragoman" "${translate[@]}" -k "$m/planted.json" --report "$dir/report"
cmp -s "$dir/text" "$dir/out" || fail "</s>: it does not copy its source with the planted experts"
prune=(prune -m "$m" --stats "$dir/stats" --fraction 0.96875 --ratio 1)
run 0 "$dragoman" "${prune[@]}" -k "$dir/keep"
run 1 "$dragoman" "${translate[@]}" -k "$dir/keep" --report "$dir/report"
ratio='(map(.tgt_tokens) | add) / (map(.src_tokens) | add)'
holds "without its </s> expert translations end" "$dir/report" -s "all(.[]; .status == \"truncated\") and $ratio > 4"
run 0 "$dragoman" "${prune[@]}" -k "$dir/guarded" --protect-eos
holds "--protect-eos keeps other numbers" "$dir/guarded" '[.encoder[], .decoder[] | .[] | length] | all(. == 4)'
run 0 "$dragoman" "${translate[@]}" -k "$dir/guarded" --report "$dir/report"
holds "--protect-eos does not mend it" "$dir/report" -s "all(.[]; .status == \"copied\") and ($ratio - 1 | fabs) < 0.05"

# ---- what goes wrong ----
run 2 "$dragoman" synth --planted-languages 1 -o "$dir/x"
says '--planted-languages: want 2 to 12, found 1'
run 2 "$dragoman" synth --planted-languages 8 --like demo -o "$dir/x"
says '--planted-languages: want a shape of its own, found --like'
run 2 "$dragoman" synth --like demo --planted-eos -o "$dir/x"
says '--planted-eos: want --planted-languages N, found none'
[ -e "$dir/x" ] && fail "a refused command left something"
[ "$bad" -eq 0 ] && echo "planted: ok"
exit "$bad"
