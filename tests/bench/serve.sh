#!/usr/bin/env bash
# serve.sh - `dragoman serve` over its socket: throughput beside translate, latency under load, a stall, a line beside a large job, many in
# flight, a soak, lost ranks.
#
# usage: tests/bench/serve.sh [-m MODEL] [-M MODEL] [-k LINES] [-r RUNS] [-j THREADS] [-n RANKS] [-B BEAM] [-s SECONDS] [-p LOADS] [-o OPTIONS] [-b BUILD] [-c BUILD] [-e DIR] [-C CLIENTS] [PART...]
#   PART: throughput latency stall beside flight idle soak lost     throughput, latency, beside and flight when none is named
#   -m   the model (the demonstration model; soak: `tiny`, a random one made on the spot)        -M   that of `beside` (a random mixture of width 512, made on the spot)
#   -k   lines of throughput (3000), requests of the soak (100000), lines of each probe of `beside` (200)
#   -r   runs of each (3)                           -j   threads of each rank (1)
#   -n   ranks (1)                                  -B   beam (4)
#   -s   seconds of arrivals at each rate (8); of the soak (600)
#   -p   loads of latency (10,50,80)                -C   clients of the soak (1000)
#   -o   more options of serve and translate        -b   the build (build/release)
#   -c   the build of the load generators (that of -b), when the server's is slow: -b build/tsan -c build/release
#   -e   keeps there what servers said, and traces of the lines: when due (s), sent late, took, waited, computed (ms), tokens out
#
# throughput: the same file by translate and by serve without its cache, one after the other; medians. 2048 lines are in flight, over 1, 16 and
#   256 connections, a line a request; the bytes are compared. CPU is what the process took while lines were translated: reading the
#   model is left out of both. Where all share one core the client takes from the server: `less client` is the ratio when its CPU time is taken off.
# latency: lines come at random times (Poisson) at 10, 50, 80 % of what 16 connections reached; it counts from when they were to come. `one by one` is
#   the p95 of the same arrivals, if each line took what it takes at saturation, and began when the one before was done: much more than that is the
#   scheduler's. `others` had that much of the
#   CPUs at the same time. Saturation is measured again at the end: when it is another, so was the machine.
# stall: the same at 80 %, but the server is stopped for half a second: how long that lasts.
# beside: a line at a time, with pauses, idle and while a job of 10,000 lines runs; at most 32 tokens each, as a random model ends no sentence.
# flight: 2000 lines in flight on one connection.
# idle: CPU time of each rank of a server that has nothing to do, over 10 s; and a line after 5 s (-s) of that beside lines one after another,
#   medians of LINES (20). A server that has been idle may take 5 % of a core a rank, and 1 ms more for the first line.
# soak: 1000 clients, 100,000 requests in several ways and languages, cancels, deadlines, disconnects, questions, and pages asked for meanwhile;
#   descriptors and memory. -s 60 -k 10000 is a short one. A report of a sanitizer is a failure. -n: on so many ranks.
# lost: a rank of -n (2) is killed while 1000 lines are in work: each must be answered, with an error that says to come again.
# Takes about 2, 1, 1, 1, 1, 2, 11 and 1 minutes on one core. Pin it: taskset -c 0 tests/bench/serve.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=models/multi30k-token wide='' lines='' runs=3 threads=1 ranks=1 beam=4 seconds='' cache=0 more=() build=build/release clients='' kept='' loads=10,50,80 people=1000
while getopts m:M:k:r:j:n:B:s:p:o:b:c:e:C: flag; do
    case $flag in
    m) model=$OPTARG ;;
    M) wide=$OPTARG ;;
    k) lines=$OPTARG ;;
    r) runs=$OPTARG ;;
    j) threads=$OPTARG ;;
    n) ranks=$OPTARG ;;
    B) beam=$OPTARG ;;
    s) seconds=$OPTARG ;;
    p) loads=$OPTARG ;;
    o) read -ra more <<<"$OPTARG" ;;
    b) build=$OPTARG ;;
    c) clients=$OPTARG ;;
    e) kept=$OPTARG ;;
    C) people=$OPTARG ;;
    *) sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
program=$build/dragoman load=${clients:-$build}/tests/launch/serve_load soak=${clients:-$build}/tests/launch/serve_soak
dir=$(mktemp -d)
[ -z "$kept" ] || mkdir -p "$kept"
at=unix:$dir/socket
server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; [ ! -f "$dir/server" ] || keep "$dir/server" server; rm -rf "$dir"' EXIT
export DGM_LOG_LEVEL=info
direction=(-s eng_Latn -t deu_Latn)
gzip -dc tests/data/multi30k/val.en.gz tests/data/multi30k/test_2016_flickr.en.gz >"$dir/text"
for i in 0 1 2 3 4 5 6 7 8; do sed "s/^/$i /;s/^0 //" "$dir/text"; done | head -n "${lines:-3000}" >"$dir/in" || true

# on RANKS: where the program runs from now on
on() {
    ranks=$1
    run=("$program")
    [ "$ranks" -eq 1 ] || run=(env DRAGOMAN="$program" launch/dragoman-mpirun -n "$ranks")
}
on "$ranks"

# start MODEL OPTION...: a server without a cache, until it answers
start() {
    local m=$1
    shift
    "${run[@]}" serve -m "$m" --listen "$at" --cache-mib $cache --threads "$threads" --beam-size "$beam" "$@" ${more[@]+"${more[@]}"} 2>"$dir/server" &
    server=$!
    for _ in $(seq 600); do
        "$program" client --connect "$at" --attempts 1 health 2>/dev/null | grep -q ready && return
        kill -0 "$server" || break
        sleep 0.1
    done
    cat "$dir/server" >&2
    return 1
}

# keep FILE NAME: where -e says
keep() { [ -z "$kept" ] || cp "$1" "$kept/$2"; }

# stop [CODE]: the server ends as SIGTERM ends it, and no sanitizer had anything to report
stop() {
    local code=0
    kill "$server"
    wait "$server" || code=$?
    server=''
    check_end $code 143
}

# check_end CODE WANT
check_end() {
    ! grep -E 'Sanitizer|runtime error:' "$dir/server" >&2 || { sed -n '/Sanitizer\|runtime error:/,+40p' "$dir/server" | head -n 200 >&2; exit 1; }
    [ "$1" -eq "$2" ] || { tail -n 20 "$dir/server" >&2; echo "the server ended with $1, not $2" >&2; exit 1; }
}

# pid_of RANK
pid_of() {
    [ "$ranks" -gt 1 ] || { echo "$server"; return; }
    pgrep -f -- "serve .*--listen $at" | while read -r p; do # not the guard beside it, which has another name
        if [ "$(cat "/proc/$p/comm" 2>/dev/null)" = dragoman ] && grep -qzx "OMPI_COMM_WORLD_RANK=$1" "/proc/$p/environ" 2>/dev/null; then echo "$p"; fi
    done
}

# server_cpu: seconds that the server's processes have taken
server_cpu() {
    pgrep -f -- "serve .*--listen $at" | while read -r p; do
        sed 's/.*) //' "/proc/$p/stat" 2>/dev/null || true
    done | awk -v hz="$(getconf CLK_TCK)" '{ s += $12 + $13 } END { printf "%.2f\n", s / hz }'
}

value() { awk -v n="$2" '$1 == n { print $2 }' "$1"; }
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# translate FILE: appends its seconds and CPU seconds to $dir/translate.{s,cpu}; nothing of it is reading the model
translate() {
    local TIMEFORMAT='%U %S' cpu
    cpu=$({ time "${run[@]}" translate -m "$model" "${direction[@]}" --threads "$threads" --beam-size "$beam" ${more[@]+"${more[@]}"} -i "$1" >"$dir/out" 2>"$dir/err" ||
        [ $? -eq 1 ]; } 2>&1)
    [ "$1" = "$dir/nothing" ] || sed -nE 's/.* tokens in ([0-9.]+) s: .*/\1/p' "$dir/err" | tail -n 1 >>"$dir/translate.s"
    awk '{ print $1 + $2 }' <<<"$cpu" >"$dir/cpu"
}

throughput() {
    local n before lines=${lines:-3000}
    : >"$dir/nothing"
    translate "$dir/nothing"
    local idle
    idle=$(cat "$dir/cpu")
    start "$model"
    "$load" "$at" "${direction[@]}" -i "$dir/in" -k 100 >"$dir/run" # it has read its weights
    for _ in $(seq "$runs"); do
        translate "$dir/in"
        awk -v i="$idle" '{ print $1 - i }' "$dir/cpu" >>"$dir/translate.cpu"
        cp "$dir/out" "$dir/want"
        for n in 1 16 256; do
            before=$(server_cpu)
            "$load" "$at" "${direction[@]}" -i "$dir/in" -n $n -w $((2048 / n)) -o "$dir/got" >"$dir/run"
            cmp "$dir/got" "$dir/want"
            server_cpu | awk -v b="$before" '{ print $1 - b }' >>"$dir/$n.cpu"
            value "$dir/run" seconds >>"$dir/$n.s"
            value "$dir/run" client_cpu_s >>"$dir/$n.client"
        done
    done
    stop
    printf '%d lines, %s, beam %d, %d ranks of %d threads; medians of %d\n\n' "$lines" "$model" "$beam" "$ranks" "$threads" "$runs"
    printf '| connections | lines/s | CPU s | CPU s of the client | lines/s against translate | less client | CPU against translate |\n'
    printf '| --- | --- | --- | --- | --- | --- | --- |\n'
    local s cpu
    s=$(median "$dir/translate.s") cpu=$(median "$dir/translate.cpu")
    awk -v l="$lines" -v s="$s" -v c="$cpu" 'BEGIN { printf "| translate | %.0f | %.2f | | | | |\n", l / s, c }'
    for n in 1 16 256; do
        awk -v n=$n -v l="$lines" -v ts="$s" -v tc="$cpu" -v s="$(median "$dir/$n.s")" -v c="$(median "$dir/$n.cpu")" -v k="$(median "$dir/$n.client")" 'BEGIN {
            printf "| %d | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", n, l / s, c, k, ts / s, ts / (s - k), tc / c }'
    done
}

# busy: seconds that the CPUs which we may use have worked, for whomever; others: of these, what was neither the server's nor a child's of ours
busy() {
    awk -v hz="$(getconf CLK_TCK)" -v list="$(sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status)" '
        BEGIN { n = split(list, part, ","); for (i = 1; i <= n; i++) { split(part[i] "-" part[i], ends, "-"); for (c = ends[1]; c <= ends[2]; c++) mine["cpu" c] } }
        $1 in mine { s += $2 + $3 + $4 + $7 + $8 + $9 } END { printf "%.2f\n", s / hz }' /proc/stat
}
others() {
    local TIMEFORMAT='%U %S' ours
    ours=$(times | tail -n 1 | tr 'ms' '  ' | awk '{ print $1 * 60 + $2 + $3 * 60 + $4 }')
    awk -v b="$(busy)" -v s="$(server_cpu)" -v o="$ours" 'BEGIN { print b - s - o }'
}

# one_by_one TRACE RATE: p95 in ms when a line begins as the one before is done
one_by_one() {
    awk -v each="$(awk -v r="$2" 'BEGIN { print 1 / r }')" '{ done = ($1 > done ? $1 : done) + each; print 1000 * (done - $1) }' "$1" | sort -n |
        awk '{ v[NR] = $1 } END { printf "%.1f\n", v[int((NR * 95 + 99) / 100)] }'
}

# saturate: sets $most, lines a second over 16 connections
saturate() {
    "$load" "$at" "${direction[@]}" -i "$dir/in" -n 16 -w 128 >"$dir/run"
    most=$(value "$dir/run" lines_per_s)
}

# arrive PERCENT: lines come at so much of $most; $dir/run, $dir/trace
arrive() {
    rate=$(awk -v m="$most" -v p="$1" 'BEGIN { print m * p / 100 }')
    "$load" "$at" "${direction[@]}" -i "$dir/in" -n 16 -r "$rate" -S "$1" -k "$(awk -v r="$rate" -v s="${seconds:-8}" 'BEGIN { printf "%d", r * s + 1 }')" -T "$dir/trace" >"$dir/run"
    keep "$dir/trace" "trace.$1"
}

latency() {
    local part rate most before
    start "$model"
    saturate
    printf 'saturation %.0f lines/s\n\n' "$most"
    printf '| load | lines/s | p50 ms | p95 ms | p99 ms | one by one, p95 ms | sent late, p99 ms | others, %% |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n'
    for part in ${loads//,/ }; do
        before=$(others)
        arrive "$part"
        printf '| %d %% | %.0f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |\n' "$part" "$rate" "$(value "$dir/run" latency_p50_ms)" "$(value "$dir/run" latency_p95_ms)" \
            "$(value "$dir/run" latency_p99_ms)" "$(one_by_one "$dir/trace" "$most")" "$(value "$dir/run" sent_late_p99_ms)" \
            "$(awk -v b="$before" -v a="$(others)" -v s="$(value "$dir/run" seconds)" 'BEGIN { print 100 * (a - b) / s }')"
    done
    saturate
    printf '\nsaturation afterwards %.0f lines/s\n' "$most"
    stop
}

stall() {
    local rate most pid from
    start "$model"
    saturate
    pid=$(pid_of 0)
    (sleep 2; kill -STOP "$pid"; sleep 0.5; kill -CONT "$pid") &
    arrive 80
    wait $!
    stop
    # it began with the line that took longest, and is over with the first of 50 lines in a row which take about what lines took before
    from=$(sort -t"$(printf '\t')" -k3,3 -n "$dir/trace" | tail -n 1 | cut -f1)
    awk -v from="$from" '$1 < from - 0.1 { print $2 + $3 }' "$dir/trace" >"$dir/before"
    awk -v from="$from" -v usual="$(median "$dir/before")" -v most="$most" -v rate="$rate" '
        { at[NR] = $1; took[NR] = $2 + $3 }
        END {
            for (i = 1; i + 49 <= NR; i++) {
                if (at[i] < from + 0.5) continue
                mean = 0
                for (k = i; k < i + 50; k++) mean += took[k] / 50
                if (mean < 2 * usual + 10) break
            }
            for (k = 1; k < i; k++) if (at[k] >= from) { sum += took[k]; n++; if (took[k] > worst) worst = took[k] }
            printf "\n| before, p50 ms | longest ms | mean ms until it is over | it is over after s | if lines were one queue |\n| --- | --- | --- | --- | --- |\n"
            printf "| %.1f | %.0f | %.0f | %.2f | %.2f |\n", usual, worst, sum / n, at[i] - from - 0.5, 0.5 * rate / (most - rate)
        }' "$dir/trace"
}

# shellcheck disable=SC1091,SC2034 # work: of what is sourced
random_model() {
    [ -n "$wide" ] && return
    work=$dir
    . tests/bench/synthetic.sh
    equal_moe "$dir" 512 8 int8
    wide=$dir/moe-512-8-int8
}

# probe NAME: lines one at a time, none of which the job has
probe() {
    "$load" "$at" "${direction[@]}" -i "$dir/probes" -k "${lines:-200}" -w 1 -p 100 -T "$dir/$1.trace" >"$dir/$1"
    keep "$dir/$1.trace" "trace.$1"
    printf '| %s | %.0f | %.0f |\n' "$1" "$(value "$dir/$1" latency_p50_ms)" "$(value "$dir/$1" latency_p95_ms)"
}

beside() {
    random_model
    sed 's/^/Now: /' "$dir/text" >"$dir/probes"
    start "$wide" --max-length 32
    "$load" "$at" "${direction[@]}" -i "$dir/in" -k 2 -w 1 >"$dir/run"
    printf '| a line at a time | p50 ms | p95 ms |\n| --- | --- | --- |\n'
    probe idle
    "$load" "$at" "${direction[@]}" -i "$dir/text" -k 10000 >"$dir/job" 2>&1 &
    local job=$!
    sleep 2
    probe beside
    kill -0 $job 2>/dev/null || { cat "$dir/job"; echo 'the job was over too soon'; exit 1; }
    kill $job
    wait $job || true
    stop
    awk -v a="$(value "$dir/idle" latency_p50_ms)" -v b="$(value "$dir/beside" latency_p50_ms)" -v c="$(value "$dir/idle" latency_p95_ms)" \
        -v d="$(value "$dir/beside" latency_p95_ms)" 'BEGIN { printf "| ratio | %.2f | %.2f |\n", b / a, d / c }'
}

flight() {
    start "$model"
    "$load" "$at" "${direction[@]}" -i "$dir/in" -k 4000 -n 1 -w 2000 >"$dir/run"
    grep -E 'most_in_flight|lines_per_s|client_cpu' "$dir/run"
    stop
}

# rank_ticks: `PID TICKS` of each rank
rank_ticks() {
    pgrep -f -- "serve .*--listen $at" | while read -r p; do
        [ "$(cat "/proc/$p/comm" 2>/dev/null)" = dragoman ] || continue
        sed 's/.*) //' "/proc/$p/stat" | awk -v p="$p" '{ print p, $12 + $13 }'
    done | sort
}

idle() {
    local client=$build/tests/launch/serve_client n
    start "$model" --http "127.0.0.1:$((20000 + RANDOM % 20000))"
    for n in $(seq 200); do echo 'A man rides a horse.'; done >"$dir/same"
    n=${lines:-20}
    "$client" "$at" times eng_Latn deu_Latn <"$dir/same" | tail -n 100 >"$dir/warm"
    sleep 2
    rank_ticks >"$dir/before"
    sleep 10
    rank_ticks >"$dir/after"
    join "$dir/before" "$dir/after" | awk -v hz="$(getconf CLK_TCK)" '{ printf "a rank: %.1f %% of a core\n", 100 * ($3 - $2) / hz / 10 }'
    head -n "$n" "$dir/same" | "$client" "$at" times eng_Latn deu_Latn pause=$((1000 * ${seconds:-5})) >"$dir/cold"
    stop
    for i in warm cold; do
        for k in 1 2 3; do cut -d' ' -f$k "$dir/$i" >"$dir/column"; median "$dir/column"; done | paste -sd' ' >"$dir/$i.ms"
    done
    paste -d' ' "$dir/warm.ms" "$dir/cold.ms" | awk -v s="${seconds:-5}" -v n="$n" '{
        printf "one after another: %.2f ms (%.2f waiting, %.2f computing); after %d s: %.2f ms (%.2f, %.2f); medians, of %d\n", $1, $2, $3, s, $4, $5, $6, n }'
}

# tiny_model: so little arithmetic that a watched server is busy with its clients
tiny_model() {
    [ "$model" = tiny ] || return 0
    "$program" synth --like demo --d-model 8 --heads 1 --ffn 8 --layers 2,2 --experts 4 -o "$dir/tiny" >"$dir/out" 2>&1 || { cat "$dir/out" >&2; exit 1; }
    model=$dir/tiny
}

# look PORT ORIGIN_PORT: at the pages, as a Prometheus and browsers do, some of which go away; until the soak has its answers. $dir/looks
look() {
    local n=0 posted=0 ask='{"src": "en", "tgt": "de", "lines": ["A man rides a horse.", "very very very very very very big dog"], "retry": "checks", "alignment": true}'
    until grep -q ' requests of ' "$dir/soak" || ! kill -0 "$asker" 2>/dev/null; do
        n=$((n + 1))
        curl -s --max-time 300 "http://127.0.0.1:$1/metrics" >"$dir/metrics"
        awk -f tests/launch/prometheus.awk "$dir/metrics" || return 1
        curl -s --max-time 300 -o "$dir/page" "http://127.0.0.1:$1/readyz" || return 1
        curl -s --max-time 300 -H "Origin: http://127.0.0.1:$2" -H 'Content-Type: application/json' -d "$ask" "http://127.0.0.1:$2/translate" >"$dir/page" || return 1
        grep -Eq '"answers"|"code": *"busy"' "$dir/page" || { cat "$dir/page" >&2; return 1; }
        ! grep -q '"answers"' "$dir/page" || posted=$((posted + 1))
        curl -s --max-time "0.0$((RANDOM % 90 + 10))" -H "Origin: http://127.0.0.1:$2" -d "$ask" "http://127.0.0.1:$2/translate" -o "$dir/page" || true
        sleep 0.5
    done
    echo "$n times /metrics, $posted times two lines by the page's way, and $n times some broken off" >"$dir/looks"
}

soak() {
    local grow=32 port=$((20000 + RANDOM % 20000)) asker looker
    ! grep -q '__[at]san_init' "$program" || grow=0 # their own memory grows
    cache=1
    tiny_model
    { cat tests/launch/odd_lines.txt; printf '\nb\xffd\n'; printf 'Two dogs play. %.0s' 1 2 3 4 5 6 7 8; echo; cat "$dir/text"; } >"$dir/soaked"
    start "$model" --http "127.0.0.1:$port" --web "127.0.0.1:$((port + 1))"
    "$soak" "$at" -P eng_Latn:deu_Latn,deu_Latn:eng_Latn,eng_Latn:fra_Latn -i "$dir/soaked" -l 1000 -p "$(pid_of 0)" -n "$people" -k "${lines:-100000}" -d "${seconds:-600}" -m $grow >"$dir/soak" &
    asker=$!
    until [ -s "$dir/soak" ] || ! kill -0 $asker; do sleep 0.1; done
    look "$port" $((port + 1)) &
    looker=$!
    tail -n +1 -f --pid=$asker "$dir/soak"
    wait $asker
    wait $looker || { echo 'a page was not answered' >&2; exit 1; }
    cat "$dir/looks"
    stop
    echo "no report of a sanitizer in $(wc -l <"$dir/server") lines of the server's log"
}

lost() {
    local code=0 rank pid
    [ "$ranks" -gt 1 ] || on 2
    rank=$((ranks - 1))
    start "$model"
    pid=$(pid_of $rank)
    "$load" "$at" "${direction[@]}" -i "$dir/in" -k 1000 -n 20 -w 50 -L >"$dir/run" &
    local asker=$!
    until grep -q sent "$dir/run"; do kill -0 $asker; sleep 0.01; done
    kill -KILL "$pid"
    wait $asker
    wait "$server" || code=$?
    server=''
    check_end $code 6
    printf 'rank %d of %d was killed: %d of 1000 lines were answered with RANK_LOST, the others were done\n' $rank "$ranks" "$(value "$dir/run" lost)"
}

[ $# -gt 0 ] || set -- throughput latency beside flight
for part; do
    case $part in
    throughput | latency | stall | beside | flight | idle | soak | lost) echo "== $part"; "$part" ;;
    *) echo "serve.sh: want throughput, latency, stall, beside, flight, idle, soak or lost, found $part" >&2; exit 2 ;;
    esac
done
