# Sourced by failure.sh, slurm.sh and namespaces.sh with their arguments: start a job, reach one of its ranks, judge
# its end. The argument is the program, soak or dragoman; $endless is a job of it that runs until it is stopped,
# $finite one that ends, and $dir/want what the latter prints.
# shellcheck shell=bash disable=SC2034,SC2154 # variables that they share
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
checks=0

# Every process of a job carries a mark of its own in its environment, whoever starts it.
starts=0
export DGM_TEST_MARK=none

# Ranks are late after a minute, as ever, but where it is that which a job is to end by: `soon start ..`. In ms; short, but
# longer than a busy machine takes a rank its CPU away.
export DGM_COMM_STALL_MS=500 DGM_COMM_DEADLINE_MS=60000
short=3000
soon() {
    DGM_COMM_DEADLINE_MS=$short
    "$@"
    DGM_COMM_DEADLINE_MS=60000
}
# A rank of its host says that a process ended, or its guard says how: where nobody gets a CPU for ten seconds.
killed='its process (ended|was killed by signal 9)'
patience=300 # seconds until a job has ended, at most: it takes two to fifteen, but the machine may have other work

# Plain mpirun, as root and on this machine alone; dragoman-mpirun sets these itself.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

program=$(basename "$1")
export DRAGOMAN=$1
case $program in
soak)
    endless=(--rounds 0)
    finite=(--rounds 300)
    echo "soak: done on 4 ranks" >"$dir/want"
    ;;
dragoman)
    text=$here/models/sample/pictures.eng_Latn.txt
    # More work than any machine does while a test looks, in small portions; equal lines would be computed once.
    awk '{ line[NR] = $0 } END { for (i = 0; i < 20000; i++) for (n = 1; n <= NR; n++) print i, line[n] }' "$text" >"$dir/long"
    finite=(translate -m "$here/models/multi30k-token" -s eng_Latn -t deu_Latn --threads 1 --with-score)
    endless=("${finite[@]}" -i "$dir/long" --overlap on --batch-tokens 1024) # two exchanges in flight, as soak has
    finite+=(-i "$text")
    "$1" "${finite[@]}" >"$dir/want" 2>/dev/null
    ;;
*)
    echo "want soak or dragoman, found $1"
    exit 2
    ;;
esac

say_bad() {
    bad=1
    echo "FAILED: $*"
    sed 's/^/    /' "$dir/err" | tail -n 30
}

# The pids of the job's processes whose environment has the line $1 (a pattern) as well.
marked() {
    grep -lzsxF "DGM_TEST_MARK=$DGM_TEST_MARK" /proc/[0-9]*/environ | xargs -r grep -lzsx "$1" |
        cut -d/ -f3
}

# Ends whatever of the job is left, launchers included.
kill_job() {
    local pid
    for pid in $(marked '.*'); do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
        "${program:0:15}" | dragoman-guard | mpirun | orted | srun) kill -KILL "$pid" ;;
        esac
    done 2>/dev/null
}

# The process that works as rank $1: a guard's child.
worker() {
    local pid parent
    for pid in $(marked "PMIX_RANK=$1"); do
        parent=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status" 2>/dev/null)
        if [ "$(cat "/proc/${parent:-0}/comm" 2>/dev/null)" = dragoman-guard ]; then
            echo "$pid"
            return
        fi
    done
}

# Sets $workers to the pids of ranks 0 .. $1-1 once rank 0 has said that work begins and all are there: a host whose
# name does not resolve takes MPI ten seconds to start on.
await_workers() {
    workers=('' '' '' '')
    await_from "$job" says_so "$dir/err" " start $1 ranks" && await_from "$job" all_found "$1" && sleep 0.2
}
all_found() {
    local r
    for r in $(seq 0 $(($1 - 1))); do
        [ -n "${workers[r]}" ] || workers[r]=$(worker "$r")
        [ -n "${workers[r]}" ] || return 1
    done
}

# begin COMMAND...: in the background, as $job; its words in $dir/out and $dir/err
begin() {
    starts=$((starts + 1))
    DGM_TEST_MARK=mark-$$-$starts
    : >"$dir/err"
    # Not a job of bash's with SIGINT ignored, which the ranks would inherit.
    (
        trap - INT
        exec "$@"
    ) >"$dir/out" 2>"$dir/err" </dev/null &
    job=$!
}

# start RANKS COMMAND...: begin, and wait until the ranks are at work
start() {
    local ranks=$1
    shift
    begin "$@"
    await_workers "$ranks" || say_bad "$* did not start: found processes '${workers[*]}'"
}

# await_end: waits for $job, sets $code; a job that does not end is killed and is 124
await_end() {
    local end=$((SECONDS + patience))
    while kill -0 "$job" 2>/dev/null && [ $SECONDS -lt $end ]; do
        sleep 0.05
    done
    if kill -0 "$job" 2>/dev/null; then
        echo "still running after $patience s"
        kill_job
        kill -KILL "$job" 2>/dev/null
        wait "$job"
        code=124
        return
    fi
    wait "$job"
    code=$?
}

# Nothing of the job may stay behind (the dead that nobody has buried yet do not count).
expect_nothing_left() {
    local left pid end=$((SECONDS + 60))
    while [ $SECONDS -lt $end ]; do
        left=
        for pid in $(marked 'PMIX_RANK=.*'); do
            [ "$(ps -o stat= -p "$pid" | cut -c1)" = Z ] || left="$left $pid"
        done
        [ -z "$left" ] && return
        sleep 0.1
    done
    # shellcheck disable=SC2086 # a list
    say_bad "$1: left running: $(ps -o pid=,args= -p $left)"
    kill_job
}

# expect_lost NAME CODE RANK CAUSE: the job ended with CODE and one sentence, which names rank and cause
expect_lost() {
    local lines
    checks=$((checks + 1))
    await_end
    lines=$(grep -c '^dragoman: ' "$dir/err")
    if [ "$code" != "$2" ]; then
        say_bad "$1: want exit code $2, found $code"
    elif [ "$lines" != 1 ]; then
        say_bad "$1: want one message, found $lines"
    elif ! grep -Eq "^dragoman: rank $3 \(host [^ )]+\) was lost in [a-z]+(, layer [0-9]+)?( \([a-z]+\))?: .*$4" "$dir/err"; then
        say_bad "$1: want a message that names rank $3, host, place and '$4'"
    else
        echo "ok: $1"
    fi
    expect_nothing_left "$1"
}

# expect_late NAME RANK CAUSE: lost, and given up by the short deadline, neither before it nor by the usual one
expect_late() {
    local s
    expect_lost "$1" 6 "$2" "no sign of life for [0-9.]+ s( since it was [a-z ]+)?$3"
    s=$(sed -nE 's/^dragoman: .*no sign of life for ([0-9]+)\.[0-9]+ s.*/\1/p' "$dir/err")
    if [ "$((s * 1000))" -lt $short ] || [ "$((s * 1000))" -ge $DGM_COMM_DEADLINE_MS ]; then
        say_bad "$1: given up after '$s' s"
    fi
}

# expect_finished NAME: the finite job printed what it should
expect_finished() {
    checks=$((checks + 1))
    await_end
    if [ "$code" = 0 ] && [ -s "$dir/want" ] && cmp -s "$dir/want" "$dir/out"; then
        echo "ok: $1"
    else
        say_bad "$1: exit code $code; $(diff "$dir/want" "$dir/out" | head -n 3)"
    fi
}

# expect_end NAME CODE: the job ended in good order
expect_end() {
    checks=$((checks + 1))
    await_end
    if [ "$code" != "$2" ]; then
        say_bad "$1: want exit code $2, found $code"
    elif grep -q 'was lost' "$dir/err"; then
        say_bad "$1: nobody was lost"
    else
        echo "ok: $1"
    fi
    expect_nothing_left "$1"
}
