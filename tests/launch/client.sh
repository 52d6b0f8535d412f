#!/usr/bin/env bash
# `dragoman client` against a server that only echoes, and drops, refuses and dawdles on demand.
# usage: client.sh DRAGOMAN_BINARY FAKE_SERVER_BINARY
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 fake=$2
export DGM_LOG_LEVEL=info
sock=$dir/s.sock server=

# serve KEY=N...: starts the server; stop_server writes what it counted to $dir/counts.
serve() {
    "$fake" "$sock" "$@" >"$dir/counts" &
    server=$!
    await_from "$server" a_socket "$sock" || fail "the server did not start"
}
stop_server() {
    kill "$server" && wait "$server"
    grep -q 'overdrawn 0 bad_ids 0' "$dir/counts" || fail "not as the protocol wants: $(cat "$dir/counts")"
}

# runs CODE ARGS...: from $dir/in into $dir/out.
runs() {
    local code=$1 got
    shift
    "$dragoman" client --connect "unix:$sock" -s eng_Latn -t deu_Latn "$@" <"$dir/in" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "client $*: exit code $got, not $code"
}
same() {
    cmp -s "$1" "${2:-$dir/out}" || fail "other output than $(basename "$1")"
}
says() {
    grep -qF -- "$1" "$dir/err" || fail "does not say: $1"
}

# ---- every option of translate, but for those that are the server's (docs/serving.md) ----
options() { "$dragoman" "$1" --help | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort; }
not_here=$(comm -23 <(options translate) <(options client) | tr '\n' ' ')
[ "$not_here" = '--batch-rows --batch-tokens --comm --comm-deadline-ms --comm-stall-ms --compute --dense-ranks --device --dropless --isa --keep --keep-missing --kv '\
'--max-input-length --model --overlap --record-stats --source-order --task-ranks --threads --verify --vmap ' ] || fail "options that translate has and client lacks: $not_here"

seq 9000 | sed 's/$/ sheep/' >"$dir/many"
sed 's/^/deu_Latn:/' "$dir/many" >"$dir/many.want"

# ---- a filter ----
serve
printf 'one\n \n\nbad \xff\nlast' >"$dir/in"
runs 1 --report "$dir/report"
printf 'deu_Latn:one\n\n\n\ndeu_Latn:last\n' >"$dir/want"
same "$dir/want"
says 'standard input line 4: byte 5 (0xff) is not UTF-8'
[ "$(jq -r .status "$dir/report" | tr '\n' ' ')" = 'ok empty empty bad_input ok ' ] || fail "report: $(cat "$dir/report")"
runs 4 --strict
printf 'deu_Latn:one\n\n\n' >"$dir/want"
same "$dir/want"
cp "$dir/many" "$dir/in"
runs 0
same "$dir/many.want"
head -n 2 "$dir/many" >"$dir/in"
runs 0 --with-score
[ "$(head -n 1 "$dir/out")" = '-1.000000 ||| deu_Latn:1 sheep' ] || fail "--with-score: $(head -n 1 "$dir/out")"
runs 0 --format marian
[ "$(tail -n 1 "$dir/out")" = '1 ||| deu_Latn:2 sheep ||| -1.000000' ] || fail "--format marian: $(tail -n 1 "$dir/out")"
runs 0 --n-best 2
[ "$(wc -l <"$dir/out")" -eq 4 ] || fail "--n-best 2 gives $(wc -l <"$dir/out") lines"
printf 'Eins\nZwei\n' >"$dir/prefix"
runs 0 --target-prefix "$dir/prefix"
[ "$(tail -n 1 "$dir/out")" = 'deu_Latn:Zwei 2 sheep' ] || fail "--target-prefix: $(cat "$dir/out")"
printf 'Eins\n' >"$dir/prefix"
runs 4 --target-prefix "$dir/prefix"
says 'want as many lines as standard input, found only 1'
: >"$dir/in"
runs 0
[ ! -s "$dir/out" ] || fail "output without input"
# several targets: in one output each line says its language, by the code that the server has for it
printf 'one\n\ntwo\n' >"$dir/in"
runs 0 -t de,ces_Latn
printf '%s\t%s\n' deu_Latn deu_Latn:one ces_Latn ces_Latn:one deu_Latn '' ces_Latn '' deu_Latn deu_Latn:two ces_Latn ces_Latn:two >"$dir/want"
same "$dir/want"
runs 0 -t de,ces_Latn -o "$dir/to.{lang}" --report "$dir/report"
[ "$(cat "$dir/to.deu_Latn")" = $'deu_Latn:one\n\ndeu_Latn:two' ] || fail "{lang}: $(cat "$dir/to.deu_Latn")"
[ "$(cat "$dir/to.ces_Latn")" = $'ces_Latn:one\n\nces_Latn:two' ] || fail "{lang}: $(cat "$dir/to.ces_Latn")"
[ "$(jq -r '"\(.line) \(.target) \(.status)"' "$dir/report" | tr '\n' ' ')" = \
    '1 deu_Latn ok 1 ces_Latn ok 2 deu_Latn empty 2 ces_Latn empty 3 deu_Latn ok 3 ces_Latn ok ' ] || fail "report: $(cat "$dir/report")"
runs 2 -t de,deu_Latn
says '--tgt-lang: deu_Latn is there twice'
runs 2 -t de,
says 'want language codes between commas, found none'
"$dragoman" client --connect "unix:$sock" health >"$dir/out" 2>"$dir/err" || fail "client health"
grep -qx ready "$dir/out" || fail "health: $(cat "$dir/out")"
"$dragoman" client --connect "unix:$sock" languages 2>"$dir/err" | grep -q '^deu_Latn	German	target' || fail "client languages"
"$dragoman" client --connect "unix:$sock" drain 2>"$dir/err"
[ $? -eq 2 ] || fail "drain that the server does not know"
stop_server

# ---- health: for scripts and probes, by the exit code ----
for state in 1:starting:8 2:ready:0 3:draining:8 4:stalled:6; do
    IFS=: read -r number word code <<<"$state"
    serve state="$number"
    timeout 300 "$dragoman" client --connect "unix:$sock" health >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got:$(head -n 1 "$dir/out")" = "$code:$word" ] || fail "health: want $word and exit code $code, found $got, $(cat "$dir/out")"
    stop_server
done
timeout 300 "$dragoman" client --connect "unix:$sock" health >"$dir/out" 2>"$dir/err"
[ $? -eq 6 ] || fail "health of no server: not exit code 6"
says '(after 1 attempts)' # at once

# ---- a line that is typed is answered at once ----
serve
mkfifo "$dir/typed"
: >"$dir/out"
"$dragoman" client --connect "unix:$sock" -s en -t de <"$dir/typed" >"$dir/out" 2>"$dir/err" &
client=$!
exec 5>"$dir/typed"
echo one >&5
await_from "$client" filled "$dir/out"
[ "$(cat "$dir/out")" = 'deu_Latn:one' ] || fail "a typed line: '$(cat "$dir/out")'"
exec 5>&-
wait $client || fail "typed: exit code $?"
stop_server

# ---- connections that are lost, a server that is busy ----
cp "$dir/many" "$dir/in"
serve drop_after=1111 drops=7 busy=2 lost_ranks=3
runs 0
same "$dir/many.want"
stop_server
grep -q 'connections 8 ' "$dir/counts" || fail "$(cat "$dir/counts")"

# ---- a signal while nobody is there: what is in flight cannot be finished, and is not waited for ----
serve credits=16 pause_us=150
"$dragoman" client --connect "unix:$sock" --attempts 0 -s eng_Latn -t deu_Latn -i "$dir/many" -o "$dir/left" 2>"$dir/err" &
client=$!
await_from "$client" filled "$dir/left.part"
kill -KILL "$server"
wait "$server" 2>/dev/null
await_from "$client" says_so "$dir/err" 'warn 0/1 client unix:.*; trying again' || fail 'a lost connection is not told'
kill -TERM $client
await gone $client || fail 'SIGTERM while nobody is there: it goes on'
wait $client
[ $? -eq 143 ] || fail "SIGTERM while nobody is there: not exit code 143"
says 'the same command goes on from there'
"$dragoman" client --connect "unix:$sock" --attempts 0 languages >"$dir/out" 2>"$dir/err" &
client=$!
sleep 0.2 # it may be asking already, or not yet
kill -TERM $client
await gone $client || fail 'SIGTERM to a question that nobody answers: it goes on'
serve
"$dragoman" client --connect "unix:$sock" -s eng_Latn -t deu_Latn -i "$dir/many" -o "$dir/left" 2>"$dir/err" || fail "after SIGTERM while nobody was there: $?"
same "$dir/many.want" "$dir/left"
stop_server

# ---- the server's last word, which says closing: what it was asked before is answered, and written ----
head -n 30 "$dir/many" >"$dir/in"
head -n 10 "$dir/many.want" >"$dir/want"
for out in '' "$dir/parted"; do
    serve closes=2 credits=10
    runs 2 ${out:+-o "$out"}
    same "$dir/want" "${out:+$out.part}"
    says 'the server says: this is the last word'
    stop_server
done
serve closes=14 credits=10 # and one that may be otherwise next time: nothing is asked twice
runs 0 -o "$dir/parted"
says 'holds 10 lines: going on behind them'
same <(head -n 30 "$dir/many.want") "$dir/parted"
stop_server
grep -q 'connections 2 segments 20 ' "$dir/counts" || fail "$(cat "$dir/counts")"

# ---- killed in the middle, and started again: each line once ----
# gated KEY=N...: a server that answers as many lines as `lets N` say, and then waits: whoever wants more is not done before it is killed
gate=$dir/gate
gated() {
    rm -f "$gate"
    mkfifo "$gate"
    exec 6<>"$gate"
    serve credits=16 gate="$gate" "$@"
}
lets() { head -c "$1" /dev/zero >&6; }
gated
runs_to=$dir/file
grown() { [ "$(stat -c %s "$runs_to.part" 2>/dev/null || echo 0)" -gt $((had + 8000)) ]; }
for kills in 1 2 3; do
    "$dragoman" client --connect "unix:$sock" -s eng_Latn -t deu_Latn -i "$dir/many" -o "$runs_to" 2>>"$dir/kills" &
    client=$!
    had=$(stat -c %s "$runs_to.part" 2>/dev/null || echo 0)
    lets 2000
    await_from "$client" grown || fail "it does not come on"
    if [ $kills -eq 3 ]; then
        sleep 1.1 # with what comes after a second it saves its state
        had=$(stat -c %s "$runs_to.part")
        lets 500
        await_from "$client" grown || fail "it does not go on"
    fi
    kill -KILL $client 2>/dev/null || fail "it was done before it could be killed"
    wait $client 2>/dev/null
    [ -s "$runs_to.part" ] || fail "nothing in FILE.part when it was killed"
done
lets 20000
"$dragoman" client --connect "unix:$sock" -s eng_Latn -t deu_Latn -i "$dir/many" -o "$runs_to" 2>>"$dir/kills" || fail "the last run: $?"
same "$dir/many.want" "$runs_to"
grep -Eq 'holds [0-9]{4} lines: going on behind them' "$dir/kills" || fail "the last run does not go on where its state was"
[ -z "$(ls "$runs_to".part* 2>/dev/null)" ] || fail "FILE.part stays"
stop_server

# ---- the same at random moments, with several targets and a report ----
head -n 2500 "$dir/many" >"$dir/in"
for lang in deu_Latn ces_Latn; do sed "s/^/$lang:/" "$dir/in" >"$dir/want.$lang"; done
several=(client --connect "unix:$sock" -s eng_Latn -t "deu_Latn,ces_Latn" -i "$dir/in" -o "$dir/to.{lang}" --report "$dir/told")
rm -f "$dir/to".*
gated pause_us=150
for _ in 1 2 3 4 5; do
    lets 900
    "$dragoman" "${several[@]}" 2>>"$dir/kills" &
    client=$!
    sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
    kill -KILL $client 2>/dev/null || fail "several targets: it was done before it could be killed"
    wait $client 2>/dev/null
done
lets 20000
"$dragoman" "${several[@]}" 2>"$dir/err" || fail "several targets, the last run: $?"
for lang in deu_Latn ces_Latn; do same "$dir/want.$lang" "$dir/to.$lang"; done
awk '{ print int((NR + 1) / 2) }' <(seq 5000) >"$dir/want"
same "$dir/want" <(jq .line "$dir/told")
[ -z "$(ls "$dir"/*.part* 2>/dev/null)" ] || fail "several targets: FILE.part stays"
stop_server

# ---- a signal: what is in flight is finished ----
gated
lets 500
"$dragoman" client --connect "unix:$sock" -s eng_Latn -t deu_Latn -i "$dir/many" -o "$dir/stopped" 2>"$dir/err" &
client=$!
await_from "$client" filled "$dir/stopped.part"
kill -TERM $client
lets 1000
wait $client
[ $? -eq 143 ] || fail "SIGTERM: not exit code 143"
says 'the same command goes on from there'
n=$(wc -l <"$dir/stopped.part")
cmp -s "$dir/stopped.part" <(head -n "$n" "$dir/many.want") || fail "SIGTERM: FILE.part is no beginning"
lets 20000
"$dragoman" client --connect "unix:$sock" -s eng_Latn -t deu_Latn -i "$dir/many" -o "$dir/stopped" 2>"$dir/err" || fail "after SIGTERM: $?"
says "holds $n lines: going on behind them"
same "$dir/many.want" "$dir/stopped"
stop_server

# ---- what cannot be ----
cp "$dir/many" "$dir/in"
serve token=right refused='1 sheep'
runs 2
says 'the server says: this token is not known'
echo right >"$dir/token"
runs 2 --token-file "$dir/token" # a language that the server refuses
says 'the server says: no such language'
stop_server
runs 6 --attempts 2
says 'No such file or directory (after 2 attempts)'
serve lost_ranks=1000000
runs 6
says 'the server says: a rank was lost'
stop_server
"$dragoman" client -s en -t de </dev/null 2>"$dir/err"
[ $? -eq 2 ] || fail "client without --connect"
says 'want --connect unix:PATH or tcp:HOST:PORT'
"$dragoman" client --connect nowhere -s en -t de </dev/null 2>"$dir/err"
[ $? -eq 2 ] || fail "client --connect nowhere"
says "want unix:PATH or tcp:HOST:PORT, found 'nowhere'"
exit $bad
