#!/usr/bin/env bash
# Decoders routed by token, by sentence and by task on one synthetic shape: one process, ranks of this host, and hosts whose links
# are limited (network namespaces, tbf), in turns; medians. Then how many times the tokens/s of token routing task routing
# has, beside what bytes and operations predict (docs/performance.md) and what arXiv 2110.03742 found.
# usage: routing.sh [-e EXPERTS] [-t LANGUAGES] [-s SETUP] [-b BATCHES] [-k KINDS] [-r RUNS] [-w TYPE] [-l RATE] [-u BURST] [-d DIR] [-- OPTIONS OF dragoman bench routing]
#   -e 32,128      experts of a layer          -t 1,4     target languages
#   -s one,2,hosts one process; so many ranks on this host; 4 hosts
#   -b 1,4,16,64,256  sentences at once        -k token,sentence,task
#   -r 3           runs of each                -w int8    weights and arithmetic, or f32
#   -l 1gbit       speed of a host's link, each way
#   -u 16k         bytes that a link may pass at once after a pause (tbf's burst): with much more than an exchange sends, nothing is limited
#   -d DIR         keep the models there (350 MB for 32 experts and 1.2 GB for 128, each kind; f32: four times that)
# Each rank has one thread. Hosts want root. A run takes some 10 s. BUILD: a build folder, default build/release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dragoman=$(realpath "${BUILD:-build/release}/dragoman")
experts=32,128 languages=1,4 setups=one,2,hosts batches=1,4,16,64,256 kinds=token,sentence,task runs=3 type=int8 models=
link=1gbit burst=16k
while getopts e:t:s:b:k:r:w:d:l:u: option; do
    case $option in
    e) experts=$OPTARG ;; t) languages=$OPTARG ;; s) setups=$OPTARG ;; b) batches=$OPTARG ;;
    k) kinds=$OPTARG ;; r) runs=$OPTARG ;; w) type=$OPTARG ;; d) models=$OPTARG ;; l) link=$OPTARG ;; u) burst=$OPTARG ;;
    *) sed -n '2,15p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
extra=("$@")
export DRAGOMAN=$dragoman
id=$((RANDOM % 1000)) net=10.$((100 + RANDOM % 100)).$((RANDOM % 250)) bridge=dgmbr$id
hosts=("dgm$id-a" "dgm$id-b" "dgm$id-c" "dgm$id-d")
dir=$(mktemp -d)
models=${models:-$dir}

# shellcheck disable=SC2317 # called by the trap
down() {
    for h in "${hosts[@]}"; do
        ip netns pids "$h" 2>/dev/null | xargs -r kill -KILL || true
        ip netns del "$h" 2>/dev/null || true
    done
    for i in 0 1 2 3; do ip link del "dgmv$id$i" 2>/dev/null || true; done
    ip link del "$bridge" 2>/dev/null || true
    rm -rf "$dir"
}
trap down EXIT

# Both ends of a host's cable are limited: what it sends, and what it receives.
up() {
    local limit=(root tbf rate "$link" burst "$burst" latency 50ms) i h
    ip link add "$bridge" type bridge
    ip addr add "$net.254/24" dev "$bridge"
    ip link set "$bridge" up
    for i in 0 1 2 3; do
        h=${hosts[i]}
        ip netns add "$h"
        ip link add "dgmv$id$i" type veth peer name eth0 netns "$h"
        ip link set "dgmv$id$i" master "$bridge" up
        ip -n "$h" addr add "$net.$((i + 1))/24" dev eth0
        ip -n "$h" link set lo up
        ip -n "$h" link set eth0 up
        tc qdisc add dev "dgmv$id$i" "${limit[@]}"
        tc -n "$h" qdisc add dev eth0 "${limit[@]}"
    done
    ip netns exec "${hosts[1]}" python3 tests/bench/link.py listen 5999 >"$dir/link" &
    sleep 0.5
    ip netns exec "${hosts[0]}" python3 tests/bench/link.py "$net.2" 5999
    wait $!
    echo "a cable of $link with bursts of $burst: $(cat "$dir/link")"
}

# What Open MPI calls instead of ssh: agent [options] HOST WORDS... Each host keeps to one of the CPUs that there are.
cat >"$dir/agent" <<'X'
#!/bin/bash
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
case $host in *-a) n=0 ;; *-b) n=1 ;; *-c) n=2 ;; *) n=3 ;; esac
exec taskset -c $((n % $(nproc))) ip netns exec "$host" unshare --uts sh -c 'hostname "$0"; exec sh -c "$*"' "$host" "$@"
X
chmod +x "$dir/agent"

make_model() { # make_model KIND EXPERTS
    local to=$models/$1-$2-$type types=(--weights int8 --dense int8)
    [ "$type" = int8 ] || types=(--weights f32 --dense f32)
    [ -d "$to" ] || "$dragoman" synth --like demo --d-model 512 --ffn 2048 --heads 8 --layers 2,6 --sparse-step 2 \
        --vocab 32000 --experts "$2" --decoder-routing "$1" "${types[@]}" -o "$to" >/dev/null 2>"$dir/err" ||
        { cat "$dir/err" >&2; exit 1; }
}

started() { # started SETUP: sets $start
    case $1 in
    one) start=("$dragoman") ;;
    hosts)
        ip link show "$bridge" >/dev/null 2>&1 || up
        start=(env "OMPI_MCA_plm_rsh_agent=$dir/agent" OMPI_MCA_plm_rsh_no_tree_spawn=1
            "OMPI_MCA_oob_tcp_if_include=$net.0/24" "OMPI_MCA_btl_tcp_if_include=$net.0/24"
            launch/dragoman-mpirun --host "$(printf '%s:1,' "${hosts[@]}" | sed 's/,$//')" -n 4 --)
        ;;
    *) start=(launch/dragoman-mpirun -n "$1" --) ;;
    esac
}

# Of all runs of a kind and batch the medians: one JSON object for each; then one line for each batch.
# What is not in the model of bytes and operations (norms, search, kernels below their peak) is taken from one process with as
# many rows a rank: how much longer its step takes than predicted, at the speed of a rank ($rest, milliseconds by batch).
# shellcheck disable=SC2016 # jq's variables
medians='def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
    map(select(.bench == "routing")) | group_by([.routing, .batch]) |
    map(. as $runs | .[0] + (["tokens_per_s", "decode_tokens_per_s", "ms_per_step", "predicted_ms", "exchange_share"] |
        map({key: ., value: (. as $key | $runs | map(.[$key]) | median)}) | from_entries)) |
    map(.ideal_ms = .predicted_ms | .predicted_ms += ($rest[.batch | tostring] // 0))'
# shellcheck disable=SC2016
lines=$medians' | .[] | [.routing, .batch, (.tokens_per_s * 10 | round / 10), (.decode_tokens_per_s * 10 | round / 10),
    (.ms_per_step * 1000 | round / 1000), (.ideal_ms * 1000 | round / 1000), (.predicted_ms * 1000 | round / 1000), (.exchange_share * 1000 | round / 10),
    (.exchange_bytes / 1024 * 10 | round / 10), (.experts_read * 100 | round / 100), (.decoder_parameters / 1e5 | round / 10)] | @tsv'
# shellcheck disable=SC2016
ratios=$medians' | group_by(.batch) | .[] | map({key: .routing, value: .}) | from_entries | select(.token and .task) |
    (.task.decode_tokens_per_s / .token.decode_tokens_per_s) as $got | (.token.predicted_ms / .task.predicted_ms) as $want |
    [.task.batch, $got, $want, $got / $want, .task.tokens_per_s / .token.tokens_per_s] | map(. * 100 | round / 100) | @tsv'
# shellcheck disable=SC2016
peaks=$medians' | group_by(.routing) | map({key: .[0].routing, value: {decode: (map(.decode_tokens_per_s) | max),
    all: (map(.tokens_per_s) | max), parameters: .[0].decoder_parameters,
    share: (max_by(.decode_tokens_per_s) | .exchange_share), predicted: (map(.batch / .predicted_ms) | max)}}) | from_entries |
    select(.token and .task) | "highest of all batches: \(.task.decode / .token.decode * 100 | round / 100) of token routing" +
    " (whole translations \(.task.all / .token.all * 100 | round / 100)), predicted \(.task.predicted / .token.predicted * 100 | round / 100);" +
    " exchange \(.token.share * 1000 | round / 10) % and \(.task.share * 1000 | round / 10) % of decode time;" +
    " decoder parameters of a rank \(.token.parameters / .task.parameters * 100 | round / 100) times fewer"'

run() { # run KIND EXPERTS LANGUAGES BATCHES OPTIONS: appends to $dir/all
    local kind=$1 e=$2 t=$3 b=$4
    shift 4
    make_model "$kind" "$e"
    "${start[@]}" bench routing -m "$models/$kind-$e-$type" --compute "$type" --threads 1 --batch "$b" \
        --src-tokens 24 --tgt-tokens 24 --targets "$t" --task-ranks split --json "$@" 2>"$dir/err" >>"$dir/all" ||
        { cat "$dir/err" >&2; exit 1; }
}

rest_of() { # rest_of SETUP EXPERTS LANGUAGES: sets $rest
    local ranks=$1 b some=
    rest={}
    [ "$1" != one ] || return 0
    [ "$1" != hosts ] || ranks=4
    for b in ${batches//,/ }; do some+=,$(((b + ranks - 1) / ranks)); done
    started one
    rm -f "$dir/all"
    run token "$2" "$3" "${some#,}" "${extra[@]}"
    run task "$2" "$3" "${some#,}" "${extra[@]}"
    rest=$(jq -s --argjson ranks "$ranks" --arg batches "$batches" 'def mean: add / length;
        (map(select(.bench == "routing peaks").gflops) | mean) as $gflops | map(select(.bench == "routing")) as $all |
        $batches | split(",") | map(tonumber as $b | {key: ., value: ($gflops * ($all | map(select(.batch == (($b / $ranks) | ceil)) |
            .ms_per_step - .predicted_ms) | mean))}) | from_entries' "$dir/all")
}

# at_speed - $rest, so far times the GFLOP/s of one process, becomes that of a rank in $dir/all.
at_speed() {
    rest=$(jq -s --argjson rest "$rest" '(map(select(.bench == "routing peaks").gflops) | add / length) as $gflops |
        $rest | map_values(. / $gflops)' "$dir/all")
}

case_of() { # case_of SETUP EXPERTS LANGUAGES
    local setup=$1 e=$2 t=$3 kind
    rest_of "$setup" "$e" "$t"
    started "$setup"
    rm -f "$dir/all"
    for _ in $(seq "$runs"); do
        for kind in ${kinds//,/ }; do
            run "$kind" "$e" "$t" "$batches" "${extra[@]}"
        done
    done
    at_speed
    [ "$setup" != hosts ] || setup="4 hosts, $link"
    echo "== $setup, $e experts, $t target language(s), $type, medians of $runs"
    jq -rs 'map(select(.bench == "routing peaks"))[0] | "a rank: \(.gflops) GFLOP/s, \(.gops) GOP/s, reading 4 to 256 MiB \(.gbytes) GB/s, an empty exchange \(.empty_exchange_us) us, \(.link_mb_per_s) MB/s"' "$dir/all"
    { printf 'routing\tbatch\ttokens/s\tdecode\tms/step\tideal\tpredicted\texch.%%\tKiB/step\texperts\tparam.M\n'; jq -rs --argjson rest "$rest" "$lines" "$dir/all"; } | column -ts $'\t'
    { printf 'batch\ttask/token\tpredicted\tof it\twhole\n'; jq -rs --argjson rest "$rest" "$ratios" "$dir/all"; } | column -ts $'\t'
    jq -rs --argjson rest "$rest" "$peaks" "$dir/all"
}

for setup in ${setups//,/ }; do
    for e in ${experts//,/ }; do
        for t in ${languages//,/ }; do case_of "$setup" "$e" "$t"; done
    done
done
echo "arXiv 2110.03742: 1.87 with 32 experts, 2.6 with 128 (32 and 128 TPU cores); exchange 26.9 and 36 % of decode time by token, 0.0 and 0.2 % by task; decoder parameters 3.75 and 32 times fewer"
