#!/bin/sh
# prune_loss.sh - what keeping some experts for each language costs: chrF++, BLEU, spBLEU and length of the translations of
# test_2016_flickr in all 12 directions of Multi30k, with statistics of val; means, and the worst direction.
#
# usage: tests/bench/prune_loss.sh [-m MODEL] [-b DRAGOMAN] [-o FOLDER] [-n LINES] [-c LINES] -- VARIANT...
#   -m   model (models/multi30k-token)          -b   the program (build/release/dragoman)
#   -o   keep statistics, scores and keep files in this folder; statistics, the scores of the whole model, and keep files that
#        --algorithm loss has chosen are not made again
#   -n   lines of val and of test (1000)           -c   lines of val by whose loss --algorithm loss chooses (250)
# A VARIANT is one word of the shell: options of `dragoman prune`, or `@FILE`, a keep file:
#   prune_loss.sh -- '--fraction 0.5' '--fraction 0.75' '--fraction 0.8125' '--fraction 0.8125 --granularity all' @keep.json
#   prune_loss.sh -o dir -- '--fraction 0.375 --ratio 1' '--algorithm loss --fraction 0.75 --ratio 1 --from dir/_fraction_0.375_ratio_1.keep'
#
# Prints a markdown table, a row a variant. Beam 4. About 15 seconds for each variant, and a minute before.
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"

out='' lines=1000 chosen=250
while getopts m:b:o:n:c: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    o) out=$OPTARG ;;
    n) lines=$OPTARG ;;
    c) chosen=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ -n "$out" ] || out=$work
mkdir -p "$out"
export DGM_LOG_LEVEL=error

for l in en de fr cs; do
    for text in val test_2016_flickr; do
        gzip -dc "$ROOT/tests/data/multi30k/$text.$l.gz" | head -n "$lines" >"$out/$text.$l"
    done
done
texts=''
for s in en de fr cs; do
    head -n "$chosen" "$out/val.$s" >"$out/chosen.$s"
    for t in en de fr cs; do
        [ "$s" = "$t" ] || texts="$texts -s $s -t $t -i $out/chosen.$s --reference $out/chosen.$t"
    done
done
if [ ! -s "$out/stats.json" ]; then
    for s in en de fr cs; do
        targets=$(for t in en de fr cs; do [ "$s" = "$t" ] || printf '%s,' "$t"; done)
        "$program" stats -m "$model" -s "$s" -t "${targets%,}" -i "$out/val.$s" -o "$out/stats.$s" || [ $? -eq 1 ]
    done
    "$program" stats --merge "$out"/stats.?? -o "$out/stats.json"
fi

# scores NAME OPTION...: a line a direction: chrF++, BLEU, spBLEU, length ratio, lines that were cut
scores() {
    name=$1
    shift
    for s in en de fr cs; do
        for t in en de fr cs; do
            [ "$s" != "$t" ] || continue
            "$program" translate -m "$model" -s "$s" -t "$t" -i "$out/test_2016_flickr.$s" --report "$work/report" "$@" >"$work/hyp" || [ $? -eq 1 ]
            "$program" score-text -m "$model" "$work/hyp" "$out/test_2016_flickr.$t" |
                awk -v d="$s-$t" -v cut="$(grep -c '"status":"truncated"' "$work/report" || true)" '
                    { v[$1] = $2 } END { print d, v["chrF++"], v["BLEU"], v["spBLEU"], v["length"], cut }'
        done
    done >"$out/$name.scores"
}

[ -s "$out/source.scores" ] || scores source
echo "| | experts a layer | chrF++ lost, mean | worst direction | BLEU lost | spBLEU lost | length ratio | cut lines |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for variant; do
    name=$(printf %s "$variant" | tr -cs 'a-zA-Z0-9.' _)
    keep=$out/$name.keep
    # shellcheck disable=SC2086 # options are words
    case $variant in
    @*) keep=${variant#@} ;;
    *--algorithm\ loss*) [ -s "$keep" ] || "$program" prune -m "$model" -k "$keep" $texts $variant >/dev/null ;;
    *) "$program" prune -m "$model" --stats "$out/stats.json" -k "$keep" $variant >/dev/null ;;
    esac
    scores "$name" -k "$keep"
    kept=$(jq -r '[.encoder, .decoder] | map([.[] | [.[] | length] | add / length] | add / length * 10 | round / 10 | tostring) | join(" + ")' "$keep")
    paste -d ' ' "$out/source.scores" "$out/$name.scores" | awk -v variant="$variant" -v kept="$kept" '
        { n++; c += $2 - $8; b += $3 - $9; p += $4 - $10; r += $11; cut += $12
          if (n == 1 || $2 - $8 > most) { most = $2 - $8; worst = $1 } }
        END { printf "| %s | %s | %.2f | %.2f (%s) | %.2f | %.2f | %.3f | %d |\n", variant, kept, c / n, most, worst, b / n, p / n, r / n, cut }'
done
awk '{ c += $2; b += $3; p += $4; r += $5 } END { printf "| not pruned: means | 32 + 32 | %.2f | | %.2f | %.2f | %.3f | |\n", c / NR, b / NR, p / NR, r / NR }' "$out/source.scores"
