#!/usr/bin/env bash
# --device cuda: what is said where there is no plug-in, no GPU or not enough memory; and, on the plug-in's sources run on the CPU
# (tests/kernels/cuda_on_cpu) or on a GPU where there is one, the bytes of --device cpu.
# usage: cuda.sh DRAGOMAN_BINARY FOLDER_OF_THE_PLUGIN_ON_CPU
set -u
dragoman=$1 on_cpu=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
model=$here/models/multi30k-token
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0 checks=0
unset DGM_DEVICE

gzip -dc "$here/tests/data/multi30k/test_2016_flickr.en.gz" | awk "length < 30" | head -n 2 >"$dir/in"

# refuses PATTERN COMMAND...: exit code 2, a last line that matches, nothing on standard output.
refuses() {
    local pattern=$1 got
    shift
    checks=$((checks + 1))
    "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    { [ "$got" -eq 2 ] && [ ! -s "$dir/out" ] && tail -n 1 "$dir/err" | grep -q -- "^dragoman: .*$pattern"; } && return
    echo "wanted exit code 2 and '$pattern', found $got:"
    tail -n 2 "$dir/err"
    bad=1
}

# same NAME MODEL OPTION...: --device cuda gives the bytes of --device cpu.
same() {
    local name=$1 m=$2
    shift 2
    checks=$((checks + 1))
    "$dragoman" translate -m "$m" -s en -t de -i "$dir/in" --with-score "$@" >"$dir/want" 2>"$dir/err" &&
        "$dragoman" translate -m "$m" -s en -t de -i "$dir/in" --with-score "$@" --device cuda >"$dir/got" 2>"$dir/err" &&
        grep -q 'experts on the GPU' "$dir/err" && [ -s "$dir/want" ] && cmp "$dir/want" "$dir/got" && return
    echo "$name: not the bytes of --device cpu"
    tail -n 2 "$dir/err"
    bad=1
}

translate=("$dragoman" translate -m "$model" -s en -t de -i "$dir/in" --device cuda)
refuses "want its plug-in /nowhere/libdragoman_cuda.so, found none" env DGM_PLUGIN_DIR=/nowhere "${translate[@]}"
: >"$dir/libdragoman_cuda.so"
refuses "cannot be loaded" env DGM_PLUGIN_DIR="$dir" "${translate[@]}"
refuses "no GPU can be used" env DGM_PLUGIN_DIR="$on_cpu" DGM_ON_CPU_GPUS=0 "${translate[@]}"
refuses "GPU 0 has .* MiB free, and the experts of this rank want .* MiB" \
    env DGM_PLUGIN_DIR="$on_cpu" DGM_ON_CPU_MIB=80 "${translate[@]}"
checks=$((checks + 1))
DGM_PLUGIN_DIR=$on_cpu DGM_ON_CPU_FAIL=3 "${translate[@]}" >"$dir/out" 2>"$dir/err"
{ [ $? -eq 7 ] && grep -q '^dragoman: the GPU: .*an error' "$dir/err"; } || {
    echo "an error of the GPU while it works: not exit code 7"
    tail -n 2 "$dir/err"
    bad=1
}
refuses "want its plug-in" env DGM_PLUGIN_DIR=/nowhere "$dragoman" bench cuda
plugin=$(dirname "$dragoman")/libdragoman_cuda.so
if ! "$dragoman" translate -m "$model" -s en -t de -i "$dir/in" --device cuda >"$dir/out" 2>"$dir/err"; then
    [ -e "$plugin" ] && why="no GPU can be used" || why="want its plug-in"
    refuses "$why" "${translate[@]}"
    export DGM_PLUGIN_DIR=$on_cpu
fi

same "bf16" "$model"
for kind in int8 int4; do
    "$dragoman" quantize -m "$model" -o "$dir/$kind" --experts $kind --dense int8 --group 32 2>"$dir/err" || {
        cat "$dir/err"
        exit 1
    }
done
head -n 1 "$dir/in" >"$dir/one" && mv "$dir/one" "$dir/in"
same "int8" "$dir/int8" --compute f32
same "int8 x int8" "$dir/int8" --compute int8
same "int4 x int8" "$dir/int4" --compute int8
cat >"$dir/mixed" <<MIXED
#!/bin/sh
[ "\$OMPI_COMM_WORLD_RANK" = 0 ] || export DGM_DEVICE=cuda
exec "$dragoman" "\$@"
MIXED
chmod +x "$dir/mixed"
if command -v mpirun >/dev/null; then
    checks=$((checks + 1))
    DRAGOMAN=$dragoman "$here/launch/dragoman-mpirun" -n 2 translate -m "$dir/int4" -s en -t de -i "$dir/in" --with-score \
        --compute int8 --device cuda >"$dir/got" 2>"$dir/err"
    cmp "$dir/want" "$dir/got" || { echo "2 ranks: other bytes"; tail -n 2 "$dir/err"; bad=1; }
    # One rank on a GPU, one on the CPU.
    checks=$((checks + 1))
    DRAGOMAN=$dir/mixed "$here/launch/dragoman-mpirun" -n 2 translate -m "$dir/int4" -s en -t de -i "$dir/in" --with-score \
        --compute int8 >"$dir/got" 2>"$dir/err"
    cmp "$dir/want" "$dir/got" || { echo "a rank with and one without: other bytes"; tail -n 2 "$dir/err"; bad=1; }
else
    echo "skip: ranks, mpirun is not installed"
fi
echo "$checks checks"
exit $bad
