#!/usr/bin/env bash
# Two ranks on two hosts with a slow cable between them: a decode step and an encode phase with --overlap off, on and auto, in
# turns; medians of time and of the share spent in the exchange. Hosts are network namespaces, the cable is slow_link.c.
# usage: overlap.sh [RUNS [MBIT_PER_S DELAY_US SENTENCES]...]     default 3 runs each of 1000 200 96 and 1000 1000 96;
#        0 MBIT_PER_S: both ranks on one host
# A rank has one thread and a CPU of its own. Wants root. MODEL: a model, default one of random weights (d 512, 32 experts);
# BUILD: a build folder, default build/release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dragoman=$(realpath "${BUILD:-build/release}/dragoman")
case $* in *[!0-9\ ]*) sed -n '4,5s/^# //p' "$0" >&2; exit 2 ;; esac
runs=${1:-3}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- 1000 200 96 1000 1000 96
id=$((RANDOM % 1000)) net=10.$((100 + RANDOM % 100)).$((RANDOM % 250))
hosts=("dgm$id-a" "dgm$id-b")
dir=$(mktemp -d)

# shellcheck disable=SC2317 # called by the trap
down() {
    exec 3>&- || true
    for h in "${hosts[@]}"; do
        ip netns pids "$h" 2>/dev/null | xargs -r kill -KILL || true
        ip netns del "$h" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap down EXIT

model=${MODEL:-$dir/model}
if [ -z "${MODEL:-}" ]; then
    "$dragoman" synth --like demo --d-model 512 --ffn 2048 --heads 8 --layers 4,4 --experts 32 --sparse-step 2 \
        --threads 2 -o "$model" >/dev/null 2>&1
fi
cc -O2 -o "$dir/slow_link" tests/bench/slow_link.c
for h in "${hosts[@]}"; do
    ip netns add "$h"
    ip -n "$h" link set lo up
done

# What Open MPI calls instead of ssh: agent [options] HOST WORDS...
cat >"$dir/agent" <<'X'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec taskset -c 1 ip netns exec "$host" unshare --uts sh -c 'hostname "$0"; exec sh -c "$*"' "$host" "$@"
X
chmod +x "$dir/agent"
export DRAGOMAN=$dragoman
# shellcheck disable=SC2016 # the inner shell expands them
mpi=(env "OMPI_MCA_plm_rsh_agent=$dir/agent" OMPI_MCA_plm_rsh_no_tree_spawn=1
    "OMPI_MCA_oob_tcp_if_include=$net.0/24" "OMPI_MCA_btl_tcp_if_include=$net.0/24"
    taskset -c 0 ip netns exec "${hosts[0]}" unshare --uts sh -c 'hostname "$0"; exec "$@"' "${hosts[0]}"
    launch/dragoman-mpirun --host "${hosts[0]}:1,${hosts[1]}:1" -n 2)

cable() { # cable MBIT_PER_S DELAY_US
    rm -f "$dir/cord" "$dir/up"
    mkfifo "$dir/cord"
    "$dir/slow_link" "${hosts[@]}" "$1" "$2" <"$dir/cord" >"$dir/up" &
    exec 3>"$dir/cord"
    while [ ! -s "$dir/up" ]; do sleep 0.1; done
    for i in 0 1; do
        ip -n "${hosts[i]}" link set link0 mtu 9000 txqueuelen 10000 up
        ip -n "${hosts[i]}" addr add "$net.$((i + 1))/24" dev link0
    done
}

# one HOW SENTENCES: appends, for each stack, milliseconds a step and the share of the exchange
one() {
    "${start[@]}" bench layers -m "$model" --threads 1 \
        --batch "$2" --beam 1 --src-tokens 32 --tgt-tokens 24 --json --overlap "$1" 2>"$dir/err" >"$dir/out" ||
        { cat "$dir/err" >&2; exit 1; }
    jq -rs 'group_by(.stack) | .[] | select(.[0].stack != "") |
        "\(.[0].stack) \([.[].ms_per_step] | add) \([.[] | select(.stage == "exchange").ms_per_step] | add)"' "$dir/out" |
        while read -r stack ms wait; do echo "$ms $wait" >>"$dir/$stack.$1"; done
}
median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

while [ $# -ge 3 ]; do
    start=(launch/dragoman-mpirun -n 2)
    if [ "$1" != 0 ]; then
        cable "$1" "$2"
        start=("${mpi[@]}")
    fi
    rm -f "$dir"/encoder.* "$dir"/decoder.*
    for _ in $(seq "$runs"); do
        for how in off on auto; do one $how "$3"; done
    done
    for stack in encoder decoder; do
        printf '%s Mbit/s, %s us, %s sentences, %s:' "$1" "$2" "$3" $stack
        for how in off on auto; do
            ms=$(cut -d' ' -f1 "$dir/$stack.$how" | median)
            share=$(awk '{ print 100 * $2 / $1 }' "$dir/$stack.$how" | median)
            [ $how != off ] || off=$ms
            awk -v h=$how -v m="$ms" -v s="$share" -v o="$off" 'BEGIN { printf "  %s %.2f ms (%.0f %% exchange, %.2f)", h, m, s, m / o }'
        done
        printf '  (medians of %s)\n' "$runs"
    done
    exec 3>&-
    wait
    shift 3
done
