#!/usr/bin/env bash
# The load generators of tests/bench/serve.sh, in short: closed and open loop give the bytes of translate; clients that cancel, set
# deadlines and go away in the middle leave nothing behind, on 1, 2 and 4 ranks; and when a rank is killed, each line in work is answered.
# usage: serve_soak.sh DRAGOMAN_BINARY SERVE_LOAD SERVE_SOAK
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 load=$2 soak=$3
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=info DRAGOMAN=$dragoman
at=unix:$dir/socket
pid=''
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$dir"' EXIT
text=$here/models/sample/pictures.eng_Latn.txt

ready() { "$dragoman" client --connect "$at" --attempts 1 health 2>/dev/null | grep -q ready; }
# starts COMMAND...: a server, until it is ready
starts() {
    "$@" serve --listen "$at" --beam-size $beam --threads 1 --cache-mib 1 2>"$dir/server" &
    pid=$!
    await_from $pid ready && return
    cp "$dir/server" "$dir/err"
    fail "the server does not start: $*"
    exit 1
}
# ends CODE: and no sanitizer has anything to report
ends() {
    wait $pid
    [ $? -eq "$1" ] || { tail -n 8 "$dir/server" >"$dir/err"; fail "the server does not end with $1"; }
    pid=''
    grep -qE 'Sanitizer|runtime error:' "$dir/server" || return
    cp "$dir/server" "$dir/err"
    fail 'a report of a sanitizer'
}
beam=1
starts "$dragoman"

for i in 0 1 2; do sed "s/^/$i /;s/^0 //" "$text"; done >"$dir/in"
"$dragoman" translate -s en -t de --beam-size 1 -i "$dir/in" -o "$dir/want" 2>"$dir/err" || fail 'translate'
# same WHAT OPTION...: of the load generator
same() {
    local what=$1
    shift
    timeout 300 "$load" "$at" -s en -t de -i "$text" -k 72 -o "$dir/got" "$@" >"$dir/out" 2>"$dir/err" || fail "$what: exit code $?"
    cmp -s "$dir/got" "$dir/want" || fail "$what: other text than translate"
    cp "$dir/out" "$dir/err"
}
same 'closed loop, 5 connections' -n 5 -w 3
grep -q '^most_in_flight 15$' "$dir/out" || fail 'closed loop: not 15 in flight'
same 'closed loop, 1 connection' -n 1
grep -q '^most_in_flight 72$' "$dir/out" || fail '1 connection: not all in flight'
same 'open loop' -n 3 -r 200
awk '$1 == "seconds" { exit !($2 > 0.2) }' "$dir/out" || fail 'open loop: 72 lines at 200 a second come too early'

{ cat "$here/tests/launch/odd_lines.txt"; printf '\nb\xffd\n'; cat "$text"; } >"$dir/soaked"
mib=32
grep -q '__[at]san_init' "$dragoman" && mib=0 # their own memory grows
# soaked PID OPTION...: nothing is lost, nor answered twice, nor left
soaked() {
    timeout 500 "$soak" "$at" -P en:de,de:en,en:fr -i "$dir/soaked" -p "$@" -l 300 -m $mib >"$dir/soak" 2>&1 && { tail -n 12 "$dir/soak"; return; }
    cp "$dir/soak" "$dir/err"
    tail -n 4 "$dir/soak"
    fail 'soak'
}
decoded_twice() { grep -Eq ' [1-9][0-9]* decoded twice' "$dir/soak" || fail 'soak: nothing was decoded twice'; }
soaked $pid -n 50 -k 1500 -d 8
decoded_twice
kill -TERM $pid
ends 143

if ! command -v mpirun >/dev/null || [ "${DGM_COMM:-auto}" = local ]; then
    echo 'SKIP serve_soak: ranks: mpirun is not installed'
    exit $bad
fi
# pid_of RANK
pid_of() {
    for p in $(pgrep -f "dragoman serve --listen $at"); do
        { tr '\0' '\n' <"/proc/$p/environ"; } 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$p"
    done | tail -n 1 # the first is the guard beside it
}
beam=4
for ranks in 2 4; do
    starts "$here/launch/dragoman-mpirun" -n $ranks
    soaked "$(pid_of 0)" -n 12 -k 120 -d 2
    # the last rank is killed when 1000 lines are with the server
    last=$(pid_of $((ranks - 1)))
    : >"$dir/out"
    timeout 300 "$load" "$at" -s en -t de -i "$text" -k 1000 -n 20 -L >"$dir/out" 2>"$dir/err" &
    asker=$!
    await_from $asker says_so "$dir/out" sent
    kill -KILL "$last"
    wait $asker || fail "$ranks ranks, one is killed: exit code $?"
    grep '^lost' "$dir/out" | sed "s/^/$ranks ranks, one is killed: /"
    ends 6
done
exit $bad
