#!/usr/bin/env bash
# The load generators of tests/bench/serve.sh, in short: closed and open loop give the bytes of translate; clients that cancel, set
# deadlines and go away in the middle leave nothing behind.
# usage: serve_soak.sh DRAGOMAN_BINARY SERVE_LOAD SERVE_SOAK
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 load=$2 soak=$3
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=info
at=unix:$dir/socket
pid=''
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$dir"' EXIT
text=$here/models/sample/pictures.eng_Latn.txt

"$dragoman" serve --listen "$at" --beam-size 1 --threads 1 --cache-mib 1 2>"$dir/server" &
pid=$!
for _ in $(seq 600); do
    "$dragoman" client --connect "$at" --attempts 1 health 2>/dev/null | grep -q ready && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.05
done

for i in 0 1 2; do sed "s/^/$i /;s/^0 //" "$text"; done >"$dir/in"
"$dragoman" translate -s en -t de --beam-size 1 -i "$dir/in" -o "$dir/want" 2>"$dir/err" || fail 'translate'
# same WHAT OPTION...: of the load generator
same() {
    local what=$1
    shift
    timeout 120 "$load" "$at" -s en -t de -i "$text" -k 72 -o "$dir/got" "$@" >"$dir/out" 2>"$dir/err" || fail "$what: exit code $?"
    cmp -s "$dir/got" "$dir/want" || fail "$what: other text than translate"
    cp "$dir/out" "$dir/err"
}
same 'closed loop, 5 connections' -n 5 -w 3
grep -q '^most_in_flight 15$' "$dir/out" || fail 'closed loop: not 15 in flight'
same 'closed loop, 1 connection' -n 1
grep -q '^most_in_flight 72$' "$dir/out" || fail '1 connection: not all in flight'
same 'open loop' -n 3 -r 200
awk '$1 == "seconds" { exit !($2 > 0.2) }' "$dir/out" || fail 'open loop: 72 lines at 200 a second come too early'

mib=16
grep -q '__[at]san_init' "$dragoman" && mib=0 # their own memory grows
timeout 300 "$soak" "$at" -s en -t de -i "$text" -p $pid -n 50 -k 1500 -d 8 -l 1000 -m $mib >"$dir/soak" 2>&1 || {
    cp "$dir/soak" "$dir/err"
    tail -n 4 "$dir/soak"
    fail 'soak'
}
tail -n 12 "$dir/soak"
kill -TERM $pid
wait $pid
[ $? -eq 143 ] || fail 'the server does not end with 143'
pid=''
exit $bad
