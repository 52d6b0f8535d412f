# Sourced after common.sh by tests that start a `dragoman serve` of the demonstration model and ask it by `dragoman client`.
# They set $dragoman and $at, the address that clients go to.
# shellcheck shell=bash disable=SC2154 # variables of those who source it
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=info
server=''
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$dir"' EXIT

# serves ARGS...: until it computes. --listen $at, which tells the port afterwards that the server took for 0.
serves() {
    : >"$dir/server" # the shell in the background empties it later than it is looked at
    "$dragoman" serve --listen "$at" "$@" 2>"$dir/server" &
    server=$!
    if await_from "$server" says_so "$dir/server" 'start 1 rank'; then
        case $at in tcp:*:0) at=${at%0}$(tcp_port "$dir/server") ;; esac
        return
    fi
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
    timeout 300 "$dragoman" client --connect "$at" --attempts 1 "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "client $*: exit code $got, not $code"
}
# tells WHAT: the client does. logs WHAT: the server does.
tells() { grep -qF -- "$1" "$dir/err" || fail "the client does not say: $1"; }
logs() {
    await_from "$server" grep -qF -- "$1" "$dir/server" && return
    cp "$dir/server" "$dir/err"
    fail "the server does not say: $1"
}

# heard_again N PATTERN: of what the server said about SIGHUP, behind N lines.
heard_again() { grep SIGHUP "$dir/server" | tail -n +$(($1 + 1)) | grep -q -- "$2"; }
# hang_up PATTERN: SIGHUP, until the server says that it did this.
hang_up() {
    local before
    before=$(grep -c SIGHUP "$dir/server")
    kill -HUP "$server"
    await_from "$server" heard_again "$before" "$1" && return
    cp "$dir/server" "$dir/err"
    fail "SIGHUP: the server does not say: $1"
}

# refuses PATTERN ARGS...: serve does not start, exit code 2.
refuses() {
    local pattern=$1 got
    shift
    timeout 300 "$dragoman" serve --listen "$at" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq 2 ] || fail "serve $*: exit code $got, not 2"
    grep -q -- "$pattern" "$dir/err" || fail "serve $*: does not say '$pattern'"
}
