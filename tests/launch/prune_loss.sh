#!/usr/bin/env bash
# `dragoman prune --algorithm loss`: removing one expert at a time, as `score` with keep files finds by brute force.
# usage: prune_loss.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman

for l in en de; do gzip -dc "$here/tests/data/multi30k/val.$l.gz" | head -n 6 >"$dir/$l"; done
texts=(-s en -t de -i "$dir/en" --reference "$dir/de")

# Six experts in the encoder and seven in the decoder; English to German needs some of each.
cat >"$dir/from.json" <<END
{"format":1,"model":null,"options":{},"statistics":[],
 "encoder":{"eng_Latn":{"1":[0,8,26],"3":[4,17,30]}},"decoder":{"deu_Latn":{"1":[2,16,27],"3":[4,5,9,21]}}}
END

# loss KEEP: the mean loss of a token
loss() {
    "$dragoman" score "${texts[@]}" -k "$1" 2>"$dir/err" | awk '{ s -= $1; n += $3 } END { printf "%.9f", s / n }'
}

# without STACK LANGUAGE LAYER EXPERT: the keep file on standard input, less one expert
without() { jq -c --arg s "$1" --arg c "$2" --arg l "$3" --argjson e "$4" '.[$s][$c][$l] -= [$e]'; }

# harm KEEP STACK LANGUAGE LAYER EXPERT: what a removal adds to the loss
harm() {
    without "$2" "$3" "$4" "$5" <"$1" >"$dir/tried"
    echo "$(loss "$dir/tried") $(loss "$1")" | awk '{ printf "%.6f", $1 - $2 }'
}

# brute KEEP STACK LANGUAGE: every removal that leaves two experts a layer, "harm layer expert", the least first
brute() {
    local l e
    for l in 1 3; do
        [ "$(jq --arg s "$2" --arg c "$3" --arg l $l '.[$s][$c][$l] | length' "$1")" -gt 2 ] || continue
        for e in $(jq --arg s "$2" --arg c "$3" --arg l $l '.[$s][$c][$l][]' "$1"); do
            echo "$(harm "$1" "$2" "$3" $l "$e") $l $e"
        done
    done | sort -g
}

# The decoder loses two of seven, one after the other; the second by old answers until the cheapest of them is a new one.
brute "$dir/from.json" decoder deu_Latn >"$dir/table"
read -r h layer expert <"$dir/table"
echo "$h" >"$dir/harms"
without decoder deu_Latn "$layer" "$expert" <"$dir/from.json" >"$dir/next.json"
sed -i 1d "$dir/table"
fresh=''
while read -r h layer expert <"$dir/table" && [ "$fresh" != "$layer $expert" ]; do
    fresh="$layer $expert"
    { echo "$(harm "$dir/next.json" decoder deu_Latn "$layer" "$expert") $fresh"; sed 1d "$dir/table"; } | sort -g >"$dir/again"
    mv "$dir/again" "$dir/table"
done
echo "$h" >>"$dir/harms"
without decoder deu_Latn "$layer" "$expert" <"$dir/next.json" >"$dir/want.json"
run 0 env DGM_LOG_LEVEL=debug "$dragoman" prune --algorithm loss-stacks "${texts[@]}" --from "$dir/from.json" -k "$dir/keep.json" --keep-total 11 --keep-encoder 6
cp "$dir/err" "$dir/log"
[ "$(jq -c '[.encoder, .decoder]' "$dir/keep.json")" = "$(jq -c '[.encoder, .decoder]' "$dir/want.json")" ] ||
    fail "want $(jq -c .decoder "$dir/want.json"), found $(jq -c .decoder "$dir/keep.json")"
sed -n 's/.* goes, \(-*[0-9.]*\)$/\1/p' "$dir/log" | paste - "$dir/harms" |
    awk '{ d = $1 - $2; if (d > 5e-6 || d < -5e-6) bad = 1 } END { exit bad || NR != 2 }' || fail "harms $(tr "\n" " " <"$dir/harms"), found $(grep goes "$dir/log")"

# The encoder: one of six goes.
read -r _ layer expert <<<"$(brute "$dir/from.json" encoder eng_Latn | head -n 1)"
without encoder eng_Latn "$layer" "$expert" <"$dir/from.json" >"$dir/want.json"
run 0 "$dragoman" prune --algorithm loss-stacks "${texts[@]}" --from "$dir/from.json" -k "$dir/one.json" --keep-total 12 --keep-encoder 5
[ "$(jq -c '[.encoder, .decoder]' "$dir/one.json")" = "$(jq -c '[.encoder, .decoder]' "$dir/want.json")" ] || fail "the encoder loses another"

# The same file for any batch, instruction set and number of ranks, whichever has the sentences.
both=("${texts[@]}" -s de -t en -i "$dir/de" --reference "$dir/en")
jq -c '.encoder.deu_Latn = .encoder.eng_Latn | .decoder.eng_Latn = .decoder.deu_Latn' "$dir/from.json" >"$dir/two.json"
search=(prune --algorithm loss "${both[@]}" --from "$dir/two.json" --keep-total 9 --keep-encoder 4)
run 0 "$dragoman" "${search[@]}" -k "$dir/want.json"
[ "$(jq '[.encoder, .decoder | .[][] | length] | add' "$dir/want.json")" -eq 18 ] || fail "two directions of 9 experts: $(cat "$dir/want.json")"
run 0 "$dragoman" "${search[@]}" -k "$dir/got.json" --isa ref --batch-rows 5 --batch-tokens 30
cmp -s "$dir/want.json" "$dir/got.json" || fail "small batches choose others"
run 0 ranks 2 "${search[@]}" -k "$dir/got.json" --threads 1 --dense-ranks 1
cmp -s "$dir/want.json" "$dir/got.json" || fail "one dense rank of two chooses others"
run 0 ranks 3 "${search[@]}" -k "$dir/got.json" --threads 1
cmp -s "$dir/want.json" "$dir/got.json" || fail "3 ranks choose others"
run 0 "$dragoman" "${search[@]}" -k "$dir/even.json" --algorithm loss-layers
jq -e 'all(.encoder[], .decoder[] | .[]; length >= 2)' "$dir/even.json" >/dev/null || fail "loss-layers: $(cat "$dir/even.json")"

# What cannot be.
run 2 "$dragoman" prune --algorithm loss -s en -t de -i "$dir/en" -k "$dir/x"
says 'want -s, -t, -i and --reference of each direction'
run 2 "$dragoman" prune --algorithm loss "${texts[@]}" -k "$dir/x" --protect-eos
says 'alone, found --stats, --import or --protect-eos'
head -n 5 "$dir/de" >"$dir/short"
run 4 "$dragoman" prune --algorithm loss -s en -t de -i "$dir/en" --reference "$dir/short" -k "$dir/x"
says "want as many lines as $dir/en, found fewer"
run 4 "$dragoman" prune --algorithm loss -s en -t fr -i "$dir/en" --reference "$dir/de" --from "$dir/from.json" -k "$dir/x"
says 'keeps no decoder experts for eng_Latn to fra_Latn'
run 4 "$dragoman" prune --algorithm loss -s en -t de -i "$dir/none" --reference "$dir/de" -k "$dir/x"
says "$dir/none: No such file"
[ -e "$dir/x" ] && fail "a refused command left a file"
exit $bad
