#!/usr/bin/env bash
# `dragoman atlas`: tables, pages and comparisons of statistics; nothing from a file becomes markup; bad input.
# usage: atlas.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$(realpath "$1")
golden=$here/tests/golden/experts
export DGM_LOG_LEVEL=warn
unset DGM_MODEL
cd "$dir" || exit 1

# data PAGE - what its script draws.
data() { sed -n 's/^<script type="application\/json" id="data">\(.*\)<\/script>$/\1/p' "$1"; }
# holds FILTER - jq's, of the page's data.
holds() { data "$1" | jq -e "$2" >/dev/null || fail "$1: not $2"; }

# Statistics of the published shape from a seeded generator: the values and sets are those of prune and of its golden data.
run 0 "$dragoman" atlas "$golden/stats.json" -o page.html --csv tables --linkage ward
for t in use jaccard linkage union; do [ -s "tables/$t.csv" ] || fail "$t.csv is not there"; done
[ -e tables/ranks.csv ] && fail "bytes of ranks without a model"
n=$(jq '[.layers[].experts] | add' "$golden/stats.json")
want=$(jq '([.runs[] | select(.mode == "beam") | .src] | unique | length) + ([.runs[] | select(.mode == "beam") | .tgt] | unique | length)' "$golden/stats.json")
[ "$(tail -n +2 tables/use.csv | wc -l)" -eq $((want * n / 2)) ] || fail "use.csv has $(wc -l <tables/use.csv) lines, of $want languages and $n experts"
# a layer of a language sums to 1 by every metric, and keeps 18 or 6 experts
awk -F, 'NR > 1 { k = $1 " " $2 " " $3; for (m = 5; m < 10; m++) sum[k, m] += $m; kept[k] += $10 }
    END { for (k in kept) { if (kept[k] != (k ~ /^enc/ ? 36 : 12)) bad = 1
          for (m = 5; m < 10; m++) if (sum[k, m] < 0.99999 || sum[k, m] > 1.00001) bad = 1 } exit bad || NR < 2 }' tables/use.csv || fail "use.csv: sums or kept experts"
holds page.html '.kind == "atlas" and .tree.linkage == "ward" and .ranks == [] and .sweep == null and (.layers | length) == 12'
holds page.html '.stacks | length == 2 and all(.[]; (.languages | length) == (.sets.names | length) and .sets.exact)'
grep -q "default-src 'none'" page.html || fail "the page may load from elsewhere"
grep -q 'plotly.js v' page.html || fail "the page lacks its library"
[ "$(stat -c %s page.html)" -lt 15000000 ] || fail "the page has $(stat -c %s page.html) bytes"
grep -q '{{' <(grep -v -e '"' page.html | head -n 100) && fail "the page has a part that was not filled"

# A keep file instead of sets chosen here: what inspect says of it.
export DGM_MODEL=$here/models/multi30k-token
gzip -dc "$here/tests/data/multi30k/test_2016_flickr.en.gz" | head -n 10 >en
run 0 "$dragoman" stats -s en -t de,fr,cs -i en -o stats.json
run 0 "$dragoman" prune --stats stats.json -k keep.json --fraction 0.5 --ratio 1
run 0 "$dragoman" inspect --keep keep.json -n 3 --json
cp out inspected
unset DGM_MODEL
run 0 "$dragoman" atlas stats.json --keep keep.json -o kept.html -n 3 --csv kept
jq -e --argjson page "$(data kept.html)" '[.ranks[] | [.dense_bytes, .expert_bytes]] == [$page.ranks[] | .[0:2]] and
    .decoder.kept_union == $page.stacks[1].sets.unions[-1][0] and .encoder.kept_union == $page.stacks[0].sets.unions[-1][1] and
    .decoder.jaccard_mean > 0' inspected >/dev/null || fail "not what inspect --keep prints"
awk -F, 'NR > 1 && $1 == "decoder" && $2 < $3 { sum += $6; n++ } END { printf "%.6f\n", sum / n }' kept/jaccard.csv >mean
[ "$(cat mean)" = "$(jq -r '.decoder.jaccard_mean * 1e6 | round / 1e6' inspected | awk '{ printf "%.6f\n", $1 }')" ] || fail "mean Jaccard $(cat mean)"
run 0 "$dragoman" atlas stats.json -o named.html -m "$here/models/multi30k-token" -n 2
holds named.html '(.ranks | length) == 2'

# Quality against bytes, of a file as prune --sweep writes it.
point() { echo "{\"fraction\":$1,\"ratio\":$2,\"encoder\":8,\"decoder\":8,\"bytes\":$3,\"bytes_all\":9,\"bleu\":1,\"spbleu\":2,\"chrf++\":3,\"length_ratio\":1,\"lost\":{\"chrf++\":1,\"low\":0,\"high\":2},\"worst\":$4}"; }
echo "{\"format\":1,\"kind\":\"sweep\",\"model\":$(jq .model stats.json),\"unpruned\":$(point 0 null 9 null),\"points\":[$(point 0.5 3 5 '{"chrf++":4}')],\"knee\":0}" >sweep.json
run 0 "$dragoman" atlas stats.json -o swept.html --quality sweep.json --csv swept
holds swept.html '.sweep.knee == 0 and .sweep.points[0][4] == 5 and .sweep.points[1][1] == null'
grep -q '^knee,0.5,3,8,8,5,9,1,2,3,1,1,0,2,4$' swept/quality.csv || fail "quality.csv: $(cat swept/quality.csv)"

# What changed: nothing against itself; experts that swap their tokens.
run 0 "$dragoman" atlas --compare stats.json stats.json -o same.html --csv same
grep -Eq '^decoder +3 +1\.0000 +1\.0000 +0\.0000 +18 +0 +0$' out || fail "against itself: $(cat out)"
jq -c '.runs[].top1[3] |= reverse' stats.json >turned.json
run 0 "$dragoman" atlas --compare stats.json turned.json -o turned.html --csv turned
grep -Eq '^encoder +1 +1\.0000 +1\.0000 +0\.0000 +18 +0 +0$' out || fail "the encoder changed: $(cat out)"
grep -Eq '^decoder +3 .* [1-9][0-9]*$' out || fail "the decoder did not change: $(cat out)"
awk -F, 'NR > 1 && $1 == "decoder" && $3 == 1 && $4 != 1 { bad = 1 } NR > 1 && $7 != $8 { bad = 1 } END { exit bad || NR < 8 }' turned/changes.csv || fail "changes.csv: $(cat turned/changes.csv)"
holds turned.html '.kind == "compare" and (.stacks[1].changes[0] | length) == 2'

# Names that would be markup stay names: in the page's data no `<` is left, and tables quote.
hostile='</script><img src=x onerror=alert(1)>,"&'
jq -c --arg name "$hostile" '.runs[0].tgt = $name' stats.json >'<b>.json'
run 0 "$dragoman" atlas '<b>.json' -o hostile.html --csv hostile
data hostile.html | grep -q '<' && fail "markup in the page"
holds hostile.html ".statistics == \"<b>.json\" and (.stacks[1].languages | index($(jq -n --arg n "$hostile" '$n'))) != null"
grep -qF 'decoder,"</script><img src=x onerror=alert(1)>,""&",1,0,' hostile/use.csv || fail "use.csv does not quote"
run 0 "$dragoman" atlas --compare '<b>.json' '<b>.json' -o hostile.html
data hostile.html | grep -q '<' && fail "markup in the page of a comparison"

# Bad input.
run 2 "$dragoman" atlas
says 'want one file of statistics, found 0'
run 2 "$dragoman" atlas stats.json
says 'want -o FILE for a page, or --csv DIR for tables'
run 2 "$dragoman" atlas --compare stats.json -o x
says 'want two files of statistics, found 1'
run 2 "$dragoman" atlas stats.json -o x --linkage median
says '--linkage: want average, single, complete or ward, found .median.'
run 2 "$dragoman" atlas --compare stats.json stats.json --keep keep.json
says 'want no --keep'
run 4 "$dragoman" atlas nothing.json -o x
echo '{"format":2}' >two.json
run 4 "$dragoman" atlas two.json -o x
says 'format: want 1, as dragoman stats writes it'
jq -c '.runs = []' stats.json >empty.json
run 4 "$dragoman" atlas empty.json -o x
says 'want statistics of a direction, found none'
sed 's/"model":"[0-9a-f]*"/"model":"00000000000000ab"/' keep.json >other.json
run 4 "$dragoman" atlas stats.json --keep other.json -o x
says 'is of another model'
run 4 "$dragoman" atlas "$golden/stats.json" -m "$here/models/multi30k-token" -o x
says 'is of another model'
run 4 "$dragoman" atlas "$golden/stats.json" --quality sweep.json -o x
says 'is of another model'
sed 's/"bytes":5/"bytes":"5"/' sweep.json >wrong.json
run 4 "$dragoman" atlas stats.json --quality wrong.json -o x
says 'bytes: want a number'
run 4 "$dragoman" atlas --compare stats.json "$golden/stats.json" -o x
says 'want the same layers and experts'
jq -c '.runs[].src = "x" | .runs[].tgt = "y"' stats.json >strangers.json
run 4 "$dragoman" atlas --compare stats.json strangers.json -o x
says 'want a language that both have'
run 5 "$dragoman" atlas stats.json -o no/such/folder/x
run 5 "$dragoman" atlas stats.json --csv en
says 'want a folder for tables'
run 2 "$dragoman" atlas "$golden/small.json" -o x
says 'largest fraction'
[ -e x ] && fail "a refused command left a page"

# The parts of the page are gone.
mkdir -p lost/bin && cp "$dragoman" lost/bin/
if [ ! -e /usr/local/share/dragoman/atlas ]; then # where an installed program would look, too
    run 2 lost/bin/dragoman atlas stats.json -o x
    says 'want the parts of its page in .*, found none: install dragoman anew'
fi
run 0 lost/bin/dragoman atlas stats.json --csv lost/tables
exit $bad
