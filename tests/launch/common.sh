# Sourced by the scripts beside it: $here, the repository; $dir, a folder of the test's own; $bad, which fail sets.
# shellcheck shell=bash disable=SC2034 # variables of those who source it
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
# ThreadSanitizer watches every read of a weight by the kernels but those of ref (kernels/CMakeLists.txt), for two thirds of a
# translation's time. Here it is to watch the program around them; the kernels it watches in tests/kernels and tests/runtime.
[ -z "${TSAN_OPTIONS:-}" ] || export DGM_ISA=ref

# fail WHAT: the test fails; what a command last said in $dir/err stands below.
fail() {
    echo "$1"
    [ ! -s "$dir/err" ] || sed 's/^/    /' "$dir/err" | head -n 8
    bad=1
}
