#!/usr/bin/env bash
# A rank that is killed, stopped or leaves in mid-job ends the job: exit code 6 within the deadline, one message that
# names rank, host, place and cause, nothing left running. Under dragoman-mpirun and under plain mpirun.
# usage: failure.sh PATH/TO/soak|dragoman
set -u
# shellcheck source=tests/launch/job.sh
source "$(dirname "${BASH_SOURCE[0]}")/job.sh"
if ! command -v mpirun >/dev/null; then
    echo "SKIP failure: mpirun is not installed"
    exit 77
fi

ours=("$here/launch/dragoman-mpirun" -n 4 -- "${endless[@]}")
# shellcheck disable=SC2034 # used by name
plain=(env OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 mpirun -n 4 "$1" "${endless[@]}")

for launcher in ours plain; do
    declare -n line=$launcher
    start 4 "${line[@]}"
    kill -KILL "${workers[2]}"
    expect_lost "$launcher: rank 2 killed" 6 2 "$killed"

    soon start 4 "${line[@]}"
    kill -STOP "${workers[1]}"
    expect_late "$launcher: rank 1 stopped" 1 ", its process is stopped"

    start 4 "${line[@]}"
    kill -KILL "${workers[0]}"
    expect_lost "$launcher: rank 0 killed" 6 0 "$killed"
done

soon start 4 "${ours[@]}"
kill -STOP "${workers[0]}"
expect_late "ours: rank 0 stopped" 0 ", its process is stopped"

# Two at once: still one message, about either.
start 4 "${ours[@]}"
kill -KILL "${workers[0]}" "${workers[1]}"
expect_lost "ours: ranks 0 and 1 killed" 6 "[01]" "$killed"

if [ "$program" = soak ]; then
    begin "${ours[@]}" --fail-rank 3 --fail-round 200 --fail-how exit
    expect_lost "a rank exits without a word" 6 3 "its process (ended|exited with code 3)"
    soon begin "${ours[@]}" --fail-rank 3 --fail-round 200 --fail-how hang
    expect_late "a rank loops" 3 ""
    begin "${ours[@]}" --fail-rank 2 --fail-round 200 --fail-how status
    expect_end "a rank cannot go on by itself" 7
    grep -Eq '^dragoman: rank 2 \(host [^)]+\): soak: told to fail$' "$dir/err" ||
        say_bad "a rank cannot go on by itself: want its sentence"
fi

# The whole job frozen for longer than the deadline, as a scheduler may do, is nobody's fault.
soon start 4 "${ours[@]}"
kill -STOP "${workers[3]}"
sleep 0.3 # now the others wait for rank 3
kill -STOP "${workers[@]}"
sleep $((short / 1000 + 2))
kill -CONT "${workers[0]}"
sleep 0.5 # who wakes first must not blame those who still sleep
kill -CONT "${workers[@]}"
sleep 2
kill -TERM "$job"
expect_end "frozen, thawed, then TERM" 143

start 4 "${ours[@]}"
kill -INT "$job"
expect_end "INT" 130

# What waits sleeps, and looks a thousand times a second at most, on any machine. Its time is the best of three: what else runs there costs
# an idle rank time, too.
if [ "$program" = soak ]; then
    for _ in 1 2 3; do
        begin "$here/launch/dragoman-mpirun" -n 4 -- --rounds 8 --pause-ms 500 --cpu
        expect_end "idle" 0
        awk '$1 == "cpu" { found = 1; bad = $12 < 1 || $12 > 1500 } END { exit !found || bad }' "$dir/out" ||
            say_bad "idle: want 1 to 1500 rests a second: $(cat "$dir/out")"
        awk '$1 == "cpu" { bad = $2 > 5 } END { exit bad }' "$dir/out" && break
    done || say_bad "idle: want at most 5 % of a core a rank: $(cat "$dir/out")"
fi

echo "failure: $checks checks"
exit $bad
