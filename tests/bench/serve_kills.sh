#!/usr/bin/env bash
# serve_kills.sh - processes of `dragoman serve` and its clients die or stop at random moments: what do those see who are left?
#
# usage: tests/bench/serve_kills.sh [-m MODEL] [-t TIMES] [-n RANKS,RANKS...] [-k LINES] [-S SEED] [-b BUILD] [PART...]
#   PART: ranks stop client     all when none is named
#   -m   the model (the demonstration model)        -t   times (50)
#   -n   ranks (2,4), in turn                       -k   lines of each job (400; of stop 4000, of client 20000)
#   -S   of the random moments (1)                  -b   the build (build/release)
#
# ranks: a rank is killed, each in turn. Eight times of sixteen when LINES lines over 20 connections are in work: each must be answered, with
#   an error that says to come again, or its connection ends with rank 0. Always `dragoman client -o` and the Python client are at a job of LINES
#   lines: with the next server they must end it with the bytes of translate. The job of ranks must end with 6 each time.
# stop: a rank, any, is stopped for up to 3 s and goes on, while lines are in work: none is lost, all have their bytes.
# client: `dragoman client -o FILE` is killed and started again: in the end FILE has each line once, the bytes of one run.
# Takes about 6, 2 and 1 minutes on one core.
# shellcheck disable=SC2317 # functions that await calls
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=models/multi30k-token times=50 ranks=2,4 lines='' seed=1 build=build/release
while getopts m:t:n:k:S:b: flag; do
    case $flag in
    m) model=$OPTARG ;;
    t) times=$OPTARG ;;
    n) ranks=$OPTARG ;;
    k) lines=$OPTARG ;;
    S) seed=$OPTARG ;;
    b) build=$OPTARG ;;
    *) sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
program=$build/dragoman load=$build/tests/launch/serve_load python=/usr/bin/python3
here=$PWD
# shellcheck source=tests/launch/common.sh
source tests/launch/common.sh
export DGM_LOG_LEVEL=info DGM_MODEL=$model DRAGOMAN=$program PYTHONDONTWRITEBYTECODE=1
at=unix:$dir/socket server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; rm -rf "$dir"' EXIT
RANDOM=$seed
IFS=, read -ra ranks <<<"$ranks"
direction=(-s eng_Latn -t deu_Latn)
text() { for i in $(seq 40); do gzip -dc tests/data/multi30k/val.en.gz | sed "s/^/$i /"; done | head -n "${lines:-$1}" || true; }
# flagged COMMAND...: done, though some lines may be flagged
flagged() { "$@" || [ $? -eq 1 ]; }
translate() { flagged "$program" translate "${direction[@]}" --beam-size 1 -i "$dir/in" >"$dir/want" 2>"$dir/err"; }
dies() { echo "serve_kills.sh: $*" >&2; [ ! -s "$dir/server" ] || tail -n 5 "$dir/server" >&2; exit 1; }
# moment MS: a random time below that
moment() { sleep "$(awk -v r="$RANDOM" -v m="$1" 'BEGIN { print r / 32768 * m / 1000 }')"; }
ready() { "$program" client --connect "$at" --attempts 1 health 2>/dev/null | grep -q ready; }

# start RANKS OPTION...
start() {
    local run=("$program")
    [ "$1" -eq 1 ] || run=(launch/dragoman-mpirun -n "$1")
    shift
    "${run[@]}" serve --listen "$at" --threads 1 --beam-size 1 --cache-mib 0 "$@" 2>"$dir/server" &
    server=$!
    await_from $server ready || dies 'the server does not start'
}
# ended WANT: the server has ended with this code, in at most a minute
ended() {
    local code=0
    await gone "$server" || dies 'the server does not end'
    wait "$server" || code=$?
    server=''
    [ "$code" -eq "$1" ] || dies "the server ended with $code, not $1"
}

python_job="import sys
sys.path.insert(0, 'proto/python')
from dragoman_client import Client
with Client(sys.argv[1], attempts=1000) as c:
    for a in c.translate(open(0).read().split('\\n')[:-1], 'en', 'de'):
        print(a.text)"
# begin_jobs, end_jobs: of two clients that come again by themselves
begin_jobs() {
    rm -f "$dir/file" "$dir/file.part"
    timeout 300 "$program" client --connect "$at" "${direction[@]}" --attempts 1000 -i "$dir/in" -o "$dir/file" 2>"$dir/client" &
    client=$!
    timeout 300 $python -c "$python_job" "$at" <"$dir/in" >"$dir/python.out" 2>"$dir/python" &
    snake=$!
}
end_jobs() {
    flagged wait "$client" || { cat "$dir/client" >&2; dies "dragoman client: exit code $?"; }
    cmp "$dir/file" "$dir/want" || dies 'dragoman client: another text'
    wait "$snake" || { cat "$dir/python" >&2; dies "the Python client: exit code $?"; }
    cmp "$dir/python.out" "$dir/want" || dies 'the Python client: another text'
}

# check_load CODE RANK: of serve_load, when that rank was killed
check_load() {
    if [ "$1" -eq 0 ]; then
        answered=$((answered + $(awk '$1 == "lost" { print $2 }' "$dir/load")))
    elif grep -q 'no line was lost' "$dir/load.err"; then
        late=$((late + 1))
    elif [ "$2" -eq 0 ] && grep -q 'the server closed a connection' "$dir/load.err"; then
        closed=$((closed + 1))
    else
        cat "$dir/load.err" >&2
        dies "rank $2 was killed: serve_load ended with $1"
    fi
}

ranks() {
    local i n rank code client snake asker answered=0 late=0 closed=0
    text 400 >"$dir/in"
    translate
    start "${ranks[0]}"
    for i in $(seq 0 $((times - 1))); do
        n=${ranks[i % ${#ranks[@]}]} rank=$((i / 2 % n))
        begin_jobs
        if [ $((i / 8 % 2)) -eq 0 ]; then
            timeout 300 "$load" "$at" "${direction[@]}" -i "$dir/in" -n 20 -w 50 -L >"$dir/load" 2>"$dir/load.err" &
            asker=$!
            await_from $asker says_so "$dir/load" sent || true
            moment 300
        else
            asker=''
            moment 1500
        fi
        kill -KILL "$(rank_pid "$rank" "$at")"
        if [ -n "$asker" ]; then
            code=0
            wait $asker || code=$?
            check_load $code "$rank"
        fi
        ended 6
        start "${ranks[(i + 1) % ${#ranks[@]}]}"
        end_jobs
    done
    kill "$server"
    ended 143
    printf '%d ranks killed: %d lines answered with RANK_LOST; of rank 0 %d times connections ended; %d times all lines had been done\n' \
        "$times" $answered $closed $late
}

stop() {
    local i n pid asker
    text 4000 >"$dir/in"
    translate
    for n in "${ranks[@]}"; do
        start "$n" --comm-stall-ms 500 --drain-ms 600000
        i=0
        while [ $i -lt $((times / ${#ranks[@]})) ]; do
            timeout 500 "$load" "$at" "${direction[@]}" -i "$dir/in" -n 16 -w 16 -o "$dir/got" >"$dir/load" 2>"$dir/load.err" &
            asker=$!
            while moment 500 && ! gone $asker; do
                pid=$(rank_pid $((RANDOM % n)) "$at")
                kill -STOP "$pid"
                moment $((RANDOM % 4 == 0 ? 3000 : 300))
                kill -CONT "$pid"
                i=$((i + 1))
            done
            wait $asker || { cat "$dir/load.err" >&2; dies 'stopped ranks: lines are lost'; }
            cmp "$dir/got" "$dir/want" || dies 'stopped ranks: another text'
        done
        kill "$server"
        ended 143
        printf '%d ranks: one was stopped %d times, %d of them for longer than --comm-stall-ms; nothing was lost\n' "$n" $i "$(grep -c 'its process is stopped' "$dir/server" || true)"
    done
}

lines_of_part() { if [ -e "$dir/file.part" ]; then wc -l <"$dir/file.part"; else echo 0; fi; }
grows() { [ "$(lines_of_part)" -gt "$1" ]; }
client() {
    local i asker before now=0 grown=0
    text 20000 >"$dir/in"
    translate
    start 1
    rm -f "$dir/file" "$dir/file.part"
    for i in $(seq "$times"); do
        "$program" client --connect "$at" "${direction[@]}" -i "$dir/in" -o "$dir/file" 2>"$dir/client" &
        asker=$!
        before=$now
        [ $((i % 2)) -eq 0 ] || await_from $asker grows $((before + RANDOM % 40)) || true
        moment 100
        kill -KILL $asker 2>/dev/null || dies "the job was over after $i times: more lines (-k)"
        wait $asker || true
        now=$(lines_of_part)
        [ "$now" -ge "$before" ] || dies "FILE.part had $before lines, and has $now"
        [ "$now" -eq "$before" ] || grown=$((grown + 1))
    done
    flagged "$program" client --connect "$at" "${direction[@]}" -i "$dir/in" -o "$dir/file" 2>"$dir/client" || dies 'the last client'
    cmp "$dir/file" "$dir/want" || dies 'killed clients: another text'
    kill "$server"
    ended 143
    printf 'a client was killed %d times, %d times with more lines than before, and had %d of %d when it was left alone: each line is there once\n' \
        "$times" $grown "$now" "$(wc -l <"$dir/want")"
}

[ $# -gt 0 ] || set -- ranks stop client
for part; do
    case $part in
    ranks | stop | client) echo "== $part"; "$part" ;;
    *) echo "serve_kills.sh: want ranks, stop or client, found $part" >&2; exit 2 ;;
    esac
done
