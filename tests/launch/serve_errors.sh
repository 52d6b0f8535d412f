#!/usr/bin/env bash
# Every error code of the protocol, provoked once at a real server; and a server that runs out of file descriptors.
# usage: serve_errors.sh DRAGOMAN_BINARY SERVE_CLIENT
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 client=$2
command -v protoc >/dev/null || { echo 'SKIP serve_errors: protoc is not installed'; exit 77; }
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=info
sock=$dir/s at=unix:$dir/s
pid=''
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$dir"' EXIT

# Codes that cannot be provoked here, and why. One that can is taken off, or the test fails.
declare -A excused=()

ready() { [ "$(timeout 300 "$client" "$at" health 2>/dev/null)" = 'state 2' ]; }
# asked: it has lines to answer
asked() { timeout 300 "$client" "$at" statistics 2>/dev/null | grep -q 'dragoman_queue_tokens [1-9]'; }
# starts COMMAND...: in the background, until it is ready.
starts() {
    "$@" >"$dir/server.out" 2>"$dir/server.err" &
    pid=$!
    await_from $pid ready && return
    cp "$dir/server.err" "$dir/err"
    fail "the server does not start: $*"
    exit 1
}
stops() {
    kill -TERM $pid
    wait $pid
    pid=''
}

# frame TEXT: one frame, written as protobuf's text format.
frame() {
    protoc --encode=dragoman.v1.Frame "-I$here/proto" dragoman.proto <<<"$1" >"$dir/body" || fail "no frame: $1"
    printf %b "$(printf %08x "$(wc -c <"$dir/body")" | sed 's/../\\x&/g')"
    cat "$dir/body"
}
hello='hello { version: 1 client: "errors" }'
segment='segments { text: "A man." }'
ask='src: "en" tgt: "de"'

declare -A seen=()
# provokes CODE N FRAME...: among the first N frames that come back is an error, or a failed line, of that code. They are sent in one
# go, so that what is said to come while others are in work does.
provokes() {
    local code=$1 n=$2
    shift 2
    for f in "$@"; do frame "$f"; done >"$dir/frames"
    timeout 300 "$client" "$at" raw "$n" <"$dir/frames" >"$dir/got" 2>"$dir/err"
    saw "$code"
}
saw() {
    if grep -Eq "^(error $1:|failed $1 )" "$dir/got"; then
        seen[$1]=1
    else
        cp "$dir/got" "$dir/err"
        fail "$1: not provoked"
    fi
}

# holds N: so many clients get in, and stay until `leave`
mkfifo "$dir/hold"
holds() {
    await get_in "$1" || fail "$1 clients do not get in"
}
get_in() { # the server may not have seen yet that those before have gone
    : >"$dir/held"
    "$client" "$at" hold "$1" <"$dir/hold" >"$dir/held" 2>"$dir/err" &
    holder=$!
    exec 9>"$dir/hold"
    await_from "$holder" says_so "$dir/held" held && return
    leave
    return 1
}
leave() {
    exec 9>&-
    wait "$holder"
}

starts "$dragoman" serve --listen "$at" --max-in-flight 2 --max-connections 2
provokes version 1 'hello { version: 0 }'
printf '\0\0\0\3\377\377\377' | timeout 300 "$client" "$at" raw 1 >"$dir/got" 2>"$dir/err"
saw bad_frame
provokes bad_request 2 "$hello" "id: 1 translate { $ask }"
provokes language 2 "$hello" "id: 1 translate { src: \"en\" tgt: \"xx\" $segment }"
# ... and its credits come back: there are two
provokes language 4 "$hello" "id: 1 translate { src: \"en\" tgt: \"xx\" $segment }" "id: 2 translate { src: \"en\" tgt: \"xx\" $segment }" "id: 3 translate { src: \"en\" tgt: \"xx\" $segment }"
[ "$(grep -c '^error language' "$dir/got")" -eq 3 ] || { cp "$dir/got" "$dir/err"; fail 'credits of what was refused do not come back'; }
provokes id 3 "$hello" 'id: 7 health_request {}' 'id: 7 health_request {}'
for f in "$hello" "id: 1 translate { $ask $segment $segment }" "id: 2 translate { $ask $segment }"; do frame "$f"; done >"$dir/frames" # in one go
timeout 300 "$client" "$at" raw 4 <"$dir/frames" >"$dir/got" 2>"$dir/err"
saw credit
{ frame "$hello"; printf '\0\0\0\5\10\1\242\6\0'; } | timeout 300 "$client" "$at" raw 2 >"$dir/got" 2>"$dir/err" # a kind of number 100
saw unsupported
await ready # those before have left
holds 2
provokes connections 1 "$hello"
leave
await ready || fail 'after all this: not ready'
stops
starts "$dragoman" serve --listen "$at" --idle-ms 400
provokes time_out 2 "$hello"
await ready || fail 'a client that was idle for too long: not ready'
stops

printf 'me:%s\n' "$(printf secret | sha256sum | cut -d' ' -f1)" >"$dir/tokens"
chmod 600 "$dir/tokens"
"$dragoman" serve --listen "$at" --tokens "$dir/tokens" 2>"$dir/server.err" &
pid=$!
await test -S "$sock"
provokes token 1 "$hello"
stops

# health NAME CODE: what `dragoman client health` says, and ends with.
health() {
    timeout 300 "$dragoman" client --connect "$at" health >"$dir/health" 2>"$dir/err"
    local got=$?
    [ $got -eq "$2" ] || fail "health of a server that is $1: exit code $got, not $2"
    [ "$1" = dead ] || [ "$(head -n 1 "$dir/health")" = "$1" ] || fail "health of a server that is $1: $(cat "$dir/health")"
}

# ---- where there is work, and TCP ----
# few enough to be read at once: what comes behind them is looked at before any of them can be done
n_many=40
many=$(for i in $(seq $n_many); do echo "segments { text: \"$i men in red shirts and a woman in a blue dress walk with two dogs.\" }"; done)
starts "$dragoman" serve --listen "$at" --listen tcp:127.0.0.1:0 --max-queue-tokens 200 --cache-mib 0
port=$(tcp_port "$dir/server.err")
provokes too_large 2 "$hello" "id: 1 translate { $ask $(for _ in $(seq 1025); do echo "$segment"; done) }"
# told PATTERN: why the queue is full, and when to come again
told() { grep -Eq "^error busy: the queue is full: $1 .*\(retry after [1-9][0-9]* ms\)" "$dir/got" || { cp "$dir/got" "$dir/err"; fail "busy: not '$1', and when to come again"; }; }
provokes busy $((n_many + 2)) "$hello" "id: 1 translate { $ask $many }" "id: 2 translate { $ask $many }"
told 'want at most 200 tokens'
# ... by what is no long frame, so that both are looked at in one go
some=$(for i in $(seq 30); do echo "segments { text: \"$i men in red shirts and a woman in a blue dress walk with two dogs.\" }"; done)
provokes busy 3 "$hello" "id: 1 translate { $ask segments { text: \"$(for _ in $(seq 12); do printf 'A man walks with a dog. '; done)\" } }" "id: 2 translate { $ask $some }"
told '[0-9]* tokens wait, want at most 200'
health ready 0
# one of several lines is cancelled, another has long been answered: the rest is translated
frames=("$hello" "id: 1 translate { $ask segments { text: \"\" } $(for i in 1 2 3; do echo "segments { text: \"$i $(for _ in $(seq 20); do printf 'A man walks with %s dogs. ' "$i"; done)\" }"; done) }"
    'cancel { request: 1 segments: [0, 3, 7] }' 'cancel { request: 9 segments: 0 }')
for f in "${frames[@]}"; do frame "$f"; done >"$dir/frames" # in one go: before the lines are done
timeout 300 "$client" "$at" raw 5 <"$dir/frames" >"$dir/got" 2>"$dir/err"
[ "$(cut -d' ' -f1 "$dir/got" | sort | tr '\n' ' ')" = 'cancelled empty ok ok welcome ' ] || { cp "$dir/got" "$dir/err"; fail 'one of several lines cancelled: not the others translated'; }
# ... a line of many parts, when some are done and most are not
parts=$(for i in $(seq 16000); do printf 'A man walks with %d dogs. ' "$i"; done)
mkfifo "$dir/cancels"
timeout 300 "$client" "$at" raw 2 <"$dir/cancels" >"$dir/got" 2>"$dir/err" &
asker=$!
exec 8>"$dir/cancels"
before=$(timeout 300 "$client" "$at" statistics | sed -n 's/dragoman_target_tokens_total //p')
{ frame "$hello"; frame "id: 1 translate { $ask segments { text: \"$parts\" } }"; } >&8
begun() { [ "$(timeout 300 "$client" "$at" statistics | sed -n 's/dragoman_target_tokens_total //p')" -gt "$before" ]; }
await begun || fail 'a line of many parts is not begun'
frame 'cancel { request: 1 }' >&8
exec 8>&-
wait $asker
[ "$(cut -d' ' -f1 "$dir/got" | tr '\n' ' ')" = 'welcome cancelled ' ] || { cut -c1-200 "$dir/got" >"$dir/err"; fail 'a line of many parts is not cancelled in the middle'; }
health ready 0
at=tcp:127.0.0.1:$port provokes forbidden 2 "$hello" 'id: 1 drain {}'
provokes draining 0 "$hello" "id: 1 translate { $ask $many }" 'id: 2 drain {}' "id: 3 translate { $ask $segment }"
[ "$(cut -d' ' -f1 "$dir/got" | sort | uniq -c | tr -s ' \n' ' ')" = " 1 closed 1 error 2 health $n_many ok 1 welcome " ] || { cp "$dir/got" "$dir/err"; fail 'a drain: not one answer, the news once, and all lines'; }
wait $pid || fail "a drained server ends with $?"
pid=''
health dead 6

# ---- no memory for more lines; and reading many of them keeps nobody else waiting ----
starts "$dragoman" serve --listen "$at" --max-memory-mib 1 --max-queue-tokens 1000000 --cache-mib 0
grep -q 'clients may take 1 MiB in all (--max-memory-mib)' "$dir/server.err" || fail 'the log does not tell the limit of memory'
all=$(for _ in $(seq 1024); do echo "$segment"; done)
provokes busy 1026 "$hello" "id: 1 translate { $ask $all }" "id: 2 translate { $ask $all }"
grep -q 'error busy: the memory for clients is full' "$dir/got" || fail 'no memory for more lines: another reason'
stops
starts "$dragoman" serve --listen "$at" --cache-mib 0 --http 127.0.0.1:0
port=$(http_port "$dir/server.err")
long=$(printf 'A man in a red shirt and %d women in blue dresses walk with two dogs. ' $(seq 40))
for i in 1 2; do
    frame "id: $i translate { $ask $(for _ in $(seq 1023); do echo "segments { text: \"$long\" }"; done) segments { text: \"A man.\" tgt: \"xx\" } }"
done >"$dir/large"
(frame "$hello"; cat "$dir/large") >"$dir/sent"
received() { curl -s --max-time 300 "http://127.0.0.1:$port/metrics" | sed -n 's/^dragoman_client_received_bytes_total //p'; }
one_is_there() { [ "$(received)" -gt $((before + $(wc -c <"$dir/large") / 2)) ]; }
before=$(received)
: >"$dir/got"
timeout 500 "$client" "$at" raw 3 <"$dir/sent" >"$dir/got" 2>"$dir/err" &
asker=$!
await_from $asker one_is_there
# questions that are answered before both are read: if a frame kept others waiting, there would be one or two, between the frames
answered=0
until [ "$(grep -c '^error language: segment 1023' "$dir/got")" -eq 2 ] || gone $asker; do
    timeout 300 "$client" "$at" ping 10 >"$dir/ping"
    answered=$((answered + 10))
done
wait $asker
[ "$(grep -c '^error language: segment 1023' "$dir/got")" -eq 2 ] || { head -c 500 "$dir/got" >"$dir/err"; fail 'two large frames are not read to their ends'; }
[ $answered -gt 30 ] || fail "while two frames of 1024 long lines are read, only $answered questions are answered"
echo "while two frames of 1024 long lines are read, $answered questions are answered"
stops

# ---- a client that comes while the server reads its model: it has connected and asked before the server is there, as with systemd ----
for f in "$hello" "id: 1 translate { $ask $segment }"; do frame "$f"; done >"$dir/frames"
waits_to_be_taken() { [ "$(grep -c " $sock\$" /proc/net/unix)" -gt 1 ]; }
listens() { awk -v s="$sock" '$4 == "00010000" && $8 == s { found = 1 } END { exit !found }' /proc/net/unix; }
for _ in $(seq 20); do
    rm -f "$sock" "$dir/go"
    "$client" "$at" activate /bin/bash -c "until [ -e '$dir/go' ]; do sleep 0.01; done; exec \"\$@\"" bash "$dragoman" serve 2>"$dir/server.err" &
    pid=$!
    await_from $pid listens || fail "nobody listens at $sock"
    timeout 300 "$client" "$at" raw 2 <"$dir/frames" >"$dir/got" 2>/dev/null &
    asker=$!
    await_from $asker waits_to_be_taken
    touch "$dir/go"
    "$dragoman" client --connect "$at" health >"$dir/health" 2>"$dir/err"
    case $?:$(head -n 1 "$dir/health") in 8:starting | 0:ready) ;; *) fail "health while the server starts: $(cat "$dir/health")" ;; esac
    wait $asker
    await ready
    stops
    grep -q '^error not_ready:' "$dir/got" && break
done
saw not_ready
rm -f "$sock"

# ---- a mistake of the server: one expert of a model is no number, and the lines that reach it fail ----
cp -rL "$DGM_MODEL" "$dir/model"
chmod -R u+w "$dir/model"
head=$(od -An -tu8 -N 8 "$dir/model/model.safetensors" | tr -d ' ')
read -r begin end < <(tail -c +9 "$dir/model/model.safetensors" | head -c "$head" |
    jq -r '."model.encoder.layers.1.ffn.experts.expert_0.fc2.bias".data_offsets | @tsv')
head -c $((end - begin)) /dev/zero | tr '\0' '\377' |
    dd of="$dir/model/model.safetensors" bs=64k oflag=seek_bytes seek=$((8 + head + begin)) conv=notrunc status=none
text=$here/models/sample/pictures.eng_Latn.txt
starts "$dragoman" serve -m "$dir/model" --listen "$at"
timeout 300 "$client" "$at" status en de <"$text" >"$dir/got" 2>"$dir/err"
saw internal
grep -q 'failed internal .*layer [0-9]*, row [0-9]*: a router logit is not a number' "$dir/got" || fail 'a line that failed does not say where'
# ... all at once: the others have the bytes of the model that is well
for i in 1 2 3 4 5 6; do sed "s/^/$i /" "$text"; done >"$dir/in"
"$dragoman" translate -s en -t de -i "$dir/in" >"$dir/want" 2>"$dir/err" || fail 'translate'
timeout 300 "$dragoman" client --connect "$at" -s en -t de -i "$dir/in" --report "$dir/report" >"$dir/got" 2>"$dir/err"
[ $? -eq 1 ] || fail 'lines that failed: the client ends otherwise than with 1'
jq -r '.status' "$dir/report" >"$dir/status"
paste "$dir/status" "$dir/got" | sed 's/^failed\t.*/failed/' >"$dir/there"
paste "$dir/status" "$dir/want" | sed 's/^failed\t.*/failed/' >"$dir/wanted"
cmp -s "$dir/there" "$dir/wanted" || { diff "$dir/there" "$dir/wanted" >"$dir/err"; fail 'beside lines that failed others have other text'; }
failed=$(grep -c failed "$dir/status")
[[ $failed -gt 0 && $failed -lt $(wc -l <"$dir/status") ]] || fail "$failed lines failed: want some, and not all"
"$dragoman" translate -m "$dir/model" -s en -t de -i "$dir/in" >"$dir/out" 2>"$dir/err"
[ $? -eq 3 ] || fail 'translate goes on with a model that is broken'
ready || fail 'after a step that failed: not ready'
stops

# ---- out of file descriptors ----
(ulimit -n 40; "$dragoman" serve --listen "$at" >"$dir/out" 2>"$dir/err")
[ $? -eq 2 ] || fail 'a server without descriptors: exit code is not 2'
grep -q 'file descriptors: want more than [0-9]* for a server, found 40 (ulimit -n)' "$dir/err" || fail 'a server without descriptors does not say so'
starts bash -c 'ulimit -n 80; exec "$@"' bash "$dragoman" serve --listen "$at" --http 127.0.0.1:0
port=$(http_port "$dir/server.err")
fit=$(sed -n 's/.*--max-connections: \([0-9]*\) of 1024: there are 80 file descriptors (ulimit -n)$/\1/p' "$dir/server.err")
[ "${fit:-0}" -gt 4 ] || fail "80 descriptors: room for '$fit' clients"
# filled, refused, let go, taken again
holds "$fit"
for _ in 1 2 3; do provokes connections 1 "$hello"; done
[ "$(curl -s --max-time 300 "http://127.0.0.1:$port/readyz")" = ok ] || fail 'with all descriptors in use: /readyz'
[ "$(grep -c "clients are refused: there are $fit (--max-connections)" "$dir/server.err")" -eq 1 ] || fail 'refused clients are not told in the log, once'
leave
await ready || fail 'when clients have left, others do not get in'
grep -q 'clients are taken again' "$dir/server.err" || fail 'the log does not say that clients are taken again'
# even when somebody takes away the rest: who comes then is told, the server neither ends nor spins, and takes the next
# alone: no socket of anybody is left, by whichever way he came
alone() {
    [ "$(grep -c " $sock\$" /proc/net/unix)" -eq 1 ] || return 1 # the one that listens
    ! awk -v port="$(printf ':%04X' "$port")" 'index($2, port) && $4 ~ /^0[18]$/ { found = 1 } END { exit !found }' /proc/net/tcp
}
await alone || fail 'sockets of clients who have left stay open'
free=0
while [ -e "/proc/$pid/fd/$free" ]; do free=$((free + 1)); done
prlimit --pid "$pid" --nofile=$free:80
cpu() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
before=$(cpu)
for _ in 1 2 3; do provokes connections 1 "$hello"; done
grep -q 'the server has no file descriptor left' "$dir/got" || fail 'without descriptors a client hears another reason'
[ "$(grep -c 'clients are refused: no file descriptor is left (ulimit -n)' "$dir/server.err")" -eq 1 ] || fail 'without descriptors the log does not say so, once'
for _ in 1 2 3; do timeout 5 "$client" "$at" health >>"$dir/late" 2>"$dir/err"; done
# ... nor when not even the one in reserve can be used: then clients wait
prlimit --pid "$pid" --nofile=3:80
timeout 2 "$client" "$at" health >>"$dir/late" 2>"$dir/err"
sleep 1
[ $(($(cpu) - before)) -lt 40 ] || fail "without descriptors the server spins: $(($(cpu) - before)) of 100 ticks"
[ ! -s "$dir/late" ] || fail 'a client gets in without a descriptor'
prlimit --pid "$pid" --nofile=80:80
await ready || fail 'when there are descriptors again, clients do not get in'
grep -q 'clients are taken again: there are file descriptors' "$dir/server.err" || fail 'the log does not say that there are descriptors again'
stops

# ---- a rank that is lost: it stops, so that its lines are in work for certain, and dies ----
if command -v mpirun >/dev/null && [ "${DGM_COMM:-auto}" != local ]; then
    starts "$here/launch/dragoman-mpirun" -n 2 serve --listen "$at" --cache-mib 0 --comm-deadline-ms 600000
    rank1=$(rank_pid 1 "$at")
    kill -STOP "$rank1"
    for f in "$hello" "id: 1 translate { $ask $many }"; do frame "$f"; done >"$dir/frames"
    timeout 300 "$client" "$at" raw $((n_many + 1)) <"$dir/frames" >"$dir/got" 2>/dev/null &
    asker=$!
    await_from $asker asked
    kill -KILL "$rank1"
    wait $asker
    saw rank_lost
    [ "$(grep -c '^failed rank_lost (retry)' "$dir/got")" -eq $n_many ] || fail "a rank that is lost: want $n_many lines that may be tried again"
    wait $pid
    [ $? -eq 6 ] || fail 'a rank that is lost: another exit code than 6'
    pid=''
else
    excused[rank_lost]='mpirun is not installed'
fi

# ---- all of them ----
while read -r code; do
    if [ -n "${seen[$code]:-}" ]; then
        [ -z "${excused[$code]:-}" ] || fail "$code can be provoked: it needs no excuse"
    elif [ -n "${excused[$code]:-}" ]; then
        echo "not provoked: $code (${excused[$code]})"
    else
        fail "$code: no test provokes it"
    fi
done < <(sed -n 's/^ *ERROR_\([A-Z_]*\) = [1-9].*/\L\1/p' "$here/proto/dragoman.proto")
exit $bad
