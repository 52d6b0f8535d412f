#!/usr/bin/env bash
# `dragoman translate` with the demonstration model: a filter whose every option can be seen in its output.
# usage: translate.sh DRAGOMAN_BINARY
# What the translations are is the golden tests' business; here it is that they arrive, where and how.
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn
checks=0

# runs CODE ARGS...: translate from $dir/in into $dir/out.
runs() {
    local code=$1 got
    shift
    checks=$((checks + 1))
    "$dragoman" translate -s eng_Latn -t deu_Latn "$@" <"$dir/in" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "translate $*: exit code $got, not $code"
}

# lines N [FILE]
lines() {
    local got
    got=$(wc -l <"${2:-$dir/out}")
    [ "$got" -eq "$1" ] || fail "$got lines, not $1"
}

# line N PATTERN: line N of the output matches.
line() {
    sed -n "$1p" "$dir/out" | grep -Eq -- "$2" || fail "line $1 is not '$2': $(sed -n "$1p" "$dir/out")"
}

# same FILE: the output is FILE.
same() {
    cmp -s "$1" "$dir/out" || fail "other output than $(basename "$1")"
}

head -n 4 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/four"

# ---- a filter ----
cp "$dir/four" "$dir/in"
isa=${DGM_ISA:-}
unset DGM_ISA # once with the kernels that this CPU is for, under ThreadSanitizer too
runs 0
[ -z "$isa" ] || export DGM_ISA=$isa
lines 4
line 1 '^[A-Z].* .*\.$'
cp "$dir/out" "$dir/plain"
runs 0 -i "$dir/four" -o "$dir/file"
lines 0
cmp -s "$dir/file" "$dir/plain" || fail "-o gives other text"
ls "$dir"/file.part* 2>/dev/null && fail "FILE.part stays"
runs 0 -s en -t de && same "$dir/plain"
{ printf '\xEF\xBB\xBF'; sed 's/$/\r/' "$dir/four" | head -c -2; } >"$dir/in"
runs 0
same "$dir/plain" # a BOM, CRLF, no last newline
printf '' >"$dir/in"
runs 0
lines 0
{ sed -n 1p "$dir/four"; printf '\n \t \n\xE3\x80\x80\n'; sed -n 2p "$dir/four"; } >"$dir/in"
runs 0
{ sed -n 1p "$dir/plain"; printf '\n\n\n'; sed -n 2p "$dir/plain"; } >"$dir/want"
same "$dir/want" # blank stays blank, order is kept

# ---- what is shown ----
cp "$dir/four" "$dir/in"
echo >>"$dir/in"
runs 0 --with-score
line 1 '^-[0-9]+\.[0-9]{6} \|\|\| .*\.$'
line 5 '^$'
sed 's/^[^|]*||| //' "$dir/out" | head -n 4 | cmp -s - "$dir/plain" || fail "--with-score changes the text"
runs 0 --n-best 3
lines 15
sed -n '1p;4p;7p;10p' "$dir/out" | cmp -s - "$dir/plain" || fail "the first of the n best is not the best"
[ "$(sed -n '13,15p' "$dir/out" | tr -d '\n' | wc -c)" -eq 0 ] || fail "blank gives no three blanks"
runs 0 --n-best 2 --with-score
awk 'NR < 9 && NR % 2 { s = $1 } NR < 9 && !(NR % 2) && $1 > s { exit 1 }' "$dir/out" || fail "n-best is not best first"
runs 0 --format marian --n-best 2
lines 10
line 1 '^0 \|\|\| .* \|\|\| -[0-9]+\.[0-9]{6}$'
line 10 '^4 \|\|\|  \|\|\| 0\.000000$'
runs 0 --alignment
line 1 ' \|\|\| [0-9]+-[0-9]+( [0-9]+-[0-9]+)*$'
line 5 '^$'
# every pair names a word of the line and a word of the translation
paste -d'\n' "$dir/four" <(head -n 4 "$dir/out") | awk '
    NR % 2 { source = NF; next }
    { split($0, part, / \|\|\| /); target = split(part[1], w, " "); n = split(part[2], pair, " ")
      if (n < target / 2) { print "few pairs: " $0; bad = 1 }
      for (i = 1; i <= n; i++) { split(pair[i], p, "-")
        if (p[1] >= source || p[2] >= target) { print "out of range: " pair[i]; bad = 1 } } }
    END { exit bad }' || fail "--alignment"
runs 0 --token-scores
line 1 ' \|\|\| ▁[^ ]+:-[0-9.]+( [^ ]+:-[0-9.]+)* </s>:-[0-9.]+$'

# ---- several languages ----
runs 0 -t deu_Latn,fra_Latn
lines 10
grep -c '^deu_Latn	' "$dir/out" | grep -qx 5 || fail "not five lines of deu_Latn"
sed -n 's/^deu_Latn\t//p' "$dir/out" | head -n 4 | cmp -s - "$dir/plain" || fail "-t de,fr changes the German"
cp "$dir/out" "$dir/both"
runs 0 -t deu_Latn,fra_Latn -o "$dir/out.{lang}.txt"
for lang in deu_Latn fra_Latn; do
    sed -n "s/^$lang\t//p" "$dir/both" | cmp -s - "$dir/out.$lang.txt" || fail "out.$lang.txt is another text"
done

# ---- decoding ----
cp "$dir/four" "$dir/in"
runs 0 --beam-size 1
lines 4
runs 1 --max-length 6
grep -c 'truncated' "$dir/err" | grep -qx 4 || fail "four lines are cut, but not named"
runs 0 --max-length 200
same "$dir/plain"
printf 'Hier\n\n\nZwei\n' >"$dir/prefix"
runs 0 --target-prefix "$dir/prefix"
line 1 '^Hier'
line 4 '^Zwei'
sed -n 2,3p "$dir/out" | cmp -s - <(sed -n 2,3p "$dir/plain") || fail "an empty prefix changes the line"
runs 0 --sampling-topk 10 --seed 1
cp "$dir/out" "$dir/seed1"
runs 0 --sampling-topk 10 --seed 1 --batch-tokens 1
same "$dir/seed1"
runs 0 --sampling-topk 10 --seed 2
cmp -s "$dir/seed1" "$dir/out" && fail "another seed draws the same"

# ---- splitting ----
printf 'Two dogs play in the snow. A man reads a book.\n' >"$dir/in"
printf 'Two dogs play in the snow.\nA man reads a book.\n' >"$dir/apart"
runs 0 --split always --report "$dir/report"
cp "$dir/out" "$dir/joined"
grep -q '"status":"split".*"segments":2' "$dir/report" || fail "the report does not say split"
cp "$dir/apart" "$dir/in"
runs 0
paste -sd' ' "$dir/out" | cmp -s - "$dir/joined" || fail "joined sentences are not the sentences joined"
for _ in $(seq 60); do printf 'A man in a red shirt and a woman in a blue dress walk with two dogs. '; done >"$dir/in"
echo >>"$dir/in"
runs 0 --report "$dir/report"
lines 1
[ "$(wc -w <"$dir/out")" -gt 600 ] || fail "sentences of a long line are missing"
grep -q '"status":"split"' "$dir/report" || fail "the report of a long line does not say split"
runs 1 --split never --report "$dir/report"
grep -q '"status":"too_long"' "$dir/report" || fail "the report does not say too_long"
line 1 '^$'

# ---- the report ----
{ cat "$dir/four"; printf '\nb\xFFd\n'; } >"$dir/in"
runs 1 --report "$dir/report"
lines 6
lines 6 "$dir/report"
sed -n 1p "$dir/report" | grep -Eq '^\{"line":1,"status":"ok","src_tokens":[0-9]+,"tgt_tokens":[0-9]+,"score":-[0-9.]+,"seconds":[0-9.e-]+,"absent_mass":0,"absent_most":0,"worst_layer":null,"segments":1,"message":""\}$' || fail "report line 1"
sed -n 5p "$dir/report" | grep -q '"status":"empty"' || fail "report line 5"
sed -n 6p "$dir/report" | grep -q '"status":"bad_input".*byte 2 (0xff) is not UTF-8' || fail "report line 6"

# ---- a second decoding ----
# The first and the second are what a run with their options gives, and the rule says which is taken. $dir/odd has lines that no
# check strikes, that the second decoding mends, and that it does not.
cat "$dir/four" "$here/tests/launch/odd_lines.txt" >"$dir/in"
cp "$dir/in" "$dir/odd"
"$dragoman" translate -s en -t de --with-score --report "$dir/first.report" <"$dir/odd" >"$dir/first" 2>"$dir/err"
code=$?
runs $code --with-score --retry none --report "$dir/report"
same "$dir/first"
sed -i 's/"seconds":[^,]*,//' "$dir/first.report" "$dir/report"
cmp -s "$dir/first.report" "$dir/report" || fail "--retry none changes the report"
"$dragoman" translate -s en -t de --with-score --beam-size 8 --no-repeat-ngram-size 4 --report "$dir/second.report" <"$dir/odd" >"$dir/second" 2>"$dir/err"
DGM_LOG_LEVEL=info "$dragoman" translate -s en -t de --with-score --retry checks --report "$dir/report" <"$dir/odd" >"$dir/out" 2>"$dir/err"
jq -s 'map(del(.seconds))' "$dir/first.report" >"$dir/first.json"
jq -s 'map(del(.seconds))' "$dir/second.report" >"$dir/second.json"
jq -s 'map(del(.seconds))' "$dir/report" | jq -e --slurpfile first "$dir/first.json" --slurpfile second "$dir/second.json" '
    [., $first[0], $second[0]] | transpose | all(.[];
        . as [$got, $a, $b] |
        if $a.checks == null then $got == $a else
            ($b.checks == null) as $better |
            $got.retry == {taken: (if $better then "second" else "first" end), first_score: $a.score, second_score: $b.score,
                           first_checks: $a.checks, second_checks: ($b.checks // [])} and
            ($got | del(.retry)) == (if $better then $b else $a end)
        end)' >/dev/null || fail "--retry checks: the report is not that of the better of both"
jq -r '.retry.taken // "once"' "$dir/report" >"$dir/taken"
for taken in once first second; do
    grep -qx "$taken" "$dir/taken" || fail "--retry checks: no line for which '$taken'"
done
paste -d'\t' "$dir/taken" "$dir/first" "$dir/second" | awk -F'\t' '{ print $1 == "second" ? $3 : $2 }' >"$dir/want"
same "$dir/want"
grep -q "end $(grep -vxc once "$dir/taken") translations were decoded once more, $(grep -xc second "$dir/taken") got better" "$dir/err" ||
    fail "--retry checks: does not say how many"
batches=('--batch-rows 4096 --threads 2')
[ -n "${TSAN_OPTIONS:-}" ] || batches+=('--batch-tokens 1 --batch-rows 4') # slow, and without a thread more
for options in "${batches[@]}"; do
    # shellcheck disable=SC2086 # several
    "$dragoman" translate -s en -t de --with-score --retry checks $options <"$dir/odd" >"$dir/out" 2>"$dir/err"
    same "$dir/want"
done
# What was drawn is searched; into several languages, those are decoded again that need it.
"$dragoman" translate -s en -t de --sampling-topk 50 --seed 3 <"$dir/odd" >"$dir/drawn" 2>"$dir/err"
"$dragoman" translate -s en -t de --beam-size 4 --no-repeat-ngram-size 4 <"$dir/odd" >"$dir/searched" 2>"$dir/err"
"$dragoman" translate -s en -t de --sampling-topk 50 --seed 3 --retry checks --report "$dir/report" <"$dir/odd" >"$dir/out" 2>"$dir/err"
jq -r '.retry.taken // "once"' "$dir/report" | paste -d'\t' - "$dir/drawn" "$dir/searched" | awk -F'\t' '{ print $1 == "second" ? $3 : $2 }' >"$dir/want2"
same "$dir/want2"
grep -q '"taken":"second"' "$dir/report" || fail "--retry checks: nothing drawn got better"
"$dragoman" translate -s en -t fr,de --with-score --retry checks -o "$dir/odd.{lang}" <"$dir/odd" 2>"$dir/err"
cmp -s "$dir/odd.deu_Latn" "$dir/want" || fail "--retry checks -t fr,de changes the German"

# ---- what it says ----
cp "$dir/four" "$dir/in"
DGM_LOG_LEVEL=info runs 0
for words in 'start .*: nllb-moe, 4+4 layers, 32 experts' 'start 1 rank on 1 host, isa [a-z0-9]*, .* threads* a rank, batch of .* MiB' \
    'end 4 lines, 4 sentences, [0-9]* tokens in [0-9.]* s: [0-9]* tokens/s' 'end peak memory by rank [0-9.]* MiB'; do
    grep -q "$words" "$dir/err" || fail "does not say '$words'"
done
grep -q 'demonstration' "$dir/err" && fail "a named model is called the demonstration model"

# several N FILE: the text N times, each time another text: equal lines in flight would be computed once.
several() { for i in $(seq "$1"); do sed "s/^/$i /" "$2"; done; }

# on_terminal: translates $dir/in there; $dir/screen is what was to be seen. `script` may go before it has read a program's last words:
# the command stays until they are there.
on_terminal() {
    rm -f "$dir/seen"
    : >"$dir/screen"
    DGM_LOG_LEVEL=info script -qefc "'$dragoman' translate -s eng_Latn -t deu_Latn --batch-tokens 16 --isa ref -i '$dir/in' -o '$dir/out'
        code=\$?; echo \"exit code \$code\"; until [ -e '$dir/seen' ]; do sleep 0.02; done; exit \$code" \
        /dev/null </dev/null >"$dir/screen" 2>"$dir/err" &
    await_from $! says_so "$dir/screen" '^exit code'
    : >"$dir/seen"
    wait $!
}
# seconds: of work, as its summary says. drew: a line of progress.
seconds() { sed -nE 's/.* tokens in ([0-9]+)\.[0-9]+ s: .*/\1/p' "$dir/screen"; }
drew() { tr '\r' '\n' <"$dir/screen" | grep -Eq '^[0-9,]+ lines  [0-9,]+ tokens/s  [0-9]+:[0-9]{2}:[0-9]{2} left'; }

# On a terminal a line of progress comes and goes: lines, tokens/s, time left. It is drawn twice a second: what takes less than that
# here is too little work, what takes seconds is not. In a file there is none.
for ((n = 4; ; n *= 2)); do
    several $n "$dir/four" >"$dir/in"
    on_terminal || fail "on a terminal: exit code $?"
    tr '\r' '\n' <"$dir/screen" | grep -q "end $((4 * n)) lines, $((4 * n)) sentences" || fail "no summary on a terminal"
    lines $((4 * n))
    drew && break
    [ "$bad" -eq 0 ] && [ "$(seconds)" -lt 4 ] && continue
    fail "no line of progress on a terminal"
    break
done
DGM_LOG_LEVEL=info runs 0
grep -q 'lines  [0-9,]* tokens' "$dir/err" && fail "progress in a file"
cp "$dir/four" "$dir/in"

# Without a name it is, and is said to be, the demonstration model.
mkdir -p "$dir/tree/build/x"
cp "$dragoman" "$dir/tree/build/x/dragoman"
ln -s "$here/models" "$dir/tree/models"
env -u DGM_MODEL DGM_LOG_LEVEL=info "$dir/tree/build/x/dragoman" translate -s en -t de <"$dir/in" >"$dir/out" 2>"$dir/err" ||
    fail "without --model"
same "$dir/plain"
grep -q "no --model: using the demonstration model, $DGM_MODEL" "$dir/err" || fail "does not say which model"

# ---- stopped and started again ----
for _ in $(seq 40); do cat "$dir/four"; done >"$dir/long"
"$dragoman" translate -s eng_Latn -t deu_Latn -i "$dir/long" -o "$dir/whole" 2>"$dir/err" || fail "the long text"
for signal in TERM INT; do
    rm -f "$dir"/goes*
    # The input is a pipe that stays open behind the first lines, so the job cannot end before the signal.
    mkfifo "$dir/fifo"
    # A shell without job control lets its background jobs ignore INT; what the starter ignores, we ignore.
    env --default-signal=INT "$dragoman" translate -s eng_Latn -t deu_Latn -i "$dir/fifo" -o "$dir/goes" 2>"$dir/err" &
    pid=$!
    exec 9<>"$dir/fifo" # does not wait for a reader
    head -n 50 "$dir/long" >&9
    await_from $pid written 50 "$dir/goes.part" || fail "SIG$signal: 50 lines do not come before it"
    kill -s "$signal" $pid
    wait $pid
    got=$?
    exec 9>&-
    rm -f "$dir/fifo"
    case $signal in TERM) want=143 ;; INT) want=130 ;; esac
    [ "$got" -eq "$want" ] || fail "SIG$signal: exit code $got, not $want"
    [ ! -e "$dir/goes" ] || fail "SIG$signal: FILE is there although the text is not whole"
    head -n 50 "$dir/whole" | cmp -s - "$dir/goes.part" || fail "SIG$signal: FILE.part is not the first 50 lines"
    DGM_LOG_LEVEL=info "$dragoman" translate -s eng_Latn -t deu_Latn -i "$dir/long" -o "$dir/goes" 2>"$dir/err" || fail "going on"
    grep -q 'holds 50 lines: going on behind them' "$dir/err" || fail "going on: does not say so"
    grep -q 'end 160 lines, 110 sentences' "$dir/err" || fail "going on: lines were done twice"
    cmp -s "$dir/whole" "$dir/goes" || fail "SIG$signal: stopped and started again gives another file"
done

# The first signal lets lines in flight finish: a thousand, of 199 steps each, which take minutes. The second ends at once, before any of
# them is done. In flight they are when the program has computed for a while after the blank line, which it gives before them. Not under
# ThreadSanitizer, which hands a signal on when the program next calls the system, and it computes.
# ticks PID: hundredths of a second that it had a CPU. has_had PID TICKS: it has. heard PID: no SIGTERM waits for it.
ticks() { cut -d' ' -f14 "/proc/$1/stat"; }
# shellcheck disable=SC2317 # await_from calls it
has_had() { [ "$(ticks "$1")" -ge "$2" ]; }
# shellcheck disable=SC2317 # likewise
heard() { (($(sed -n 's/^ShdPnd:[[:space:]]*/0x/p' "/proc/$1/status") >> 14 & 1 ? 0 : 1)); }
computes() { await_from "$1" has_had "$1" $(($(ticks "$1") + 20)); }
if [ -z "${TSAN_OPTIONS:-}" ]; then
    { echo; several 8 "$dir/long"; } >"$dir/in"
    "$dragoman" translate -s eng_Latn -t deu_Latn --isa ref --threads 1 --batch-tokens 100000 --batch-rows 4096 --min-length 199 \
        -i "$dir/in" -o "$dir/twice" 2>"$dir/err" &
    pid=$!
    { await_from $pid written 1 "$dir/twice.part" && computes $pid; } || fail "two signals: the blank line does not come"
    kill -s TERM $pid
    { await_from $pid heard $pid && computes $pid; } || fail "one signal: gone at once"
    kill -s TERM $pid
    wait $pid
    got=$?
    [ "$got" -eq 143 ] || fail "two signals: exit code $got, not 143"
    written 1 "$dir/twice.part" || fail "two signals: FILE.part is gone, or lines in flight were waited for"
fi

echo "$checks runs"
exit $bad
