#!/usr/bin/env bash
# Our f32 GEMM beside OpenBLAS and oneDNN, and int8 beside oneDNN, on this machine, with 1 thread and with 2 (or those named).
# usage: tests/bench/gemm_peers.sh [THREADS ...]
# Needs libopenblas-dev and libdnnl-dev (launch/setup.sh bench). BUILD: a build folder, default build/release.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build/release}
[ $# -gt 0 ] || set -- 1 2

[ -f "$build/build.ninja" ] || cmake --preset release >/dev/null
if ! cmake --build "$build" --target gemm_peers >&2; then
    echo "gemm_peers.sh: not built: are libopenblas-dev and libdnnl-dev there?" >&2
    exit 1
fi
for threads; do
    # Idle threads of one library would spin in the way of the next one's: they are told to sleep at once.
    OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=$threads OPENBLAS_THREAD_TIMEOUT=4 \
        "$build/tests/kernels/gemm_peers" "$threads"
done
