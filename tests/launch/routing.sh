#!/usr/bin/env bash
# Models that are routed by sentence, by task and by hand: the same bytes on any ranks, batches and halves, packed or not;
# several targets in one call; and what is wrong in a configuration.
# usage: routing.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_LOG_LEVEL=warn DRAGOMAN=$dragoman
golden=$here/tests/golden/routing
has_isa avx2 && isa=avx2 || isa=ref
{ head -n 6 "$here/models/sample/pictures.eng_Latn.txt"; printf '\nA dog.\n'; } >"$dir/in"

# run MODEL COMMAND...: translates $dir/in; standard output of the rest of the line
translated() {
    local model=$1
    shift
    "$@" translate -m "$model" -s eng_Latn -i "$dir/in" --with-score --max-length 40 "${more[@]}" 2>"$dir/err"
    [ $? -le 1 ] || fail "$model, $*: exit code"
}

ranks=("$here/launch/dragoman-mpirun" -n)
command -v mpirun >/dev/null || { echo "skip: ranks, mpirun is not installed"; ranks=(); }
# One task: a table of one row.
"$dragoman" synth --like demo --d-model 48 --heads 4 --ffn 72 --layers 2,2 --experts 8 --decoder-routing task --tasks 1 -o "$dir/one" 2>"$dir/err" || fail "one task"
jq '.routing_tasks = ["deu_Latn"]' "$dir/one/config.json" >"$dir/config" && mv "$dir/config" "$dir/one/config.json"
for model in "$dir/one" "$here/models/multi30k-task" "$golden/sentence-pair" "$golden/task-static" "$golden/token-sentence"; do
    name=${model##*/}.q
    more=(-t deu_Latn)
    translated "$model" "$dragoman" >"$dir/want"
    [ -s "$dir/want" ] || fail "$name: nothing was translated"
    more+=(--batch-tokens 1 --batch-rows 4 --threads 3 --isa "$isa")
    translated "$model" "$dragoman" | cmp - "$dir/want" || fail "$name: small batches: other bytes"
    more=(-t deu_Latn)
    for n in ${ranks:+2 3 4}; do
        translated "$model" "${ranks[@]}" "$n" -- | cmp - "$dir/want" || fail "$name: $n ranks: other bytes"
    done
    more+=(--overlap on)
    [ -z "${ranks:-}" ] || translated "$model" "${ranks[@]}" 2 -- | cmp - "$dir/want" || fail "$name: halves: other bytes"
    more=(-t deu_Latn)
    "$dragoman" quantize -m "$model" -o "$dir/$name" --experts f32 --dense f32 >"$dir/out" 2>"$dir/err" || fail "$name: quantize"
    translated "$dir/$name" "$dragoman" | cmp - "$dir/want" || fail "$name: packed in f32: other bytes"
done

# Several targets: an encoder that is routed by task encodes for each; the bytes are those of one after the other.
for model in "$here/models/multi30k-task" "$golden/task-static"; do
    more=(-t "deu_Latn,fra_Latn,ces_Latn" -o "$dir/all.{lang}")
    translated "$model" "$dragoman"
    for t in deu_Latn fra_Latn ces_Latn; do
        more=(-t "$t")
        translated "$model" "$dragoman" | cmp - "$dir/all.$t" || fail "$model: $t beside others: other bytes"
    done
done

# A process holds the experts of the job's tasks alone.
# holds TARGETS: MiB of weights
holds() {
    more=(-t "$1" -o "$dir/held.{lang}")
    DGM_LOG_LEVEL=info translated "$here/models/multi30k-task" "$dragoman"
    sed -nE 's/.* ([0-9.]+) MiB of weights.*/\1/p' "$dir/err"
}
one=$(holds deu_Latn) four=$(holds deu_Latn,fra_Latn,ces_Latn,eng_Latn)
jq -en "$one < $four" >/dev/null || fail "one task needs $one MiB of weights, four need $four"

# Rows of a layer that is routed by task stay where they are: nothing is exchanged.
if [ -n "${ranks:-}" ]; then
    for _ in 1 2 3 4 5 6 7 8; do cat "$here/models/sample/pictures.eng_Latn.txt"; done >"$dir/long"
    # sent MODEL: MiB exchanged
    sent() {
        DGM_LOG_LEVEL=info "${ranks[@]}" 2 -- translate -m "$1" -s eng_Latn -t deu_Latn -i "$dir/long" --max-length 40 2>"$dir/err" >"$dir/out"
        sed -nE 's/.*; ([0-9.]+) MiB exchanged.*/\1/p' "$dir/err"
    }
    # by_decoder HOW: bytes of it that the decoder sent, as the last line of the run says
    by_decoder() { sed -nE 's/.* MiB exchanged in [0-9]+ steps, ([0-9]+) bytes of it by the decoder$/\1/p' "$dir/err" | tail -n 1; }
    [ "$(sent "$golden/task-static")" = 0.0 ] || fail "task-static: rows travel"
    [ "$(by_decoder)" = 0 ] || fail "task-static: the decoder's rows travel"
    [ "$(sent "$golden/token-sentence")" != 0.0 ] || fail "token-sentence: rows do not travel"
    [ "$(by_decoder)" -gt 0 ] || fail "token-sentence: the decoder's rows do not travel"
    [ "$(sent "$here/models/multi30k-task")" != 0.0 ] || fail "multi30k-task: the encoder's rows do not travel"
    [ "$(by_decoder)" = 0 ] || fail "multi30k-task: the decoder's rows travel"
fi
# Languages split over the ranks: the same bytes, where they share out evenly and where not, and fewer experts on each rank.
if [ -n "${ranks:-}" ]; then
    model=$here/models/multi30k-task
    more=(-t "deu_Latn,fra_Latn,ces_Latn,eng_Latn" -o "$dir/whole.{lang}")
    translated "$model" "$dragoman"
    # weights HOW RANKS: MiB that a rank holds
    weights() {
        more=(-t "deu_Latn,fra_Latn,ces_Latn,eng_Latn" -o "$dir/$1.{lang}" --task-ranks "$1" --batch-rows 32)
        DGM_LOG_LEVEL=info translated "$model" "${ranks[@]}" "$2" --
        for t in deu_Latn fra_Latn ces_Latn eng_Latn; do
            cmp "$dir/$1.$t" "$dir/whole.$t" || fail "--task-ranks $1 on $2 ranks: other bytes into $t"
        done
        sed -nE 's/.* ([0-9.]+) MiB of weights.*/\1/p' "$dir/err"
    }
    for n in 2 3 4; do
        all=$(weights all $n) split=$(weights split $n)
        jq -en "$split < $all or ($n == 3 and $split == $all)" >/dev/null || fail "$n ranks: $split MiB split, $all MiB not"
    done
fi
"$dragoman" inspect "$here/models/multi30k-task" -n 4 >"$dir/out" 2>"$dir/err"
grep -Eq '^0 to 3 +8\+32 ' "$dir/out" || fail "inspect: not the decoder's experts on every rank"

# says CODE PATTERN ARGS...
says() {
    refuses "$1" "$2" "$dragoman" "${@:3}" <"$dir/in"
}
says 2 'ita_Latn: .* wanted one of ces_Latn, deu_Latn, eng_Latn, fra_Latn' translate -m "$here/models/multi30k-task" -s eng_Latn -t ita_Latn
says 2 'eng_Latn-fra_Latn: the model has no such task' score -m "$golden/sentence-pair" -s eng_Latn -t fra_Latn --reference "$dir/in"
says 2 'eng_Latn-fra_Latn: .* wanted one of eng_Latn-deu_Latn, fra_Latn' translate -m "$golden/sentence-pair" -s eng_Latn -t fra_Latn
"$dragoman" serve -m "$here/models/multi30k-task" --listen "unix:$dir/s" 2>"$dir/server" & # a client of it says and ends alike
server=$!
await_from $server a_socket "$dir/s" || fail 'no server'
says 2 'ita_Latn: .* wanted one of ces_Latn, deu_Latn, eng_Latn, fra_Latn' client --connect "unix:$dir/s" -s eng_Latn -t ita_Latn --log-level error
kill $server
wait $server

# config FILTER: config.json of $dir/bad is that of task-static, changed
mkdir "$dir/bad"
cp "$golden"/task-static/* "$dir/bad"
config() {
    jq "$1" "$golden/task-static/config.json" >"$dir/bad/config.json"
}
bad_config() {
    config "$1"
    says 3 "$2" translate -m "$dir/bad" -s eng_Latn -t deu_Latn
}
bad_config '.encoder_routing = "both"' 'encoder_routing: wanted token, sentence, task or static, found both'
bad_config 'del(.routing_tasks)' 'routing_tasks: wanted a list of 1 to 65536 tasks, found none'
bad_config '.routing_tasks = "deu_Latn"' 'routing_tasks: wanted a list of 1 to 65536 tasks, found another value'
bad_config '.routing_tasks = []' 'routing_tasks: wanted a list of 1 to 65536 tasks, found 0$'
bad_config '.routing_tasks[1] = "ces_Latn"' 'wanted each task once, found ces_Latn twice'
bad_config '.routing_tasks[1] = 7' 'wanted codes such as deu_Latn, found another value'
bad_config '.routing_tasks[1] = "eng_Latn-deu_Latn"' 'wanted codes such as deu_Latn, found eng_Latn-deu_Latn'
bad_config '.routing_task = "pair"' 'wanted directions such as eng_Latn-deu_Latn, found ces_Latn'
bad_config '.routing_task = "words"' 'routing_task: wanted target or pair, found words'
bad_config '.routing_tasks += ["ita_Latn"]' 'routing_static.decoder: wanted 2 lists of experts for ita_Latn, found 0'
bad_config '.routing_tasks += ["ita_Latn"] | .routing_static.decoder.ita_Latn = [[1], [2]]' 'ffn.router.task.weight: wanted shape .5, 8., found .4, 8.'
bad_config '.routing_gates = 1' 'routing_gates: wanted true or false, found a number'
bad_config '.routing_gates = true' 'wanted a tensor .*ffn.router.gates, found none'
bad_config '.routing_gates = true | .decoder_routing = "task"' 'routing_gates: wanted static encoder_routing or decoder_routing with it, found neither'
bad_config 'del(.routing_static)' 'routing_static.decoder: wanted 2 lists of experts for ces_Latn, found 0'
bad_config '.routing_static.decoder.deu_Latn = [[1]]' 'wanted 2 lists of experts for deu_Latn, found 1'
for list in '[1, 1]' '[8]' '[-1, 2]' '[0, 1, 2]' '[]' '["a"]' '[1.5]' '3'; do
    bad_config ".routing_static.decoder.deu_Latn[1] = $list" 'decoder.deu_Latn: wanted one or two different experts below 8 for each layer'
done
bad_config '.encoder_routing = "token"' 'ffn.router'
exit $bad
