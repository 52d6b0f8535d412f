#!/usr/bin/env bash
# serve.sh - `dragoman serve` over its socket: throughput beside translate, latency under load, a line beside a large job, many in flight, and a soak.
#
# usage: tests/bench/serve.sh [-m MODEL] [-M MODEL] [-k LINES] [-r RUNS] [-j THREADS] [-n RANKS] [-B BEAM] [-s SECONDS] [-o OPTIONS] [-b BUILD] [PART...]
#   PART: throughput latency beside flight idle soak     all but idle and soak when none is named
#   -m   the model (the demonstration model)        -M   that of `beside` (a random mixture of width 512, made on the spot)
#   -k   lines of throughput (3000), requests of the soak (100000)
#   -r   runs of each (3)                           -j   threads of each rank (1)
#   -n   ranks (1; the soak has one)
#   -B   beam (4)                                   -s   seconds of arrivals at each rate (8); of the soak (600)
#   -o   more options of serve and translate        -b   the build (build/release)
#
# throughput: the same file by translate and by serve without its cache, one after the other; medians. 2048 lines are in flight, over 1, 16 and
#   256 connections, a line a request; the bytes are compared. CPU is what the process took while lines were translated: reading the
#   model is left out of both. Where all share one core the client takes from the server: `less client` is the ratio when its CPU time is taken off.
# latency: lines come at random times (Poisson) at 10, 50, 80 % of what 16 connections reached; it counts from when they were to come.
# beside: a line at a time, with pauses, idle and while a job of 10,000 lines runs; at most 32 tokens each, as a random model ends no sentence.
# flight: 2000 lines in flight on one connection.
# idle: CPU time of each rank of a server that has nothing to do, over 10 s; and a line after 5 s (-s) of that beside lines one after another,
#   medians of LINES (20). A server that has been idle may take 5 % of a core a rank, and 1 ms more for the first line.
# soak: 1000 clients, 100,000 requests, cancels, deadlines, disconnects; descriptors and memory. -s 60 -k 10000 is a short one.
# Takes about 2, 1, 1, 1 and 11 minutes on one core. Pin it: taskset -c 0 tests/bench/serve.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=models/multi30k-token wide='' lines='' runs=3 threads=1 ranks=1 beam=4 seconds='' cache=0 more=() build=build/release
while getopts m:M:k:r:j:n:B:s:o:b: flag; do
    case $flag in
    m) model=$OPTARG ;;
    M) wide=$OPTARG ;;
    k) lines=$OPTARG ;;
    r) runs=$OPTARG ;;
    j) threads=$OPTARG ;;
    n) ranks=$OPTARG ;;
    B) beam=$OPTARG ;;
    s) seconds=$OPTARG ;;
    o) read -ra more <<<"$OPTARG" ;;
    b) build=$OPTARG ;;
    *) sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
program=$build/dragoman load=$build/tests/launch/serve_load soak=$build/tests/launch/serve_soak
dir=$(mktemp -d)
at=unix:$dir/socket
server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; rm -rf "$dir"' EXIT
export DGM_LOG_LEVEL=info
direction=(-s eng_Latn -t deu_Latn)
gzip -dc tests/data/multi30k/val.en.gz tests/data/multi30k/test_2016_flickr.en.gz >"$dir/text"
for i in 0 1 2 3 4 5 6 7 8; do sed "s/^/$i /;s/^0 //" "$dir/text"; done | head -n "${lines:-3000}" >"$dir/in" || true

run=("$program")
[ "$ranks" -eq 1 ] || run=(env DRAGOMAN="$program" launch/dragoman-mpirun -n "$ranks")

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

stop() {
    kill "$server"
    wait "$server" || true
    server=''
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
    printf '%d lines, %s, beam %d, %d ranks of %d threads; medians of %d\n' "$lines" "$model" "$beam" "$ranks" "$threads" "$runs"
    printf '%-12s %9s %9s %9s %9s %11s %9s\n' connections lines/s 'CPU s' client against 'less client' CPU
    local s cpu
    s=$(median "$dir/translate.s") cpu=$(median "$dir/translate.cpu")
    awk -v l="$lines" -v s="$s" -v c="$cpu" 'BEGIN { printf "%-12s %9.1f %9.2f\n", "translate", l / s, c }'
    for n in 1 16 256; do
        awk -v n=$n -v l="$lines" -v ts="$s" -v tc="$cpu" -v s="$(median "$dir/$n.s")" -v c="$(median "$dir/$n.cpu")" -v k="$(median "$dir/$n.client")" 'BEGIN {
            printf "%-12d %9.1f %9.2f %9.2f %9.2f %11.2f %9.2f\n", n, l / s, c, k, ts / s, ts / (s - k), tc / c }'
    done
}

latency() {
    local part rate most
    start "$model"
    "$load" "$at" "${direction[@]}" -i "$dir/in" -n 16 -w 128 >"$dir/run"
    most=$(value "$dir/run" lines_per_s)
    printf 'saturation %.0f lines/s\n%-9s %9s %8s %8s %8s %12s %9s\n' "$most" load lines/s 'p50 ms' 'p95 ms' 'p99 ms' 'sent late p99' client
    for part in 10 50 80; do
        rate=$(awk -v m="$most" -v p=$part 'BEGIN { print m * p / 100 }')
        "$load" "$at" "${direction[@]}" -i "$dir/in" -n 16 -r "$rate" -S $part -k "$(awk -v r="$rate" -v s="${seconds:-8}" 'BEGIN { printf "%d", r * s + 1 }')" >"$dir/run"
        printf '%7d %% %9.1f %8.1f %8.1f %8.1f %12.1f %9.2f\n' $part "$rate" "$(value "$dir/run" latency_p50_ms)" "$(value "$dir/run" latency_p95_ms)" \
            "$(value "$dir/run" latency_p99_ms)" "$(value "$dir/run" sent_late_p99_ms)" "$(value "$dir/run" client_cpu_s)"
    done
    stop
}

# shellcheck disable=SC1091,SC2034 # work: of what is sourced
random_model() {
    [ -n "$wide" ] && return
    work=$dir
    . tests/bench/synthetic.sh
    equal_moe "$dir" 512 8 int8
    wide=$dir/moe-512-8-int8
}

# probe NAME: lines one at a time
probe() {
    "$load" "$at" "${direction[@]}" -i "$dir/in" -k 60 -w 1 -p 100 >"$dir/$1"
    printf '%-8s %8.0f %8.0f\n' "$1" "$(value "$dir/$1" latency_p50_ms)" "$(value "$dir/$1" latency_p95_ms)"
}

beside() {
    random_model
    start "$wide" --max-length 32
    "$load" "$at" "${direction[@]}" -i "$dir/in" -k 2 -w 1 >"$dir/run"
    printf '%-8s %8s %8s\n' '' 'p50 ms' 'p95 ms'
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
        -v d="$(value "$dir/beside" latency_p95_ms)" 'BEGIN { printf "ratio    %8.2f %8.2f\n", b / a, d / c }'
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

soak() {
    cache=16
    start "$model"
    "$soak" "$at" "${direction[@]}" -i "$dir/text" -p "$server" -n 1000 -k "${lines:-100000}" -d "${seconds:-600}" -m 32
    stop
}

[ $# -gt 0 ] || set -- throughput latency beside flight
for part; do
    case $part in
    throughput | latency | beside | flight | idle | soak) echo "== $part"; "$part" ;;
    *) echo "serve.sh: want throughput, latency, beside, flight, idle or soak, found $part" >&2; exit 2 ;;
    esac
done
