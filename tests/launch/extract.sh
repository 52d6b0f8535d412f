#!/usr/bin/env bash
# `dragoman extract`: the sub-network of some tasks gives the bytes of the whole model on any number of ranks, has the experts
# of these tasks alone, folds to a dense model, and is made in any order with quantize and prune; each step is in its history.
# usage: extract.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman
golden=$here/tests/golden/routing task=$here/models/multi30k-task
{ head -n 5 "$here/models/sample/pictures.eng_Latn.txt"; printf '\nA dog.\n'; } >"$dir/in"

# says CODE PATTERN ARGS...: dragoman ends with CODE and one sentence that matches.
says() {
    refuses "$1" "$2" "$dragoman" "${@:3}"
    if [ -e "$dir/x" ] || [ -e "$dir/x.part" ]; then fail "${*:3}: something is left"; fi
}
# translated MODEL TARGET COMMAND...: standard output of what the command's translation says
translated() {
    local model=$1 target=$2
    shift 2
    "$@" translate -m "$model" -s eng_Latn -t "$target" -i "$dir/in" --with-score --max-length 24 2>"$dir/err"
    [ $? -le 1 ] || fail "$model, $target, $*: exit code"
}
# same WHOLE PART TARGET COMMAND...: the same translations and scores
same() {
    translated "$1" "$3" "$dragoman" >"$dir/want"
    [ -s "$dir/want" ] || fail "$1: nothing was translated"
    translated "$2" "$3" "${@:4}" | cmp - "$dir/want" || fail "$2, $3, ${*:4}: other bytes"
}
# tensors FILE FILTER: of its header
tensors() { tail -c +9 "$1" | head -c "$(od -An -t u8 -N 8 "$1" | tr -d ' ')" | jq -r "$2"; }

# ---- one task, several, all: the same bytes; the size is what their experts are ----
run 0 "$dragoman" extract -m "$task" -t de -o "$dir/de"
grep -qx 'decoder experts: 527360 bytes of 8437760, 6.25 %; by layer: 2/32 2/32' "$dir/out" || fail "one task: $(cat "$dir/out")"
grep -qx 'tasks: deu_Latn' "$dir/out" || fail "which task: $(cat "$dir/out")"
grep -q '^encoder experts: .* 100.00 %; routed by token, so all stay$' "$dir/out" || fail "the encoder: $(cat "$dir/out")"
same "$task" "$dir/de" deu_Latn "$dragoman"
run 0 "$dragoman" extract -m "$task" -t fra_Latn,de -t French -o "$dir/two"
grep -qx 'decoder experts: 1054720 bytes of 8437760, 12.50 %; by layer: 4/32 4/32' "$dir/out" || fail "two tasks: $(cat "$dir/out")"
for t in deu_Latn fra_Latn; do same "$task" "$dir/two" $t "$dragoman"; done
run 0 "$dragoman" extract -m "$dir/two" -t deu_Latn -o "$dir/again"
cmp "$dir/de/model.safetensors" "$dir/again/model.safetensors" || fail "extracted twice: other weights"
run 0 "$dragoman" extract -m "$task" -t fr -o "$dir/fr"
run 0 "$dragoman" extract -m "$dir/two" -t fr -o "$dir/second"
cmp "$dir/fr/model.safetensors" "$dir/second/model.safetensors" || fail "extracted twice, the second of two tasks: other weights"
[ "$(tensors "$dir/de/model.safetensors" '[keys[] | select(test("decoder.*(router|experts)"))] | length')" = 18 ] || fail "one task: other tensors"
[ "$(tensors "$dir/de/model.safetensors" 'to_entries[] | select(.key | test("gates")) | .value | "\(.dtype) \(.shape)"' | sort -u)" = 'F32 [2]' ] ||
    fail "gates are not two f32"
"$dragoman" score -m "$task" -s en -t de -i "$dir/in" --reference "$dir/in" >"$dir/want" 2>"$dir/err" || fail "score"
"$dragoman" score -m "$dir/de" -s en -t de -i "$dir/in" --reference "$dir/in" 2>"$dir/err" | cmp - "$dir/want" || fail "other scores"

# A direction as a task; both stacks by task, experts by hand, alone or shared; all tasks of a model.
run 0 "$dragoman" extract -m "$golden/sentence-pair" -t en-de -o "$dir/pair"
grep -q '^decoder experts: .* 25.00 %; by layer: 2/8 2/8$' "$dir/out" || fail "a pair: $(cat "$dir/out")"
same "$golden/sentence-pair" "$dir/pair" deu_Latn "$dragoman"
for tasks in deu_Latn ces_Latn "fra_Latn,eng_Latn,ces_Latn" "ces_Latn,deu_Latn,eng_Latn,fra_Latn"; do
    run 0 "$dragoman" extract -m "$golden/task-static" -t "$tasks" -o "$dir/static.$tasks"
    for t in ${tasks//,/ }; do same "$golden/task-static" "$dir/static.$tasks" "$t" "$dragoman"; done
done
# ces 1 0 | 2, eng 7 | 0 5, fra 4 2 | 1 3: in the first layer 0 1 2 4 7, in the second 0 1 2 3 5
jq -e '.dragoman.history[0].options.experts.decoder == [[0, 1, 2, 4, 7], [0, 1, 2, 3, 5]]' \
    "$dir/static.fra_Latn,eng_Latn,ces_Latn/config.json" >/dev/null || fail "shared experts are not there once"
# Layers that have different numbers of experts: in the first two tasks share both, in the second none.
cp -rL "$golden/task-static" "$dir/uneven"
jq '.routing_static.decoder.deu_Latn = [[1, 0], [6, 5]]' "$golden/task-static/config.json" >"$dir/uneven/config.json"
run 0 "$dragoman" extract -m "$dir/uneven" -t deu_Latn,ces_Latn -o "$dir/uneven.out"
grep -q '^decoder experts: .*; by layer: 2/8 3/8$' "$dir/out" || fail "uneven: $(cat "$dir/out")"
for t in deu_Latn ces_Latn; do same "$dir/uneven" "$dir/uneven.out" $t "$dragoman"; done
# One expert a token (Switch): its gate is a softmax over experts that are gone.
cp -rL "$task" "$dir/switch"
jq '. + {moe_top_k: 1, normalize_gates: false}' "$task/config.json" >"$dir/switch/config.json"
run 0 "$dragoman" extract -m "$dir/switch" -t ces_Latn -o "$dir/switch.ces"
grep -q '^decoder experts: .* 3.12 %; by layer: 1/32 1/32$' "$dir/out" || fail "top 1: $(cat "$dir/out")"
same "$dir/switch" "$dir/switch.ces" ces_Latn "$dragoman"

if command -v mpirun >/dev/null; then
    for n in 1 2 3 4; do
        same "$task" "$dir/two" fra_Latn "$here/launch/dragoman-mpirun" -n $n --
        same "$golden/task-static" "$dir/static.fra_Latn,eng_Latn,ces_Latn" eng_Latn "$here/launch/dragoman-mpirun" -n $n --
    done
    same "$task" "$dir/two" deu_Latn env DGM_DENSE_RANKS=1 "$here/launch/dragoman-mpirun" -n 3 --
else
    echo "skip: ranks, mpirun is not installed"
fi

# ---- folded ----
# close WHOLE PART TARGET: the same texts, and scores that differ by less than 0.0001
close() {
    translated "$1" "$3" "$dragoman" >"$dir/want"
    translated "$2" "$3" "$dragoman" >"$dir/got"
    paste "$dir/want" "$dir/got" | awk -F '\t' '{ split($1, a, " ... "); split($2, b, " ... "); d = a[1] - b[1]
        if (d > 0.0001 || d < -0.0001 || substr($1, index($1, "|")) != substr($2, index($2, "|"))) exit 1 }' || fail "$2: not the translations of $1"
}
run 0 "$dragoman" extract -m "$task" -t de -o "$dir/fold" --fold
grep -q '^folded: logits within 1e-5 of the whole model.s, not the same bytes' "$dir/out" || fail "folded: $(cat "$dir/out")"
close "$task" "$dir/fold" deu_Latn
jq -e '.model_type == "nllb-moe" and .decoder_sparse_step == 0 and .decoder_ffn_dim == 512 and .encoder_sparse_step == 2' "$dir/fold/config.json" >/dev/null ||
    fail "folded: $(cat "$dir/fold/config.json")"
run 0 "$dragoman" extract -m "$golden/task-static" -t deu_Latn -o "$dir/dense" --fold
grep -q '^folded to a dense model (m2m_100)' "$dir/out" || fail "folded to dense: $(cat "$dir/out")"
close "$golden/task-static" "$dir/dense" deu_Latn
run 0 "$dragoman" inspect "$dir/dense"
grep -Eq '^type +m2m_100' "$dir/out" || fail "a dense model is not one"
says 2 'fra_Latn: the model has no such task: wanted one of deu_Latn' translate -m "$dir/dense" -s en -t fr -i "$dir/in"
says 2 'fra_Latn: the model has no such task: wanted one of deu_Latn' translate -m "$dir/fold" -s en -t fr -i "$dir/in"
says 2 'ces_Latn: the model has no such task: wanted one of deu_Latn, fra_Latn' translate -m "$dir/two" -s en -t cs -i "$dir/in"

# ---- with quantize and prune, in either order; the history of each ----
for how in "--experts int8 --dense int8" "--experts int4 --dense bf16 --group 32" "--experts f32 --dense f32"; do
    rm -rf "$dir/q" "$dir/q.de" "$dir/de.q"
    # shellcheck disable=SC2086
    run 0 "$dragoman" quantize -m "$task" $how --clip none -o "$dir/q"
    run 0 "$dragoman" extract -m "$dir/q" -t de -o "$dir/q.de"
    # shellcheck disable=SC2086
    run 0 "$dragoman" quantize -m "$dir/de" $how --clip none -o "$dir/de.q"
    cmp "$dir/q.de/model.safetensors" "$dir/de.q/model.safetensors" || fail "$how: quantised before and after: other weights"
    same "$dir/q" "$dir/q.de" deu_Latn "$dragoman"
    same "$dir/q" "$dir/de.q" deu_Latn "$dragoman"
    run 0 "$dragoman" inspect "$dir/q.de" --verify
done
says 3 '--fold wants a model as Hugging Face has it, found a packed one' extract -m "$dir/q" -t de --fold -o "$dir/x"
run 0 "$dragoman" quantize -m "$dir/fold" -o "$dir/fold.q"

# hash MODEL; steps MODEL: tools and whence, in order
hash() { "$dragoman" inspect "$1" --json | jq -r .hash; }
steps() { "$dragoman" inspect "$1" --json | jq -c '[.history[] | .tool, .from]'; }
[ "$(steps "$dir/q.de")" = "[\"quantize\",\"$(hash "$task")\",\"extract\",\"$(hash "$dir/q")\"]" ] || fail "history of q.de: $(steps "$dir/q.de")"
[ "$(steps "$dir/de.q")" = "[\"extract\",\"$(hash "$task")\",\"quantize\",\"$(hash "$dir/de")\"]" ] || fail "history of de.q: $(steps "$dir/de.q")"
[ "$(steps "$task")" = '[]' ] || fail "a model as trained has a history"

# extract, then prune the encoder that is left, then quantise; experts chosen on the extracted model
run 0 "$dragoman" stats -m "$dir/de" -s en -t de -i "$dir/in" -o "$dir/stats"
run 0 "$dragoman" prune -m "$dir/de" --stats "$dir/stats" --keep-total 28 --keep-encoder 24 -k "$dir/keep.json"
run 0 "$dragoman" prune -m "$dir/de" -k "$dir/keep.json" --for en-de -o "$dir/de.cut"
grep -qx 'decoder experts by layer: 2/2 2/2' "$dir/out" || fail "pruned: $(cat "$dir/out")"
"$dragoman" translate -m "$dir/de" -k "$dir/keep.json" -s en -t de -i "$dir/in" --with-score --max-length 24 >"$dir/want" 2>"$dir/err"
translated "$dir/de.cut" deu_Latn "$dragoman" | cmp - "$dir/want" || fail "extracted and pruned: other bytes"
run 0 "$dragoman" quantize -m "$dir/de.cut" -o "$dir/de.cut.q" --experts f32 --dense f32
translated "$dir/de.cut.q" deu_Latn "$dragoman" | cmp - "$dir/want" || fail "extracted, pruned and packed: other bytes"
run 0 "$dragoman" inspect "$dir/de.cut.q"
for step in '^history +1\. extract tasks \["deu_Latn"\], fold false, .*; of [0-9a-f]{16}, dragoman [0-9.]+$' \
    '^ +2\. prune for \["eng_Latn-deu_Latn"\], keep [0-9a-f]{16}; of' '^ +3\. quantize experts f32, dense f32, .*; of'; do
    grep -Eq "$step" "$dir/out" || fail "inspect: no $step"
done
# Sets do not touch experts with gates of their own, whatever statistics make of them: that would be another translation.
run 1 "$dragoman" stats -m "$dir/uneven.out" -s en -t ces_Latn -i "$dir/in" -o "$dir/stats"
run 0 "$dragoman" prune -m "$dir/uneven.out" --stats "$dir/stats" --keep-total 8 --keep-encoder 4 -k "$dir/uneven.json"
jq -c '.encoder |= map_values(map_values([0, 1])) | .decoder |= map_values(.["1"] = [0, 1] | .["3"] = [1, 2])' "$dir/uneven.json" >"$dir/few.json"
"$dragoman" translate -m "$dir/uneven.out" -s en -t cs -i "$dir/in" --with-score --max-length 24 >"$dir/want" 2>"$dir/err"
"$dragoman" translate -m "$dir/uneven.out" -k "$dir/few.json" -s en -t cs -i "$dir/in" --with-score --max-length 24 2>"$dir/err" |
    cmp - "$dir/want" || fail "a keep file touches experts with gates"
run 0 "$dragoman" prune -m "$dir/uneven.out" -k "$dir/few.json" --for en-cs -o "$dir/uneven.cut"
grep -qx 'decoder experts by layer: 2/3 3/3' "$dir/out" || fail "uneven, pruned: $(cat "$dir/out")"
translated "$dir/uneven.cut" ces_Latn "$dragoman" | cmp - "$dir/want" || fail "uneven, pruned: other bytes"

# A layer that has one expert, beside one that has two.
run 0 "$dragoman" extract -m "$golden/task-static" -t eng_Latn -o "$dir/single"
sets='{"1": [0, 1], "3": [0, 1]}'
jq -n "{format: 1, model: null, options: {}, statistics: [], encoder: {fra_Latn: $sets}, decoder: {eng_Latn: $sets}}" >"$dir/single.json"
run 0 "$dragoman" prune -m "$dir/single" -k "$dir/single.json" --for fr-en -o "$dir/single.cut"
grep -qx 'decoder experts by layer: 1/2 2/2' "$dir/out" || fail "one expert, pruned: $(cat "$dir/out")"
run 0 "$dragoman" inspect "$dir/single.cut" --verify

# ---- prune, then extract ----
# By the metric of first places the second expert of a task would be worth nothing: where a task's rows have the same two, gates count.
run 0 "$dragoman" stats -m "$task" -s en -t de -i "$dir/in" -o "$dir/stats"
run 0 "$dragoman" prune -m "$task" --stats "$dir/stats" --keep-total 26 --keep-encoder 20 -k "$dir/keep.json"
used=$(jq -c '.dragoman.history[0].options.experts.decoder' "$dir/de/config.json")
jq -e --argjson used "$used" '[.decoder.deu_Latn[]] as $kept | [range($used | length) | $used[.] - $kept[.]] == [[], []]' "$dir/keep.json" >/dev/null ||
    fail "German uses $used, kept are $(jq -c .decoder "$dir/keep.json")"
# without NAME FILTER: keep file $dir/NAME.json of the task model, changed; $dir/NAME.cut, cut by it, $dir/NAME.part of that
without() {
    jq -c --argjson used "$used" "$2" "$dir/keep.json" >"$dir/$1.json"
    run 0 "$dragoman" prune -m "$task" -k "$dir/$1.json" --for en-de -o "$dir/$1.cut"
    run 0 "$dragoman" extract -m "$dir/$1.cut" -t de -o "$dir/$1.part"
    same "$dir/$1.cut" "$dir/$1.part" deu_Latn "$dragoman"
    [ "$(tensors "$dir/$1.part/model.safetensors" '[keys[] | select(test("encoder.*experts.*fc1.weight"))] | length')" = 20 ] || fail "$1: other experts of the encoder"
    [ "$(tensors "$dir/$1.part/model.safetensors" '[keys[] | select(test("decoder.*experts.*fc1.weight"))] | length')" = 4 ] || fail "$1: other experts of the decoder"
}
without all .
# shellcheck disable=SC2016 # jq's variables
without best '.decoder.deu_Latn |= map_values(. - [$used[][0]])'
translated "$dir/all.part" deu_Latn "$dragoman" >"$dir/want"
translated "$dir/best.part" deu_Latn "$dragoman" | cmp -s - "$dir/want" && fail "without its best experts German is the same"
if command -v mpirun >/dev/null; then same "$dir/best.cut" "$dir/best.part" deu_Latn "$here/launch/dragoman-mpirun" -n 2 --; fi
# What was cut and extracted is pruned again by its own keep file, quantised, and folded.
run 0 "$dragoman" prune -m "$dir/best.part" -k "$dir/best.part/keep.json" --for en-de -o "$dir/best.again"
same "$dir/best.part" "$dir/best.again" deu_Latn "$dragoman"
run 0 "$dragoman" quantize -m "$dir/best.part" --experts f32 --dense f32 -o "$dir/best.q"
same "$dir/best.part" "$dir/best.q" deu_Latn "$dragoman"
run 0 "$dragoman" extract -m "$dir/best.cut" -t de --fold -o "$dir/best.fold"
close "$dir/best.cut" "$dir/best.fold" deu_Latn
says 2 'best.cut: want tasks that it was cut for .eng_Latn-deu_Latn., found fra_Latn' extract -m "$dir/best.cut" -t de,fr -o "$dir/x"
# A configuration that somebody changed: an expert of a set is not there, or a direction has no set.
cp -r "$dir/best.cut" "$dir/odd.cut"
jq '.dragoman.cut.experts.decoder["3"] |= .[1:]' "$dir/best.cut/config.json" >"$dir/odd.cut/config.json"
says 3 "" extract -m "$dir/odd.cut" -t de -o "$dir/x"
jq '.dragoman.cut.for = ["fra_Latn-deu_Latn"]' "$dir/best.cut/config.json" >"$dir/odd.cut/config.json"
says 3 'keep.json: want encoder experts for fra_Latn-deu_Latn, found none' extract -m "$dir/odd.cut" -t de -o "$dir/x"
# Sets of directions, which leave German other experts from English than from Czech.
jq -c --argjson used "$used" '.encoder.ces_Latn = .encoder.eng_Latn | .decoder["eng_Latn-deu_Latn"] = .decoder.deu_Latn |
    .decoder["ces_Latn-deu_Latn"] = (.decoder.deu_Latn | map_values(. - [$used[][0]]))' "$dir/keep.json" >"$dir/pairs.json"
run 0 "$dragoman" prune -m "$task" -k "$dir/pairs.json" --for en-de,cs-de -o "$dir/pairs.cut"
says 3 'want the same experts of task deu_Latn for all directions .* others for ces_Latn-deu_Latn than for eng_Latn-deu_Latn' \
    extract -m "$dir/pairs.cut" -t de -o "$dir/x"
# ... or the same expert, alone as in Switch, but by another gate: a softmax over what is kept.
jq -c --argjson used "$(jq -c '.dragoman.history[0].options.experts.decoder' "$dir/switch.ces/config.json")" 'def set(n): {
    "1": [$used[0][0], ($used[0][0] + n) % 32] | sort, "3": [$used[1][0], ($used[1][0] + n) % 32] | sort};
    .model = null | .encoder.deu_Latn = .encoder.eng_Latn | .decoder = {"eng_Latn-ces_Latn": set(1), "deu_Latn-ces_Latn": set(2)}' "$dir/keep.json" >"$dir/gates.json"
run 0 "$dragoman" prune -m "$dir/switch" -k "$dir/gates.json" --for en-cs,de-cs -o "$dir/gates.cut"
says 3 'want the same experts of task ces_Latn for all directions .* others for ' extract -m "$dir/gates.cut" -t cs -o "$dir/x"
# Of directions into several tasks those of the task are left.
jq -c '.decoder.fra_Latn = .decoder.deu_Latn' "$dir/keep.json" >"$dir/both.json"
run 0 "$dragoman" prune -m "$task" -k "$dir/both.json" --for en-de,en-fr -o "$dir/both.cut"
run 0 "$dragoman" extract -m "$dir/both.cut" -t de -o "$dir/both.de"
jq -e '.dragoman.cut.for == ["eng_Latn-deu_Latn"]' "$dir/both.de/config.json" >/dev/null || fail "directions that are left: $(jq -c .dragoman.cut.for "$dir/both.de/config.json")"
run 0 "$dragoman" prune -m "$dir/pairs.cut" -k "$dir/pairs.json" --for cs-de -o "$dir/one.cut"
run 0 "$dragoman" extract -m "$dir/one.cut" -t de -o "$dir/one.part"
# Of stacks that are both routed by task nothing is missing afterwards, so no sets are left either.
sets='{"1": [1, 3, 4], "3": [0, 5, 6]}'
jq -n "{format: 1, model: null, options: {}, statistics: [], encoder: {eng_Latn: $sets}, decoder: {deu_Latn: $sets}}" >"$dir/static.json"
run 0 "$dragoman" prune -m "$golden/task-static" -k "$dir/static.json" --for en-de -o "$dir/static.cut"
run 0 "$dragoman" extract -m "$dir/static.cut" -t de -o "$dir/static.part"
same "$dir/static.cut" "$dir/static.part" deu_Latn "$dragoman"
[ ! -e "$dir/static.part/keep.json" ] || fail "a keep file of nothing"
jq -e '.dragoman | has("cut") | not' "$dir/static.part/config.json" >/dev/null || fail "a cut of nothing"
run 0 "$dragoman" extract -m "$dir/static.cut" -t de --fold -o "$dir/static.fold"
close "$dir/static.cut" "$dir/static.fold" deu_Latn

# what zeroed weights looks like, and lists that are none
cp -r "$dir/de" "$dir/told"
told() { jq "$1" "$dir/de/config.json" >"$dir/told/config.json"; }
told '.dragoman.history += [{tool: "zero", options: {}, from: "0123456789abcdef", zeros: {zeros: 25, pruned: 50, parameters: 200}}]'
run 0 "$dragoman" inspect "$dir/told"
grep -Eq '^ +2\. zero; zeros: 50.00 % of the pruned matrices, 12.50 % of all parameters; of 0123456789abcdef$' "$dir/out" || fail "zeros: $(cat "$dir/out")"
run 0 "$dragoman" quantize -m "$dir/told" -o "$dir/told.q"
[ "$("$dragoman" inspect "$dir/told.q" --json | jq -c '[.history[].tool]')" = '["extract","zero","quantize"]' ] || fail "a step was lost"
for list in '7' '[{}]' '[{tool: "zero", options: {}, from: "1"}]' '[{tool: 3, options: {}, from: "0123456789abcdef"}]' \
    '[{tool: "zero", options: {}, from: "0123456789abcdef", zeros: {zeros: 9, pruned: 5, parameters: 6}}]'; do
    told ".dragoman.history = $list"
    says 3 'config.json: dragoman.history: wanted' inspect "$dir/told"
done
told '.dragoman.history = 7'
says 3 'config.json: dragoman.history: wanted a list, found another value' quantize -m "$dir/told" -o "$dir/x"

# ---- what is refused ----
says 3 "found encoder: token, decoder: token, .*dragoman prune. finds" extract -m "$here/models/multi30k-token" -t de -o "$dir/x"
says 3 "found encoder: token, decoder: sentence, .*dragoman prune. finds" extract -m "$golden/token-sentence" -t de -o "$dir/x"
says 3 'found encoder: token, decoder: no experts' extract -m "$dir/fold" -t de -o "$dir/x"
says 3 'want a mixture of experts, found a dense model' extract -m "$dir/dense" -t de -o "$dir/x"
says 2 'ita_Latn: the model has no such task: wanted one of ces_Latn, deu_Latn, eng_Latn, fra_Latn' extract -m "$task" -t it -o "$dir/x"
says 2 'eng_Latn-fra_Latn: the model has no such task: wanted one of eng_Latn-deu_Latn' extract -m "$golden/sentence-pair" -t en-fr -o "$dir/x"
says 2 'the tasks of .* are directions: want some such as eng_Latn-deu_Latn, separated by commas, found .deu_Latn.' extract -m "$golden/sentence-pair" -t deu_Latn -o "$dir/x"
says 2 '' extract -m "$task" -t "" -o "$dir/x"
says 2 'klingon' extract -m "$task" -t klingon -o "$dir/x"
says 2 'want --tgt-lang TASK' extract -m "$task" -o "$dir/x"
says 2 'want --output DIR' extract -m "$task" -t de
says 2 '--fold: want one task, whose gates are folded in, found 2: fold each by itself' extract -m "$task" -t de,fr --fold -o "$dir/x"
says 5 'de: wanted a name that is free' extract -m "$task" -t de -o "$dir/de"
(ulimit -f 3000; "$dragoman" extract -m "$task" -t de -o "$dir/x" >"$dir/out" 2>"$dir/err")
[ $? -eq 5 ] || fail "a limit on file sizes: not exit code 5"
if [ -e "$dir/x" ] || [ -e "$dir/x.part" ]; then fail "a limit on file sizes: something is left"; fi
[ "$bad" -eq 0 ] && echo "extract: ok"
exit "$bad"
