# Sourced by failure.sh, slurm.sh and namespaces.sh with their arguments: start a job, reach one of its ranks, judge
# its end. The argument is the program, soak or dragoman; $endless is a job of it that runs until it is stopped,
# $finite one that ends, and $dir/want what the latter prints.
# shellcheck shell=bash disable=SC2034,SC2154 # variables that they share
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d)
bad=0 checks=0

# Every process of a job carries a mark of its own in its environment, whoever starts it.
starts=0
export DGM_TEST_MARK=none

# The deadline of the jobs here, in ms: short, but longer than a busy machine takes a rank its CPU away.
export DGM_COMM_STALL_MS=500 DGM_COMM_DEADLINE_MS=3000
patience=25   # seconds from a blow to the end of the job, at most
work_time=240 # for a job that is left alone: it takes two, but this machine may have other work

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
    for i in $(seq 1000); do sed "s/^/$i /" "$text"; done >"$dir/long" # equal lines would be computed once
    finite=(translate -m "$here/models/multi30k-token" -s eng_Latn -t deu_Latn --threads 1 --with-score)
    endless=("${finite[@]}" -i "$dir/long" --overlap on) # two exchanges in flight, as soak has
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
    local ranks=$1 r
    workers=('' '' '' '')
    for _ in $(seq 600); do
        if grep -q " start $ranks ranks" "$dir/err"; then
            for r in $(seq 0 $((ranks - 1))); do
                workers[r]=$(worker "$r")
            done
            if [ "$(printf '%s\n' "${workers[@]}" | grep -c .)" = "$ranks" ]; then
                sleep 0.2
                return 0
            fi
        fi
        kill -0 "$job" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
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
    await_workers "$ranks" || say_bad "$* did not start"
}

# end_within SECONDS: waits for $job, sets $code; a job that does not end is killed and is 124
end_within() {
    local tick
    for tick in $(seq $(($1 * 20))); do
        kill -0 "$job" 2>/dev/null || break
        sleep 0.05
    done
    if kill -0 "$job" 2>/dev/null; then
        echo "still running after $((tick / 20)) s"
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
    local left pid
    for _ in $(seq 50); do
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
    end_within "$patience"
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

# expect_finished NAME: the finite job printed what it should
expect_finished() {
    checks=$((checks + 1))
    end_within "$work_time"
    if [ "$code" = 0 ] && [ -s "$dir/want" ] && cmp -s "$dir/want" "$dir/out"; then
        echo "ok: $1"
    else
        say_bad "$1: exit code $code; $(diff "$dir/want" "$dir/out" | head -n 3)"
    fi
}

# expect_end NAME CODE: the job ended in good order
expect_end() {
    checks=$((checks + 1))
    end_within "$patience"
    if [ "$code" != "$2" ]; then
        say_bad "$1: want exit code $2, found $code"
    elif grep -q 'was lost' "$dir/err"; then
        say_bad "$1: nobody was lost"
    else
        echo "ok: $1"
    fi
    expect_nothing_left "$1"
}
