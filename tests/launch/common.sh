# Sourced by the scripts beside it: $here, the repository; $dir, a folder of the test's own; $bad, which fail sets.
# shellcheck shell=bash disable=SC2034,SC2154 # variables of those who source it
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
# ThreadSanitizer watches every read of a weight by the kernels but those of ref (kernels/CMakeLists.txt), for two thirds of a
# translation's time. Here it is to watch the program around them; the kernels it watches in tests/kernels and tests/runtime.
[ -z "${TSAN_OPTIONS:-}" ] || export DGM_ISA=ref

# Numbers have points and order is that of bytes, to awk and sort too, whatever language the machine speaks.
[ -z "${LC_ALL:-}" ] || export LANG=$LC_ALL
unset LC_ALL
export LC_NUMERIC=C LC_COLLATE=C

# fail WHAT: the test fails; what a command last said in $dir/err stands below.
fail() {
    echo "$1"
    [ ! -s "$dir/err" ] || sed 's/^/    /' "$dir/err" | head -n 8
    bad=1
}

# run CODE COMMAND...: into $dir/out and $dir/err; fails unless it ends with CODE.
run() {
    local want=$1 got
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$want" ] || fail "$*: exit code $got, not $want"
}

# refuses CODE PATTERN COMMAND...: ends with CODE and one sentence that matches, and nothing on standard output.
refuses() {
    local code=$1 pattern=$2
    shift 2
    run "$code" "$@"
    [ ! -s "$dir/out" ] || fail "$*: standard output is not empty"
    [ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$*: not one sentence"
    grep -Eq -- "^dragoman: .*$pattern" "$dir/err" || fail "$*: no '$pattern'"
}

# says PATTERN: standard error of the last command matches. same FILE OTHER WHAT: two files are equal.
says() { grep -q -- "$1" "$dir/err" || fail "does not say '$1'"; }
same() { cmp -s "$1" "$2" || fail "$3"; }

# ranks N COMMAND...: a command of dragoman (the program that $DRAGOMAN names) on N ranks.
ranks() { "$here/launch/dragoman-mpirun" -n "$@"; }

# await COMMAND...: until it succeeds. A machine may be as busy as it likes; after five minutes it is not the machine.
# await_from PID COMMAND...: the same, but not for what a process that has ended was to bring about.
await() { await_from $$ "$@"; }
await_from() {
    local pid=$1 end=$((SECONDS + 300))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        kill -0 "$pid" 2>/dev/null || { "$@"; return; }
        sleep 0.02
    done
}
# says_so FILE PATTERN, filled FILE, a_socket PATH, gone PID: for await.
says_so() { grep -Eq -- "$2" "$1" 2>/dev/null; }
filled() { [ -s "$1" ]; }
a_socket() { [ -S "$1" ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
# halt PID: SIGSTOP, until each of its threads stands.
stands() { ! sed 's/.*) \([A-Za-z]\) .*/\1/' /proc/"$1"/task/*/stat 2>/dev/null | grep -qv T; }
halt() { kill -STOP "$1" && await stands "$1"; }
# tcp_port LOG, http_port LOG: which the server took that was told port 0, for clients and for /metrics.
tcp_port() { sed -n 's|.*listening on .*(tcp:[^ ]*:\([0-9]*\)).*|\1|p' "$1" | tail -n 1; }
http_port() { sed -n 's|.*http://[^ /]*:\([0-9]*\)/metrics.*|\1|p' "$1" | tail -n 1; }

# rank_pid RANK ADDRESS: of `serve --listen ADDRESS` on several ranks; not the guard beside it, which has another name.
rank_pid() {
    local p
    for p in $(pgrep -f "dragoman serve .*--listen $2"); do
        if [ "$(cat "/proc/$p/comm" 2>/dev/null)" = dragoman ] && grep -qzx "OMPI_COMM_WORLD_RANK=$1" "/proc/$p/environ" 2>/dev/null; then
            echo "$p"
        fi
    done
}

# written N FILE, for await: it has N lines.
written() { [ -e "$2" ] && [ "$(wc -l <"$2")" -eq "$1" ]; }

# has_isa NAME: this CPU has what these kernels need (kernels/dispatch.c).
has_isa() {
    local need needs=()
    case $1 in
    avx2) needs=(avx2 fma f16c) ;;
    avx512) needs=(avx2 fma f16c avx512f avx512bw avx512dq avx512vl) ;;
    vnni) needs=(avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni) ;;
    esac
    for need in "${needs[@]}"; do grep -qw "$need" /proc/cpuinfo || return 1; done
}

# killed_amid TIMES COMMAND...: COMMAND of $dragoman, which makes the model $dir/killed, is killed so often, at moments spread over the time
# that it takes here and now; then earlier and earlier until one of them hit it while it wrote. $dir/killed is whole or not there, each
# time, and what is left of $dir/killed.part is no model, or a whole one that has not got its name yet. Sets $killed, those hit.
killed_amid() {
    local times=$1 i us began pid got
    shift
    began=$(date +%s%N)
    run 0 "$dragoman" "$@" -o "$dir/killed"
    us=$((($(date +%s%N) - began) / 1000)) killed=0
    rm -r "$dir/killed"
    for ((i = 1; i <= times || (killed == 0 && i < times + 20); i++)); do
        touch "$dir/before"
        "$dragoman" "$@" -o "$dir/killed" >/dev/null 2>&1 &
        pid=$!
        sleep "$((i > times ? us >> (i - times) : us * i / (times + 1)))e-6"
        kill -KILL $pid 2>/dev/null
        wait $pid 2>/dev/null
        got=$?
        if [ -e "$dir/killed" ]; then
            run 0 "$dragoman" inspect "$dir/killed" --verify
            rm -r "$dir/killed"
        elif [ "$got" -eq 137 ] && [ "$dir/killed.part" -nt "$dir/before" ]; then
            killed=$((killed + 1))
            ! "$dragoman" inspect "$dir/killed.part" >/dev/null 2>&1 || run 0 "$dragoman" inspect "$dir/killed.part" --verify
        fi
    done
    [ $killed -gt 0 ] || fail "$1: no run was killed while it wrote"
}
