#!/usr/bin/env bash
# Our f32 GEMM beside OpenBLAS and oneDNN, and int8 beside oneDNN, on this machine, with 1 thread and with 2 (or those named);
# then 16 experts of 4 to 32 rows each, ours in one call, oneDNN's one after the other.
# usage: tests/bench/gemm_peers.sh [-o large|experts] [-s SECONDS] [THREADS ...]
#   -o   only the large matrices, or only the experts       -s   seconds for each line (large 3, experts 1)
# About 4 minutes a thread number for the large matrices and 1 for the experts.
# Needs libopenblas-dev and libdnnl-dev (launch/setup.sh bench). BUILD: a build folder, default build/release.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build/release} programs=(gemm_peers gemm_experts) seconds=()
while getopts o:s: flag; do
    case $flag${OPTARG:-} in
    olarge) programs=(gemm_peers) ;;
    oexperts) programs=(gemm_experts) ;;
    s*) seconds=("$OPTARG") ;;
    *) sed -n '/^# usage/,/^# Needs/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- 1 2

[ -f "$build/build.ninja" ] || cmake --preset release >/dev/null
if ! cmake --build "$build" --target "${programs[@]}" >&2; then
    echo "gemm_peers.sh: not built: are libopenblas-dev and libdnnl-dev there?" >&2
    exit 1
fi
for threads; do
    for program in "${programs[@]}"; do
        # Idle threads of one library would spin in the way of the next one's: they are told to sleep at once.
        OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=$threads OPENBLAS_THREAD_TIMEOUT=4 \
            "$build/tests/kernels/$program" "$threads" "${seconds[@]}"
        echo
    done
done
