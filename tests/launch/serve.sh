#!/usr/bin/env bash
# `dragoman serve`: many clients at once get the bytes that translate gives, on 1, 2 and 4 ranks; bad peers are their own problem;
# drained, stopped or robbed of a rank it says so to all.
# usage: serve.sh DRAGOMAN_BINARY SERVE_CLIENT
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 client=$2
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=info DRAGOMAN=$dragoman
at=unix:$dir/socket
pid=''
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$dir"' EXIT

# starts COMMAND...: in the background, until it says that it computes.
starts() {
    : >"$dir/server.err" # the shell in the background empties it later than it is looked at
    "$@" >"$dir/server.out" 2>"$dir/server.err" &
    pid=$!
    await_from $pid says_so "$dir/server.err" 'start [0-9]* rank' && await_from $pid ready && return
    cp "$dir/server.err" "$dir/err"
    fail "the server does not start: $*"
    exit 1
}

# asked: it has lines to answer
asked() { ask statistics | grep -q 'queue_tokens [1-9]'; }

# ends CODE: the server is gone with it, and so is its socket.
ends() {
    local got
    wait "$pid"
    got=$?
    pid=''
    [ "$got" -eq "$1" ] || { cp "$dir/server.err" "$dir/err"; fail "the server ends with $got, not $1"; }
    [ ! -e "$dir/socket" ] || fail 'the socket is left behind'
}

ask() { timeout 500 "$client" "$at" "$@" 2>>"$dir/err"; }
ready() { [ "$(ask health)" = 'state 2' ]; }
# works: it has lines in the engine
works() { ask statistics | grep -q 'computing_segments [1-9]'; }

# refuses CODE PATTERN ARGS...: serve does not start, and says why.
refuses() {
    local code=$1 pattern=$2 got
    shift 2
    timeout 300 "$dragoman" serve "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "serve $*: exit code $got, not $code"
    grep -Eq -- "$pattern" "$dir/err" || fail "serve $*: does not say '$pattern'"
}

# says WANT GOT
says() { [ "$2" = "$1" ] || fail "want '$1', found '$2'"; }

# ---- what is asked for: three pairs, mixed ----
for lang in eng_Latn:deu_Latn deu_Latn:eng_Latn eng_Latn:fra_Latn; do
    src=${lang%:*} tgt=${lang#*:}
    for i in 1 2 3; do head -n 8 "$here/models/sample/pictures.$src.txt" | sed "s/^/$i /"; done >"$dir/$lang.in"
    echo >>"$dir/$lang.in"
    "$dragoman" translate -s "$src" -t "$tgt" -i "$dir/$lang.in" 2>"$dir/err" >"$dir/$lang.out" || fail "translate $lang"
    sed "s/^/$src	$tgt	/" "$dir/$lang.in" >"$dir/$lang.asked"
done
paste -d'\n' "$dir"/*.asked >"$dir/asked"
paste -d'\n' "$dir"/*.out >"$dir/want"

# same CONNECTIONS BATCH
same() {
    ask lines "$1" "$2" <"$dir/asked" >"$dir/got" || fail "$1 connections, $2 a request"
    cmp -s "$dir/got" "$dir/want" || fail "$1 connections, $2 a request: other text than translate"
}

page() { curl -s --max-time 300 "http://127.0.0.1:$port/$1"; }
starts "$dragoman" serve --listen "$at" --http 127.0.0.1:0
port=$(http_port "$dir/server.err")
[ "$(stat -c %a "$dir/socket")" = 600 ] || fail 'the socket is not its owner'\''s alone'
same 75 1
same 5 3
ask statistics >"$dir/counts"
says 'dragoman_cache_hits_total 72' "$(grep cache_hits "$dir/counts")" # all but the blank ones, once each
# English into German and French at once: encoded once; and the frame has the names of the page
grep -q 'dragoman_shared_tokens_total [1-9]' "$dir/counts" || fail 'what goes into two languages at once is encoded twice'
page metrics | sed -n 's/^\([a-z][^ ]*\) .*/\1/p' | sort >"$dir/names"
sed 's/ .*//' "$dir/counts" | sort | comm -23 - "$dir/names" >"$dir/err"
[ ! -s "$dir/err" ] || fail 'statistics that /metrics does not have, or calls otherwise'
says ok "$(page healthz)"
says ok "$(page readyz)"
page metrics | grep -q '^dragoman_segments_total{end="done"} [1-9]' || fail '/metrics does not count'
page metrics | grep -v '^#' | grep -Evq '^[a-z_]+(\{[^}]*\})? [0-9.e+-]+$' && fail '/metrics has a line that is none'
page else | grep -q 'want /metrics' || fail 'a page that there is not'

# ---- each line has a status ----
printf 'A man.\n\nb\xffd\na\0b\n' | ask status en de >"$dir/got"
says 'ok Ein Mann.' "$(sed -n 1p "$dir/got")"
says 'empty' "$(sed -n 2p "$dir/got")"
says 'bad_input byte 2 (0xff) is not UTF-8' "$(sed -n 3p "$dir/got")"
says 'bad_input byte 2 is NUL, want text' "$(sed -n 4p "$dir/got")"
long=$(for _ in $(seq 60); do printf 'A man in a red shirt and a woman in a blue dress walk with two dogs. '; done)
says 'split' "$(ask status en de <<<"$long" | cut -d' ' -f1)"
says 'too_long' "$(ask status en de split=3 <<<"$long" | cut -d' ' -f1)"
says 'truncated' "$(ask status en de max_length=5 <<<'A man rides a horse.' | cut -d' ' -f1)"
says 'timed_out' "$(ask status en de deadline_ms=1 <<<"Late: $long" | cut -d' ' -f1)"
[ "$(ask status en de n_best=3 <<<'A man.' | grep -o '|||' | wc -l)" -eq 2 ] || fail 'n_best=3 gives no three'
"$dragoman" translate -s en -t de --sampling-topk 5 --seed 7 <<<'Two dogs play.' >"$dir/out" 2>"$dir/err"
says "ok $(cat "$dir/out")" "$(ask status en de sampling_topk=5 seed=7 <<<'Two dogs play.')"
# ... and counts: what the tokeniser does not know, in the line, and in what the translation must begin with
counts() { ask counts en de "$@"; }
"$dragoman" tokenize -s en <<<'A ☃ man.' >"$dir/out" 2>"$dir/err"
grep -q '<unk>' "$dir/out" || fail 'the tokeniser knows a snowman'
says '0' "$(counts <<<'A man.' | cut -d' ' -f4)"
says '1 0' "$(counts <<<'A ☃ man.' | cut -d' ' -f2,4)"
says '0 2' "$(counts prefix='Ein ☃ und ein ☃' <<<'A man.' | cut -d' ' -f2,4)"
says '0 2 cached' "$(counts prefix='Ein ☃ und ein ☃' <<<'A man.' | cut -d' ' -f2,4-)"

# ---- errors of requests ----
says 'error language' "$(ask status en xx <<<'A man.' | cut -d: -f1)"
says 'error language: want a target language' "$(ask status en '' <<<'A man.')"
says 'error bad_request: beam_size: want 1 to 4, found 4000000000' "$(ask status en de beam_size=4000000000 <<<'A man.')"
says 'error bad_request: beam_size: want 1 to 4, found 9' "$(ask status en de beam_size=9 <<<'A man.')"
says 'error bad_request: n_best: want 1 to 4, found 5' "$(ask status en de n_best=5 <<<'A man.')"
says 'error bad_request: sampling_topk: want 0 to 1000000, found 1000001' "$(ask status en de sampling_topk=1000001 <<<'A man.')"
says 'error bad_request: beam_size, with sampling: want 1 to 1, found 2' "$(ask status en de beam_size=2 sampling_topk=5 <<<'A man.')"
says 'error unsupported: priority: this server knows 0 to 2, found 9' "$(ask status en de priority=9 <<<'A man.')"
says 'error unsupported: retry: this server knows 0 to 2, found 3' "$(ask status en de retry=3 <<<'A man.')"
says "bad_input prefix: byte 1 (0xff) is not UTF-8" "$(ask status en de prefix=$'\xff' <<<'A man.')"
says 'too_long prefix: too long: want at most 197 tokens, found 300' "$(ask status en de "prefix=$(printf 'Haus %.0s' $(seq 300))" <<<'A man.')"
says 'deu_Latn German' "$(ask languages | grep deu)"
says 202 "$(ask languages | wc -l)"

# ---- bad peers, while a good one works ----
hello='\x00\x00\x00\x04\x12\x02\x08\x01'
goes_on_asking() {
    local ended=''
    until [ -n "$ended" ]; do
        [ ! -e "$dir/no more of them" ] || ended=yes
        ask lines 4 2 <"$dir/asked" >"$dir/got" && cmp -s "$dir/got" "$dir/want" || return 1
    done
}
goes_on_asking &
good=$!
says $'error bad_frame: a frame has at most 4194304 bytes, this one says 4294967295 (closing)\nclosed' "$(printf '\377\377\377\377' | ask raw)"
says $'error bad_frame\nclosed' "$(head -c 65536 /dev/zero | tr '\0' '\1' | ask raw | cut -d: -f1)" # a length of 16 MiB
says $'error bad_request: want a hello first\nclosed' "$(printf '\0\0\0\6\10\1\62\2\10\1' | ask raw | sed 's/ (closing)//')"
# ... which cost the connection nothing once it is greeted: it is still asked for its health
health='\0\0\0\4\10\12\72\0'
says $'welcome\nerror bad_frame: want a Frame of dragoman.v1, found 3 other bytes\nhealth' "$(printf %b "$hello"'\x00\x00\x00\x03\xff\xff\xff'"$health" | ask raw 3)"
says $'welcome\nerror unsupported: a kind of frame that this server does not know\nerror unsupported: a kind of frame that this server does not know\nhealth' \
    "$(printf %b "$hello"'\x00\x00\x00\x05\x08\x00\xa2\x06\x00\x00\x00\x00\x00'"$health" | ask raw 4)" # number 100, with id 0; and none at all
says $'welcome\nerror bad_request: a frame that only servers send\nhealth' "$(printf %b "$hello"'\x00\x00\x00\x05\x92\x01\x02\x08\x09'"$health" | ask raw 3)"
says $'welcome\nerror bad_request: a second hello' "$(printf %b "$hello$hello" | ask raw 2)"
# a connection that ends at any byte of a request
request=$hello'\x00\x00\x00\x21\x08\x01\x1a\x1d\x0a\x02en\x12\x02de\x22\x13\x0a\x11A man with a dog.'
for n in $(seq 1 41); do printf %b "$request" | head -c "$n" | ask drop || fail "$n bytes of a request"; done
touch "$dir/no more of them"
wait $good || fail 'a good client beside bad ones'
says 'state 2' "$(ask health)"

# ---- no two servers at one address; a socket that a dead one left is replaced ----
refuses 2 'another server listens there' --listen "$at"
echo >"$dir/file"
refuses 2 'there is something that is no socket' --listen "unix:$dir/file"
refuses 2 'want unix:PATH or tcp:HOST:PORT, found' --listen "$dir/x"
refuses 2 "want unix:PATH or tcp:HOST:PORT, found ''\$" --listen ''
refuses 2 'want HOST:PORT' --listen tcp:localhost
refuses 2 'want HOST:PORT' --listen 'tcp:localhost: 80'
refuses 2 'http 127.0.0.1:\+1: want HOST:PORT' --listen "unix:$dir/x" --http 127.0.0.1:+1
[ ! -e "$dir/x" ] || fail 'a server that does not start leaves its socket'
refuses 2 'No such file or directory' --listen "unix:$dir/nowhere/x"
refuses 2 'is not on loopback, and lacks TLS .* and --tokens' --listen tcp:0.0.0.0:0
kill -KILL "$pid"
wait "$pid" 2>/dev/null
pid=''
[ -S "$dir/socket" ] || fail 'a killed server leaves no socket to replace'

# ---- two that start at once where a dead one left its socket: one serves, the other says that it does ----
answers() { ask health | grep -q '^state [12]$'; }
settled() { gone "$first" || gone "$second" || { says_so "$dir/first.err" 'listening on' && says_so "$dir/second.err" 'listening on'; }; }
for _ in $(seq 20); do
    : >"$dir/first.err"
    : >"$dir/second.err"
    "$dragoman" serve --listen "$at" 2>"$dir/first.err" &
    first=$!
    "$dragoman" serve --listen "$at" 2>"$dir/second.err" &
    second=$!
    await settled
    if gone $first; then pid=$second ended=first; else pid=$first ended=second; fi
    gone $first || gone $second || { kill -KILL $second; fail 'two that start at once both listen'; }
    wait "${!ended}"
    got=$?
    [ $got -eq 2 ] || fail "of two that start at once one ends with $got, not 2"
    if [ "$(grep -c '^dragoman: ' "$dir/$ended.err")" -ne 1 ] || ! grep -q '^dragoman: .*another server listens there$' "$dir/$ended.err"; then
        cp "$dir/$ended.err" "$dir/err"
        fail 'of two that start at once one does not say that the other listens'
    fi
    await_from $pid answers || fail 'of two that start at once none is there'
    kill -KILL $pid
    wait $pid 2>/dev/null
    pid=''
done

# ---- a signal while the model is read: the end at once, the socket goes, whoever connected hears of it ----
# ... of 140 MiB, which takes a moment; the process goes in steps of some ms, so that it is caught before it is done with it
"$dragoman" synth --like demo --d-model 256 --ffn 1024 --heads 8 -o "$dir/wide" >/dev/null 2>"$dir/err" || fail 'synth'
listening() { says_so "$dir/server.err" 'listening on'; }
# goes_a_step PID, steps_to_listening PID: it goes on for a moment; once the server listens it stands.
goes_a_step() {
    kill -CONT "$1"
    sleep 0.005
    halt "$1"
}
steps_to_listening() { goes_a_step "$1" && listening; }
# waits_to_be_taken: a client has connected, and the server does not move
waits_to_be_taken() { [ "$(grep -c " $dir/socket\$" /proc/net/unix)" -gt 1 ]; }
rm -f "$dir/socket"
caught=''
for _ in $(seq 20); do
    : >"$dir/server.err"
    "$dragoman" serve -m "$dir/wide" --listen "$at" 2>"$dir/server.err" &
    pid=$!
    await_from $pid steps_to_listening $pid
    grep -q 'start 1 rank' "$dir/server.err" || caught=yes
    [ -z "$caught" ] || break
    kill -KILL $pid
    wait $pid 2>/dev/null
done
[ -n "$caught" ] || fail 'a server is never caught while it reads its model'
printf %b "$hello" | ask raw >"$dir/heard" &
listener=$!
await_from $listener waits_to_be_taken
kill -TERM $pid
kill -CONT $pid
ends 143
wait $listener
says closed "$(tail -n 1 "$dir/heard")" # it may have been welcomed before
grep -q 'start 1 rank' "$dir/server.err" && fail 'a server that is to end while it reads its model reads it first'
memory() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status"; }
starts "$dragoman" serve --listen "$at" --cache-mib 0 --max-memory-mib 64 --write-ms 600000
same 3 7
same 1 1000

# ---- many who begin large frames, and a good one: memory has its limit, who holds most is let go, the good one does not notice ----
before=$(memory)
mkfifo "$dir/hold"
"$client" "$at" flood 120 3000000 <"$dir/hold" >"$dir/flood" 2>"$dir/err" &
flood=$!
exec 9>"$dir/hold"
same 3 7
await_from $flood says_so "$dir/flood" closed
same 3 7
read -r _ closed _ busy <"$dir/flood"
[[ ${closed:-0} -ge 90 && $closed -lt 110 && $busy -ge 80 ]] || { cp "$dir/flood" "$dir/err"; fail '120 frames of 3 MB in 64 MiB: want about 100 closed, and told so'; }
[ $(($(memory) - before)) -lt 100000 ] || fail "large frames that do not end cost $(($(memory) - before)) kB"
grep -q 'is closed: the memory for clients is full: want at most 64 MiB (--max-memory-mib), and this connection held most: [23] MiB' "$dir/server.err" ||
    fail 'who is let go for memory is not in the log'
exec 9>&-
wait $flood
# who may not send it a signal may not drain it, though the socket be open to all
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chmod 755 "$dir"
    chmod 666 "$dir/socket"
    says 'error forbidden: drain: want a client on the Unix socket, of the server'\''s user or root' "$(timeout 300 setpriv --reuid 65534 --clear-groups "$client" "$at" drain 2>&1)"
fi
# its socket was removed, and another server is there: that one's stays when this one ends, which clients hear of
mkfifo "$dir/news"
ask raw <"$dir/news" >"$dir/heard" &
listener=$!
exec 8>"$dir/news"
printf %b "$hello" >&8
two() { ask statistics | grep -q 'dragoman_connections 2$'; }
await_from $listener two || fail 'a client does not get in'
rm "$dir/socket"
first=$pid
starts "$dragoman" serve --listen "$at" --threads 1 8>&-
kill -TERM "$first"
wait "$first"
exec 8>&-
wait $listener
says $'welcome\nhealth\nclosed' "$(cat "$dir/heard")"
says 'state 3' "$(ask drain)"
ends 0

# ---- peers that are slow: they are let go, and cost no memory ----
starts "$dragoman" serve --listen "$at" --write-ms 500 --idle-ms 1500
printf '' >"$dir/in"
(sleep 6) | ask raw >"$dir/mute" &
mute=$!
(printf %b "$hello"; sleep 3) | ask raw >"$dir/idle" &
idle=$!
(printf %b "$hello"'\x00\x00'; sleep 3) | ask raw >"$dir/half" &
half=$!
before=$(memory)
deaf=()
for i in 1 2 3; do
    ask deaf >"$dir/deaf.$i" &
    deaf+=($!)
done
wait "${deaf[@]}"
[ "$(cat "$dir"/deaf.?)" = $'closed\nclosed\nclosed' ] || fail 'one that does not read is not hung up on'
[ "$(grep -c 'it took no byte for 500 ms' "$dir/server.err")" -eq 3 ] || fail 'three that do not read are not let go'
[ $(($(memory) - before)) -lt 40000 ] || fail "those that do not read cost $(($(memory) - before)) kB"
wait $mute $idle $half
says $'error time_out: no hello in time (retry) (closing)\nclosed' "$(cat "$dir/mute")"
says $'welcome\nerror time_out: idle for too long (retry) (closing)\nclosed' "$(cat "$dir/idle")"
says $'welcome\nerror time_out: a frame that was begun was not ended in time (retry) (closing)\nclosed' "$(cat "$dir/half")"
for options in '--token-scores' '--alignment --split always' '--n-best 3 --with-score' '--sampling-topp 0.000001'; do
    # shellcheck disable=SC2086 # several
    "$dragoman" client --connect "$at" -s en -t de $options -i "$dir/eng_Latn:deu_Latn.in" >"$dir/got" 2>"$dir/err" || fail "client $options"
    # shellcheck disable=SC2086
    "$dragoman" translate -s en -t de $options -i "$dir/eng_Latn:deu_Latn.in" >"$dir/out" 2>"$dir/err"
    cmp -s "$dir/got" "$dir/out" || fail "client $options: other text than translate"
done
ask drain >"$dir/got"
ends 0

# ---- TCP on loopback; busy; too many ----
starts "$dragoman" serve --listen "$at" --listen tcp:127.0.0.1:0 --max-queue-tokens 200 --max-connections 3
at=tcp:127.0.0.1:$(tcp_port "$dir/server.err")
refuses 2 'address already in use' --listen "$at"
says 'error forbidden: drain: want a client on the Unix socket, of the server'\''s user or root' "$(ask drain)"
head -n 20 "$dir/asked" >"$dir/few"
timeout 300 "$client" "$at" lines 1 20 <"$dir/few" >"$dir/got" 2>"$dir/err" || fail 'a request larger than the queue, alone'
timeout 300 "$client" "$at" lines 1 8 <"$dir/asked" >/dev/null 2>"$dir/err2"
grep -q 'the queue is full' "$dir/err2" || fail 'a full queue does not say so'
alone() { ask statistics | grep -q 'dragoman_connections 1$'; }
await alone # those before have left
"$client" "$at" hold 3 <"$dir/hold" >"$dir/held" 2>/dev/null &
holder=$!
exec 9>"$dir/hold"
await_from $holder says_so "$dir/held" held
timeout 300 "$client" "$at" health >/dev/null 2>"$dir/err2"
grep -q 'too many connections: want at most 3' "$dir/err2" || fail 'a fourth connection'
timeout 300 "$dragoman" client --connect "$at" health >/dev/null 2>"$dir/err2" # for a probe it is alive
[ $? -eq 8 ] || fail 'client health of a server without room: not exit code 8'
exec 9>&-
wait $holder
kill -TERM $pid
ends 143

# ---- drained by a signal: what was taken is answered ----
at=unix:$dir/socket
for i in $(seq 40); do sed "s/	\([^	]*\)\$/	$i \1/" "$dir/asked"; done >"$dir/many"
# more than anybody waits for: who asks for it keeps a server at work until he hangs up, on whatever machine
awk -F '\t' '{ printf "%s\t%s\t", $1, $2; for (i = 0; i < 8; i++) printf "%d %s ", 8 * NR + i, $3; print "" }' <(head -n 1000 "$dir/many") >"$dir/endless"
# keeps_at_work N: from when the server has taken so many lines in all, until is_enough
admitted() { [ "$(ask statistics | sed -n 's/^dragoman_segments_admitted_total //p')" -ge "$1" ]; }
keeps_at_work() {
    "$client" "$at" lines 1 500 <"$dir/endless" >/dev/null 2>"$dir/endless.err" &
    endless=$!
    await_from $endless admitted "$1" || { cp "$dir/endless.err" "$dir/err"; fail 'lines are not taken'; }
}
is_enough() {
    kill $endless || { cp "$dir/endless.err" "$dir/err"; fail 'a server was done before it was looked at'; }
    wait $endless 2>/dev/null
}
starts "$dragoman" serve --listen "$at" --cache-mib 0 --drain-ms 600000
# one line beside a thousand does not wait for them
keeps_at_work 1000
says 'ok Ein Mann.' "$(ask status en de <<<'A man.')"
ask statistics | grep -q 'queue_segments [1-9][0-9]' || fail 'one line waits for a thousand'
is_enough
head -n 1800 "$dir/many" | ask lines 1 600 >"$dir/got" &
good=$!
keeps_at_work 3801 # 1000, one, and with the 1800 another 1000
kill -TERM $pid
await says_so "$dir/server.err" draining
says 'error draining: the server is draining: it takes nothing new (retry)' "$(ask status en de <<<'A man.')"
is_enough
ends 143
wait $good || fail 'a drained server does not answer all'
[ "$(wc -l <"$dir/got")" -eq 1800 ] || fail 'a drained server lost lines'
sed -n 's/.* end \([0-9]*\) lines done, \([0-9]*\) cancelled, 0 timed out, 0 failed,.*/\1 \2/p' "$dir/server.err" >"$dir/counts"
read -r answered cancelled <"$dir/counts" # cancelled are those of who hung up
[[ ${answered:-0} -ge 1801 && $((answered + cancelled)) -eq 3801 ]] || { cp "$dir/counts" "$dir/err"; fail 'a drained server counts lost lines'; }

# ... and those for which there is no time are told to come again
starts "$dragoman" serve --listen "$at" --drain-ms 0
head -n 500 "$dir/endless" | timeout 300 "$client" "$at" lines 1 500 >/dev/null 2>"$dir/err2" &
good=$!
await_from $good works
kill -TERM $pid
wait $good
grep -q 'the server ended before the line was done: ask again elsewhere' "$dir/err2" || fail 'lines in work are not told'
ends 143

# ---- ranks ----
if ! command -v mpirun >/dev/null; then
    echo 'SKIP serve: ranks: mpirun is not installed'
    exit $bad
fi
for ranks in 2 4; do
    starts "$here/launch/dragoman-mpirun" -n $ranks serve --listen "$at" --cache-mib 0
    same 1 1000
    same 20 2
    says 'timed_out' "$(ask status en de deadline_ms=1 <<<"$long" | cut -d' ' -f1)"
    says 'state 3' "$(ask drain)"
    ends 0
done

# a signal while the model is read: the end at once. A rank that is stopped keeps the others waiting there.
held=''
a_second() { [ -n "$(rank_pid 1 "$at")" ]; }
reads_or_starts() { says_so "$dir/server.err" 'rank 0 waits for rank 1 .* in load|start 2 ranks'; }
# steps_to_reading PID: the others may wait for it before that; where, they say after 100 ms
steps_to_reading() {
    for _ in $(seq 20); do
        reads_or_starts && return
        sleep 0.02
    done
    goes_a_step "$1"
    return 1
}
for _ in $(seq 20); do
    : >"$dir/server.err"
    "$here/launch/dragoman-mpirun" -n 2 serve -m "$dir/wide" --listen "$at" --comm-stall-ms 100 2>"$dir/server.err" &
    pid=$!
    await_from $pid a_second
    stopped=$(rank_pid 1 "$at")
    await_from $pid steps_to_listening "$stopped"
    await_from $pid steps_to_reading "$stopped"
    grep -q 'start 2 ranks' "$dir/server.err" || held=yes
    [ -z "$held" ] || break
    kill -KILL "$stopped"
    wait $pid
done
[ -n "$held" ] || fail 'ranks are never caught while they read their model'
kill -TERM $pid
ends 143
await gone "$stopped" || fail 'a rank is left behind'
grep -q 'was lost' "$dir/server.err" && { cp "$dir/server.err" "$dir/err"; fail 'ranks that are to end while they read their model say that one was lost'; }

# ... and a process that is a job of one rank, which nobody launched, has no guard between it and its signals
starts "$dragoman" serve --comm mpi --listen "$at"
kill -TERM $pid
ends 143

# an idle server: whoever waits for its next plan warns of nothing, however little silence is allowed
quiet=''
steps() { page metrics | awk '$1 == "dragoman_engine_steps_total" { print $2 }'; }
stepped() { [ "$(steps)" -gt $((before + 5)) ]; }
starts "$here/launch/dragoman-mpirun" -n 2 serve --listen "$at" --http 127.0.0.1:0 --comm-stall-ms 480
port=$(http_port "$dir/server.err")
for _ in $(seq 20); do # a machine that is busy may keep a rank silent for so long, but not each time
    before=$(steps)
    warnings=$(grep -c 'waits for rank' "$dir/server.err")
    await_from $pid stepped
    [ "$(grep -c 'waits for rank' "$dir/server.err")" -gt "$warnings" ] || { quiet=yes; break; }
done
[ -n "$quiet" ] || { cp "$dir/server.err" "$dir/err"; fail 'ranks of an idle server warn of each other'; }
kill -TERM $pid
ends 143

# a rank that is stopped in the middle: log, /readyz and health name it and the place; when it goes on, so does everything
printf 'me:%s\n' "$(printf secret | sha256sum | cut -d' ' -f1)" >"$dir/tokens"
starts "$here/launch/dragoman-mpirun" -n 2 serve --listen "$at" --cache-mib 0 --http 127.0.0.1:0 --comm-stall-ms 3500 --idle-ms 3000
port=$(http_port "$dir/server.err")
head -n 900 "$dir/many" >"$dir/part"
ask lines 1 600 <"$dir/part" >"$dir/got" &
good=$!
await_from $good works
stopped=$(rank_pid 1 "$at")
kill -STOP "$stopped"
mkfifo "$dir/lines"
ask status en de <"$dir/lines" >"$dir/patient" &
patient=$!
exec 7>"$dir/lines"
echo 'A man.' >&7
stall='rank 0 waits for rank 1 \(host [^ ]*\) since [0-9.]+ s in (encode|decode|report|plan)(, layer [0-9]+)? \([a-z]+\): its process is stopped'
await says_so "$dir/server.err" "$stall" || { cp "$dir/server.err" "$dir/err"; fail 'a stopped rank: the log does not say who waits for whom, and where'; }
says ok "$(page healthz)"
page readyz | grep -Eqx "stalled: $stall" || { page readyz >"$dir/err"; fail 'a stopped rank: /readyz does not say so'; }
[ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 300 "http://127.0.0.1:$port/readyz")" = 503 ] || fail 'a stopped rank: /readyz is not 503'
says 'state 4' "$(ask health)"
page metrics | grep -qx 'dragoman_stalled 1' || fail 'a stopped rank: /metrics'
kill -CONT "$stopped"
goes_on() { [ "$(page readyz)" = ok ]; }
await goes_on
says ok "$(page readyz)"
grep -q 'rank 0 waits no longer' "$dir/server.err" || fail 'a rank that goes on: the log does not say so'
# work is no idleness: who waited for longer than --idle-ms may ask again
await_from $patient says_so "$dir/patient" '^ok '
sleep 0.6 # the server looks every quarter of a second who is idle
echo 'Two dogs play.' >&7
exec 7>&-
wait $patient
says 2 "$(grep -c '^ok ' "$dir/patient")"
wait $good || fail 'a rank that goes on: lines are lost'
[ "$(wc -l <"$dir/got")" -eq 900 ] || fail 'a rank that goes on: lines are missing'
page metrics >"$dir/metrics"
awk -f "$here/tests/launch/prometheus.awk" "$dir/metrics" >"$dir/err" 2>&1 || fail 'ranks: /metrics is not as Prometheus wants it'
for sample in 'exchange_sent_bytes_total{rank="1"}' 'exchange_received_bytes_total{rank="1"}' 'rank_wait_seconds_total{rank="0"}' 'resident_memory_bytes{rank="1"}' \
    exchange_wait_seconds_count 'decoded_rows_total{rank="1"}'; do
    awk -v s="dragoman_$sample" '$1 == s && $2 > 0 { found = 1 } END { exit !found }' "$dir/metrics" || fail "ranks: no dragoman_$sample"
done
awk '$1 == "dragoman_rank_imbalance_ratio{stack=\"decoder\"}" { exit !($2 >= 1 && $2 <= 2) }' "$dir/metrics" || fail 'ranks: imbalance'
# a signal in the middle of a step: nothing new is taken from then on, however long the step is
kill -STOP "$stopped"
ask status en de <<<'Three dogs play.' >"$dir/got" &
good=$!
await_from $good asked || fail 'a line is not asked for'
kill -TERM "$(rank_pid 0 "$at")"
await says_so "$dir/server.err" 'draining: nothing new is taken' || fail 'a signal in the middle of a step is not heeded'
says 'error draining: the server is draining: it takes nothing new (retry)' "$(ask status en de <<<'Four dogs play.')"
kill -CONT "$stopped"
wait $good
says 'ok' "$(cut -d' ' -f1 "$dir/got")"
ends 143

# SIGHUP to dragoman-mpirun reads tokens again; without any it is the end
starts_with_token() {
    : >"$dir/server.err"
    "$here/launch/dragoman-mpirun" -n 2 serve --listen "$at" --tokens "$dir/tokens" 2>"$dir/server.err" &
    pid=$!
    await says_so "$dir/server.err" 'start 2 ranks' && return
    cp "$dir/server.err" "$dir/err"
    fail 'a server with tokens on 2 ranks does not start'
}
starts_with_token
kill -HUP $pid
await says_so "$dir/server.err" 'SIGHUP: 1 tokens read again' || { cp "$dir/server.err" "$dir/err"; fail 'SIGHUP to dragoman-mpirun: tokens are not read again'; }
kill -TERM $pid
ends 143

# a rank that is lost: each request is answered with an error that says retry
starts "$here/launch/dragoman-mpirun" -n 2 serve --listen "$at"
timeout 300 "$client" "$at" lines 4 100 <"$dir/endless" >/dev/null 2>"$dir/err2" &
good=$!
await_from $good works
kill -KILL "$(rank_pid 1 "$at")"
wait $good && fail 'a client does not hear that a rank was lost'
grep -q 'rank 1 .*was lost' "$dir/err2" || { cp "$dir/err2" "$dir/err"; fail 'a lost rank: the client is told something else'; }
ends 6
exit $bad
