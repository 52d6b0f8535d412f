#!/usr/bin/env bash
# The command line: help, options and their origins, one sentence and exit code 2 for every way to get it wrong.
# usage: cli.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
checks=0
unset DGM_MODEL DGM_CONFIG

# refuses PATTERN ARGS...: exit code 2, one sentence that matches, nothing on standard output.
refuses() {
    local pattern=$1 got
    shift
    checks=$((checks + 1))
    "$dragoman" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq 2 ] || fail "$*: exit code $got, not 2"
    [ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$*: not one line on standard error"
    [ ! -s "$dir/out" ] || fail "$*: standard output is not empty"
    grep -q -- "^dragoman: .*$pattern" "$dir/err" || fail "$*: no '$pattern'"
}

# prints PATTERN ARGS...: exit code 0, standard output matches, standard error is empty.
prints() {
    local pattern=$1 got
    shift
    checks=$((checks + 1))
    "$dragoman" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq 0 ] || fail "$*: exit code $got, not 0"
    [ ! -s "$dir/err" ] || fail "$*: speaks on standard error"
    grep -Eq -- "$pattern" "$dir/out" || fail "$*: no '$pattern'"
}

# ---- help ----
prints '^  translate  ' help
prints '^  translate  ' --help
prints '^dragoman [0-9]+\.[0-9]+\.[0-9]+$' --version
for command in translate score score-text tokenize detokenize languages inspect bench quantize synth stats prune atlas extract sparsify client serve; do
    prints "^usage: dragoman $command" help $command
    cp "$dir/out" "$dir/help"
    prints "^usage: dragoman $command" $command --help
    cmp -s "$dir/out" "$dir/help" || fail "$command --help is not help $command"
    [ "$(wc -L <"$dir/out")" -le 100 ] || fail "$command --help is wider than 100 columns"
done
"$dragoman" translate --help >"$dir/translate"
for option in model src-lang tgt-lang input output beam-size n-best with-score format length-penalty \
    max-length min-length no-repeat-ngram-size repetition-penalty target-prefix early-stopping \
    source-order max-input-length split batch-tokens batch-rows threads isa compute kv dense-ranks \
    retry report config comm log-level; do
    grep -Eq -- "--$option( |$)" "$dir/translate" || fail "translate --help lacks --$option"
done
"$dragoman" >"$dir/out" 2>"$dir/err"
[ $? -eq 2 ] || fail "without arguments: exit code is not 2"
grep -q '^commands:' "$dir/err" || fail "without arguments: no list of commands"
"$dragoman" help --reference >"$dir/out" 2>"$dir/err"
sed -n '/^## Model/,$p' "$here/docs/config.md" >"$dir/want"
sed -n '/^## Model/,$p' "$dir/out" | cmp -s - "$dir/want" ||
    fail "docs/config.md is not what 'dragoman help --reference' prints: run docs/config.sh"

# ---- names ----
refuses 'translat: no such command; did you mean translate?' translat
refuses 'xyzzy: no such command' xyzzy
refuses 'no such option; did you mean --beam-size?' translate --beam-sise 4
refuses 'no such option; did you mean --beam-size?' translate --beam_size=4
refuses '--xyzzy: no such option$' translate --xyzzy
refuses '-q: no such option of translate' translate -q
refuses '--ids: not an option of translate, but of tokenize' translate --ids
refuses "want only options, found 'in.txt'" translate in.txt
refuses "languages: want only options, found 'a'$" languages a
refuses 'want one argument' inspect a b
refuses 'no such command' help nothing
refuses 'an empty word: no such command' ''
# ... of benches: no kind passes over what only others have
refuses "bench: want kernels, .* or cuda, found ''$" bench
refuses "bench: want kernels, .* or cuda, found 'kernel'$" bench kernel --isa ref
refuses '--beam: not an option of bench routing, but of bench layers, bench pruning$' bench routing --beam 4
refuses '--beam: not an option of bench sparse, but of bench layers, bench pruning$' bench --beam=4 sparse
refuses '--lengths: not an option of bench layers, but of bench pruning$' bench layers --lengths FILE
refuses '--tgt-tokens: not an option of bench pruning, but of bench layers, bench routing$' bench pruning --tgt-tokens 9
for kind in kernels exchange experts cuda; do
    refuses "--batch: not an option of bench $kind, but of bench layers, bench pruning, bench routing, bench sparse$" bench $kind --batch 1
done
for kind in kernels exchange experts sparse cuda; do
    for option in "--model $here" '--src-tokens 9' '--targets 2' '--compute int8' '--kv bf16' '--overlap on' '--device cuda' '--task-ranks split'; do
        # shellcheck disable=SC2086 # two words
        refuses "${option%% *}: not an option of bench $kind, but of bench layers, bench pruning, bench routing$" bench $kind $option
    done
done
for kind in sparse exchange cuda; do
    refuses "--threads: not an option of bench $kind, but of bench kernels, bench layers, bench experts, " bench $kind --threads 1
done
refuses '--isa: not an option of bench exchange, but of bench kernels, ' bench exchange --isa ref
refuses '--comm: not an option of bench kernels, but of bench exchange, ' bench kernels --comm local
DGM_BEAM=3 DGM_LENGTHS=none DGM_COMM=local prints '^beam = 3 +# environment$' bench routing --print-config
printf 'beam = 3\nlengths = none\n' >"$dir/c"
prints '^lengths = none +# file$' bench kernels --config "$dir/c" --print-config
prints '^beam = 4 +# default$' bench --print-config

# ---- values ----
refuses "--beam-size: want a whole number from 1 to 128, found '4x'" translate --beam-size 4x
refuses "--beam-size: want .*, found '0'" translate --beam-size 0
refuses "--beam-size: want a value (N) after it, found nothing" translate --beam-size
refuses "--beam-size: want a value (N) after it, found --strict" translate --beam-size --strict
refuses "--length-penalty: want a number from -10 to 10, found '1,5'" translate --length-penalty 1,5
refuses "--temperature: want .*, found 'nan'" translate --temperature nan
refuses "--seed: want .*, found '-1'" translate --seed -1
refuses "--split: want auto, always or never, found 'maybe'" translate --split maybe
refuses "--kv: want f32 or bf16, found 'f16'" translate --kv f16
refuses "--strict: want true or false, found 'perhaps'" translate --strict=perhaps
refuses "--dense-ranks: want all or .*, found '2x'" translate --dense-ranks 2x
refuses '--n-best: want at most --beam-size (4), found 5' translate --n-best 5
refuses '--beam-size: want 1 with sampling' translate --sampling-topk 5 --beam-size 2
refuses '--n-best: want at most --beam-size (1)' translate --sampling-topp 0.9 --n-best 2
refuses "--retry: want none or checks, found 'always'" translate --retry always
refuses '--record-stats: want --retry none with it, found checks' translate --retry checks --record-stats x
refuses '--retry: not an option of score' score --retry checks
refuses '--comm-stall-ms: want at most --comm-deadline-ms' translate --comm-stall-ms 900 --comm-deadline-ms 800
refuses '--compute: want auto, f32 or int8' translate --compute int4
refuses 'tcp:localhost:99999: want a port from 1 to 65535, found 99999' client --connect tcp:localhost:99999 health

# ---- files: nothing is written over what is read, or twice ----
cd "$dir" || exit 1
echo 'A dog.' >text
ln -s text link
ln -s /dev/null null
refuses '--output: want another file than --input, found text' translate -s en -t de -i text -o text
refuses '--output: want another file than --input, found link' client --connect unix:x -s en -t de -i text -o link
refuses '--report: want another file than --output, found new' translate -s en -t de -i text -o new --report new
refuses '--output: want another file than --reference, found ./text' score -s en -t de --reference text -o ./text
[ "$(cat text)" = 'A dog.' ] || fail 'a text was written over'
prints '^report' translate -s en -t de -i /dev/null -o null --report /dev/null --print-config
cd "$here" || exit 1

# ---- where values come from ----
m=$here/models/multi30k-token
prints '^beam-size = 4 +# default$' translate -m "$m" --print-config
prints '^beam-size = 6 +# flag$' translate -m "$m" --beam-size 6 --print-config
prints '^compute = f32 +# flag$' translate -m "$m" --compute f32 --kv f32 --retry none --print-config
export DGM_BEAM_SIZE=7
prints '^beam-size = 7 +# environment$' translate -m "$m" --print-config
prints '^beam-size = 6 +# flag$' translate -m "$m" --beam-size 6 --print-config
printf '# a comment\nbeam_size = 8\ncomm.stall_ms = 100 # ms\n' >"$dir/c"
prints '^beam-size = 7 +# environment$' translate -m "$m" --config "$dir/c" --print-config
prints '^comm-stall-ms = 100 +# file$' translate -m "$m" --config "$dir/c" --print-config
unset DGM_BEAM_SIZE
prints '^beam-size = 8 +# file$' translate -m "$m" --config "$dir/c" --print-config
DGM_CONFIG=$dir/c prints '^beam-size = 8 +# file$' translate -m "$m" --print-config
DGM_BEAM_SIZE=4x refuses "DGM_BEAM_SIZE: want .*, found '4x'" translate -m "$m"
"$dragoman" translate -m "$m" --config "$dir/c" --length-penalty 0.3 --print-config >"$dir/all"
"$dragoman" translate --config "$dir/all" --print-config >"$dir/again"
sed 's/ *#.*//' "$dir/all" >"$dir/want"
sed 's/ *#.*//' "$dir/again" | cmp -s - "$dir/want" || fail "--print-config does not read back"

# --verify says when to check to translate, and that one shall to inspect; a file can mean the first only.
printf 'verify = never\n' >"$dir/c"
prints '^verify = never +# file$' translate -m "$m" --config "$dir/c" --print-config
prints '^weights ' inspect "$m" --config "$dir/c"
refuses "--verify: want first-use, open or never, found 'yes'" translate --verify yes

printf 'beam-size = 8\0\n' >"$dir/c"
refuses 'line 1: want text, found a NUL$' translate --config "$dir/c"
printf 'beam-size 8\n' >"$dir/c"
refuses "line 1: want 'key = value', found 'beam-size 8'" translate --config "$dir/c"
printf '\nbeam-sise = 8\n' >"$dir/c"
refuses 'line 2: beam-sise: no such option; did you mean beam-size?' translate --config "$dir/c"
printf 'beam-size = 8\nbeam_size = 9\n' >"$dir/c"
refuses 'line 2: beam_size: given twice' translate --config "$dir/c"
printf 'beam-size = 8x\n' >"$dir/c"
refuses "line 1: beam-size: want .*, found '8x'" translate --config "$dir/c"
refuses 'No such file' translate --config "$dir/none"
for conf in "$here"/configs/*.conf; do
    [ -e "$conf" ] || fail "no configurations"
    case ${conf##*/} in serve-*) command=serve ;; *) command=translate ;; esac
    prints '# file$' $command -m "$m" --config "$conf" --print-config
done
printf 'listen = unix:/a\nlisten = tcp:127.0.0.1:1\n' >"$dir/c"
prints '^listen = unix:/a +# file$' serve --config "$dir/c" --print-config
prints '^listen = tcp:127.0.0.1:1 +# file$' serve --config "$dir/c" --print-config
prints '^listen = unix:/b +# flag$' serve --config "$dir/c" --listen unix:/b --print-config
[ "$(grep -c '^listen' "$dir/out")" -eq 1 ] || fail "a flag does not replace the addresses of a file"

# ---- which model ----
mkdir -p "$dir/tree/build/x" "$dir/tree/models"
cp "$dragoman" "$dir/tree/build/x/dragoman"
dragoman=$dir/tree/build/x/dragoman
if [ ! -e "$("$dragoman" translate --print-config 2>/dev/null | sed -n 's/^model = \([^ ]*\).*/\1/p')/config.json" ]; then
    refuses 'no model: want --model DIR or DGM_MODEL' translate
fi
ln -s "$m" "$dir/tree/models/multi30k-token"
prints "^model = $(readlink -f "$m") +# default$" translate --print-config
DGM_MODEL=/elsewhere prints '^model = /elsewhere +# environment$' translate --print-config

# ---- standard output ----
"$1" help >&- 2>"$dir/err"
[ $? -eq 5 ] || fail "help with a closed standard output: exit code is not 5"
"$1" help >/dev/full 2>"$dir/err"
[ $? -eq 5 ] || fail "help on a full disk: exit code is not 5"
grep -q 'No space left' "$dir/err" || fail "help on a full disk: no reason"

echo "$checks command lines"
exit $bad
