# Sourced after common.sh by tests that start a `dragoman serve` of the demonstration model and ask it by `dragoman client`.
# They set $dragoman and $at, the address that clients go to.
# shellcheck shell=bash disable=SC2154 # variables of those who source it
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=info
server=''
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$dir"' EXIT

# serves ARGS...: until it computes. --listen $at, unless the test says otherwise.
serves() {
    "$dragoman" serve --listen "$at" "$@" 2>"$dir/server" &
    server=$!
    for _ in $(seq 500); do
        grep -q 'start 1 rank' "$dir/server" && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.02
    done
    cp "$dir/server" "$dir/err"
    fail "the server does not start: $*"
    exit 1
}

# stops: unharmed, the server ends as SIGTERM ends it.
stops() {
    kill -TERM "$server"
    wait "$server"
    [ $? -eq 143 ] || { cp "$dir/server" "$dir/err"; fail 'the server does not end as it should'; }
    server=''
}

# client CODE ARGS...: one attempt; $dir/out and $dir/err have what it says.
client() {
    local code=$1 got
    shift
    timeout 20 "$dragoman" client --connect "$at" --attempts 1 "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "client $*: exit code $got, not $code"
}
# tells WHAT: the client does. logs WHAT: the server does.
tells() { grep -qF -- "$1" "$dir/err" || fail "the client does not say: $1"; }
logs() {
    for _ in $(seq 100); do grep -qF -- "$1" "$dir/server" && return; sleep 0.02; done
    cp "$dir/server" "$dir/err"
    fail "the server does not say: $1"
}

# hang_up PATTERN: SIGHUP, until the server says that it did this.
hang_up() {
    local before
    before=$(grep -c SIGHUP "$dir/server")
    kill -HUP "$server"
    for _ in $(seq 200); do
        [ "$(grep -c SIGHUP "$dir/server")" -gt "$before" ] && tail -n +$((before + 1)) <(grep SIGHUP "$dir/server") | grep -q -- "$1" && return
        sleep 0.02
    done
    cp "$dir/server" "$dir/err"
    fail "SIGHUP: the server does not say: $1"
}

# refuses PATTERN ARGS...: serve does not start, exit code 2.
refuses() {
    local pattern=$1 got
    shift
    timeout 20 "$dragoman" serve --listen "$at" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq 2 ] || fail "serve $*: exit code $got, not 2"
    grep -q -- "$pattern" "$dir/err" || fail "serve $*: does not say '$pattern'"
}
