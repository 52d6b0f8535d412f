#!/usr/bin/env bash
# What operators hold on to: logs as JSON, with a line for each request; sockets from systemd, and the unit files; a dashboard whose
# metrics are there. usage: operate.sh DRAGOMAN_BINARY SERVE_CLIENT
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 client=$2
export DGM_MODEL=$here/models/multi30k-token
sock=$dir/s at=unix:$dir/s
pid=''
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$dir"' EXIT

ask() { timeout 300 "$client" "$at" "$@" 2>>"$dir/err"; }
ready() { [ "$(ask health)" = 'state 2' ]; }
# starts COMMAND...: in the background, until it is ready.
starts() {
    "$@" >"$dir/server.out" 2>"$dir/server.err" &
    pid=$!
    await_from $pid ready && { : >"$dir/err"; return; }
    cp "$dir/server.err" "$dir/err"
    fail "the server does not start: $*"
    exit 1
}
# ends CODE
ends() {
    local got
    kill -TERM $pid
    wait $pid
    got=$?
    pid=''
    [ $got -eq "$1" ] || fail "the server ends with $got, not $1"
}

# ---- logs ----
# logged FILTER WHAT: some line of the log is so.
logged() { jq -es "any($1)" "$dir/server.err" >/dev/null || { tail -n 3 "$dir/server.err" >"$dir/err"; fail "log: $2"; }; }
starts "$dragoman" serve --listen "$at" --http 127.0.0.1:0 --log-format json --log-level debug
port=$(http_port "$dir/server.err")
printf 'A man.\n\nA dog runs.\n' | ask status en de >"$dir/got"
ask status en 'x"\y' <<<'A man.' >"$dir/got"
ask status en de deadline_ms=1 <<<"$(for _ in $(seq 40); do printf 'A man with a dog. '; done)" >"$dir/got"
all_gone() { [ "$(grep -c 'is serve_client on' "$dir/server.err")" -eq "$(grep -c '(serve_client) is closed' "$dir/server.err")" ]; }
await_from $pid all_gone || fail 'the log does not tell of each client that it left'
jq -es 'all(.time | test("^[0-9-]{10}T[0-9:]{8}\\.[0-9]{3}Z$")) and all(.level, .module, .words | type == "string") and all(.rank == 0 and .ranks == 1)' \
    "$dir/server.err" >/dev/null || fail 'the log is not one object a line'
[ "$(jq -s length "$dir/server.err")" -eq "$(wc -l <"$dir/server.err")" ] || fail 'the log has other lines than objects'
logged '.[]; .module == "serve" and (.words | startswith("listening on"))' 'no address'
logged '.[]; .connection > 0 and (.words | startswith("is serve_client on a Unix socket"))' 'no client'
for n in 1 2 3; do
    logged ".[]; .connection > 0 and .request == $n and (.words | test(\"^translated: 1 lines, 1 done\"))" "no line for request $n"
done
logged '.[]; .request == 1 and (.words | test("^translated: 1 lines, 1 done \\(0 cached\\).* [3-9] tokens in, [3-9] out; waited [0-9.]+ ms of [0-9.]+ ms$"))' 'no tokens and times'
logged '.[]; .request == 1 and (.words | startswith("error language:") and contains("x\"\\y"))' 'no error of a request, or not quoted well'
logged '.[]; .request == 1 and (.words | test("1 timed out"))' 'no deadline'
grep -q 'A man' "$dir/server.err" && fail 'the log tells what was translated'
[ "$(jq -s '[.[] | select(.request == 3)] | length' "$dir/server.err")" -eq 1 ] || fail 'more than one line for a request'

# ---- the page of metrics ----
curl -s --max-time 300 "http://127.0.0.1:$port/metrics" >"$dir/metrics"
awk -f "$here/tests/launch/prometheus.awk" "$dir/metrics" >"$dir/err" 2>&1 || fail '/metrics is not as Prometheus wants it'
# value SAMPLE CONDITION: of awk, about v
value() {
    awk -v s="$1" '$1 == s { v = $2; found = 1 } END { exit !(found && ('"$2"')) }' "$dir/metrics" || { grep "^${1%%[{ ]*}" "$dir/metrics" >"$dir/err"; fail "/metrics: $1: want $2"; }
}
value dragoman_request_seconds_count 'v == 4'
value 'dragoman_stage_seconds_count{stack="decoder",stage="vocabulary"}' 'v > 3'
value dragoman_encode_seconds_count 'v >= 2'
value dragoman_decode_seconds_sum 'v > 0'
value 'dragoman_expert_rows_total{stack="encoder"}' 'v > 0'
value 'dragoman_expert_imbalance_ratio{stack="decoder"}' 'v >= 1 && v <= 16'
value 'dragoman_rank_imbalance_ratio{stack="decoder"}' 'v == 1'
value 'dragoman_resident_memory_bytes{rank="0"}' 'v > 10000000'
value dragoman_client_received_bytes_total 'v > 100'
value dragoman_client_sent_bytes_total 'v > 100'
value dragoman_cache_bytes 'v > 0'
value dragoman_client_memory_max_bytes 'v >= 67108864'
open=$(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)
value dragoman_open_descriptors "v >= $open - 2 && v <= $open + 2"
grep -q "^# HELP dragoman_[a-z_]* .*\$" "$dir/metrics" || fail '/metrics does not explain itself'

# ---- what documentation tells of it: name, type, labels, meaning ----
awk '
    /^# HELP/ { name[++n] = $3; sub(/^# HELP [^ ]* /, ""); help[name[n]] = $0; next }
    /^# TYPE/ { type[$3] = $4; next }
    {
        of = $1
        sub(/[{].*/, "", of)
        if (!(of in type)) sub(/_(bucket|sum|count)$/, "", of)
        while (match($0, /[a-z]+="/)) {
            label = substr($0, RSTART, RLENGTH - 2)
            $0 = substr($0, RSTART + RLENGTH)
            if (label != "le" && !((of, label) in has)) labels[of] = labels[of] (labels[of] == "" ? "" : ", ") "`" label "`"
            has[of, label]
        }
    }
    END { for (i = 1; i <= n; i++) print "| `" name[i] "` | " type[name[i]] " | " labels[name[i]] " | " help[name[i]] " |" }' "$dir/metrics" | sort >"$dir/there"
grep '^| `dragoman_' "$here/docs/serving.md" | sort >"$dir/told"
diff "$dir/there" "$dir/told" >"$dir/err" || fail 'docs/serving.md tells otherwise of metrics than /metrics'

# ---- the dashboard: what it draws is on the page ----
board=$here/launch/grafana/dragoman.json
jq -r '[.. | objects | .expr? // empty] + [.templating.list[].query] | .[]' "$board" | grep -o 'dragoman_[a-z_]*' | sort -u >"$dir/drawn"
[ "$(wc -l <"$dir/drawn")" -gt 15 ] || fail 'the dashboard draws nothing'
while read -r name; do
    grep -q "^${name}[ {]" "$dir/metrics" || fail "the dashboard draws $name, which is not on /metrics"
done <"$dir/drawn"
# ... labels too: by what is summed, what is chosen, what legends show; `instance` is Prometheus' own
jq -r '.. | objects | .expr? // empty, .legendFormat? // empty' "$board" |
    grep -oE '(by|without) \([a-z, ]*\)|[a-z]+(=|!=|=~|!~)"|\{\{[a-z]+\}\}' | grep -oE '[a-z]+' | grep -vxE 'by|without|instance' | sort -u >"$dir/labels"
[ "$(wc -l <"$dir/labels")" -gt 5 ] || fail 'the dashboard has no labels'
while read -r label; do
    grep -q "[{,]$label=\"" "$dir/metrics" || fail "/metrics has no label $label"
done <"$dir/labels"
[ "$(jq '[.panels[].id] | length == (unique | length)' "$board")" = true ] || fail 'panels share a number'
ends 143
logged '.[]; .module == "end" and (.words | test("lines done"))' 'no summary'
"$dragoman" serve --listen "$at" --listen nowhere --log-format json 2>"$dir/server.err" && fail 'a wrong address is taken'
logged '.[]; .level == "error" and .module == "end" and (.words | contains("nowhere"))' 'no last word'

# ---- an engine that stands still: log, probes, metrics and health say where, and for how long ----
at=unix:$dir/s
starts "$dragoman" serve --listen "$at" --http 127.0.0.1:0 --comm-stall-ms 200 --cache-mib 0
port=$(http_port "$dir/server.err")
page() { curl -s --max-time 300 "http://127.0.0.1:$port/$1"; }
# freezes: the engine's thread stands still until thaws; not where it is about to wake the net thread (uv_async_send), which spins
# until it has, and answers nobody: no engine comes to stand there by itself.
mkfifo "$dir/cold"
freezes() {
    for _ in $(seq 20); do
        holds_thread || return
        ! timeout 10 "$client" "$at" statistics >/dev/null 2>&1 || return 0
        thaws
    done
    return 1
}
holds_thread() {
    : >"$dir/frozen"
    timeout 300 "$client" "$at" freeze $pid <"$dir/cold" >"$dir/frozen" 2>"$dir/err" &
    freezer=$!
    exec 6>"$dir/cold"
    await_from $freezer filled "$dir/frozen"
}
thaws() {
    exec 6>&-
    wait "$freezer"
}
# said WORDS, says_again WORDS: so often since the server started, and more often than `before`. A machine that is busy may make an
# engine stand once more.
said() { grep -c -- "$1" "$dir/server.err"; }
says_again() { [ "$(said "$1")" -gt "$before" ]; }
if freezes; then # before it ever worked
    waits='rank 0 is since [1-9][0-9]*\.[0-9] s in requests, and does not go on'
    await_from $pid says_so "$dir/server.err" "warn 0/1 serve $waits" || { cp "$dir/server.err" "$dir/err"; fail 'an engine that stands without work: the log does not say where'; }
    before=$(said 'the engine goes on')
    thaws
    await_from $pid says_again 'the engine goes on'
    : >"$dir/server.err"
fi
timeout 300 "$client" "$at" status en de <"$here/models/sample/pictures.eng_Latn.txt" >"$dir/got" &
asker=$!
works() { ask statistics | grep -q 'computing_segments [1-9]'; }
await_from $asker works
if freezes; then
    stall='rank 0 is since [1-9][0-9]*\.[0-9] s in (plan|encode|decode|vocabulary|search|report|answers|requests)(, layer [0-9]+)?, and does not go on'
    await_from $pid says_so "$dir/server.err" "warn 0/1 serve $stall" || { cp "$dir/server.err" "$dir/err"; fail 'an engine that stands: the log does not say where'; }
    before=$(said 'the engine goes on')
    thaws
    await_from $pid says_again 'the engine goes on' || fail 'an engine that goes on: the log does not say so'
    before=$(said 'does not go on')
    freezes || fail 'a thread can be held once only'
    stands() { [ "$(page healthz)" != ok ]; }
    await_from $pid stands
    for p in healthz readyz; do
        page $p | grep -Eqx "stalled: $stall" || { page $p >"$dir/err"; fail "an engine that stands: /$p does not say where"; }
    done
    page metrics | grep -qx 'dragoman_stalled 1' || fail 'an engine that stands: /metrics'
    timeout 300 "$dragoman" client --connect "$at" health >"$dir/health" 2>"$dir/err"
    [ $? -eq 6 ] || fail 'an engine that stands: client health is not 6'
    grep -Eq "^stalled: $stall" "$dir/health" || { cp "$dir/health" "$dir/err"; fail 'an engine that stands: client health does not say where'; }
    await_from $pid says_again 'does not go on' || fail 'an engine that stands again: the log does not say so'
    before=$(said 'the engine goes on')
    thaws
    goes_on() { [ "$(page readyz)$(page healthz)" = okok ]; }
    await_from $pid goes_on || fail 'an engine that goes on is not ready'
    await_from $pid says_again 'the engine goes on' || fail 'an engine that goes on again: the log does not say so'
else
    echo "SKIP operate: no thread can be held here: $(tail -n 1 "$dir/err")"
fi
wait $asker || fail 'an engine that stood: its lines'
# ... a process that was stopped as a whole accuses nobody; on a machine that is busy an engine may stand, but not each time
quiet=''
for _ in 1 2 3 4 5; do
    : >"$dir/server.err"
    kill -STOP $pid
    sleep 1.5
    kill -CONT $pid
    sleep 0.6 # it looks every quarter of a second
    grep -q ' warn ' "$dir/server.err" || { quiet=yes; break; }
done
[ -n "$quiet" ] || { cp "$dir/server.err" "$dir/err"; fail 'a process that was stopped says that its engine stands'; }
ends 143

# ---- a log that nobody reads: the server goes on, and says how much was lost when there is room again ----
mkfifo "$dir/stuck"
exec 7<>"$dir/stuck"
dd if=/dev/zero of="$dir/stuck" bs=4096 oflag=nonblock 2>"$dir/err" # until it is full
"$dragoman" serve --listen "$at" --log-level debug 2>"$dir/stuck" &
pid=$!
await_from $pid ready || fail 'a log that nobody reads: the server does not start'
[ "$(ask status en de <<<'A man.')" = 'ok Ein Mann.' ] || fail 'a log that nobody reads: no answer'
dd if="$dir/stuck" of="$dir/zeros" bs=4096 iflag=nonblock 2>"$dir/err"
[ -s "$dir/zeros" ] || fail 'a log that nobody reads: it was not full'
ask status en de <<<'A man.' >"$dir/got"
while IFS= read -r -t 300 line <&7; do [[ $line != *'messages were not written: nobody reads the log'* ]] || break; done
[ -n "$line" ] || fail 'a log that is read again does not say what was lost'
ends 143
exec 7>&-

# ---- sockets from systemd ----
# ... which hears when requests are taken, that all is well, and that it ends
"$client" "unix:$dir/notify" hear >"$dir/heard" &
hearer=$!
await_from $hearer a_socket "$dir/notify"
export NOTIFY_SOCKET=$dir/notify
starts "$client" "$at" activate "$dragoman" serve --drain-ms 1000
unset NOTIFY_SOCKET
[ "$(ask status en de <<<'A man.')" = 'ok Ein Mann.' ] || fail 'over a socket that was there'
grep -q 'listening on descriptor 3 (LISTEN_FDS) (unix:/' "$dir/server.err" || fail 'the log does not name the socket'
grep -c 'listening on' "$dir/server.err" | grep -qx 1 || fail 'it listens elsewhere too'
for word in READY WATCHDOG; do await_from $hearer says_so "$dir/heard" $word; done
ask drain >"$dir/got" # no signal: it may end before it tells of one
wait $pid || fail "drained, the server ends with $?"
pid=''
kill $hearer
wait $hearer 2>/dev/null
if ! grep -qx 'WATCHDOG=1' "$dir/heard" || ! grep -qx 'READY=1 STATUS=takes requests' "$dir/heard"; then
    cp "$dir/heard" "$dir/err"
    fail 'systemd does not hear how things are'
fi
[ -S "$sock" ] || fail 'it removed a socket that is not its own'
rm -f "$sock"
starts "$client" tcp:127.0.0.1:0 activate "$dragoman" serve --listen "$at"
at=tcp:127.0.0.1:$(tcp_port "$dir/server.err")
[ "$(ask status en de <<<'A man.')" = 'ok Ein Mann.' ] || fail 'over a TCP socket that was there'
ends 143
timeout 300 "$client" tcp:0.0.0.0:0 activate "$dragoman" serve 2>"$dir/err"
[ $? -eq 2 ] || fail 'an open socket beyond loopback: exit code is not 2'
grep -q 'descriptor 3 (LISTEN_FDS): is not on loopback' "$dir/err" || fail 'an open socket beyond loopback: no sentence'
# shellcheck disable=SC2093 # in a process of its own
bash -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve 3</dev/null' "$dragoman" 2>"$dir/err"
[ $? -eq 2 ] || fail 'a descriptor that is no socket: exit code is not 2'
grep -q 'descriptor 3 (LISTEN_FDS): want a stream socket that listens' "$dir/err" || fail 'a descriptor that is no socket: no sentence'

# ---- the units ----
unit=$here/launch/systemd
grep -qx 'SuccessExitStatus=143' "$unit/dragoman.service" || fail 'the unit takes a drained server for a failure'
drain=$(sed -n 's/^drain-ms = \([0-9]*\)000$/\1/p' "$here/configs/serve-node.conf")
[ "$(sed -n 's/^TimeoutStopSec=//p' "$unit/dragoman.service")" -gt "$drain" ] || fail 'systemd kills before the server has drained'
if command -v systemd-analyze >/dev/null; then
    # as installed: the program where systemd looks for it
    sed "s|^ExecStart=dragoman |ExecStart=$(readlink -f "$dragoman") |" "$unit/dragoman.service" >"$dir/dragoman.service"
    cp "$unit/dragoman.socket" "$dir/"
    systemd-analyze verify --man=no "$dir/dragoman.service" "$dir/dragoman.socket" >"$dir/err" 2>&1 || fail 'systemd-analyze verify'
    grep -E '^[^ ]*dragoman\.(service|socket)' "$dir/err" && fail 'systemd-analyze complains'
else
    echo 'SKIP operate: systemd-analyze is not installed'
fi
exit $bad
