#!/usr/bin/env bash
# Installs what the tests need, builds, runs every test, and ends with `N passed, N failed, N skipped`.
# usage: tests/run.sh [quick]      quick: the release build's tests only, without sanitizers and fuzzers
#
# Counted are ctest's entries, and of an entry that skipped some of its cases each skipped case besides.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
quick=${1:-}
passed=0 failed=0 skipped=0
logs=build/test-logs

launch/setup.sh test || exit 1
mkdir -p $logs

fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}

# build PRESET [cmake options]: configures and builds; a build that fails is a failed test.
build() {
    local preset=$1
    shift
    echo "== build $preset"
    { cmake --preset "$preset" "$@" && cmake --build --preset "$preset"; } >"$logs/build-$preset.log" 2>&1 && return 0
    tail -n 40 "$logs/build-$preset.log"
    fail "build $preset"
    return 1
}

# run PRESET [ctest options]: runs and counts its tests; failures and skips are shown with their output.
run() {
    local preset=$1 log=$logs/test-$1.log
    shift
    echo "== test $preset"
    ctest --preset "$preset" --no-tests=error --output-log "$log" -V "$@" >"$log.out" 2>&1
    grep -E '^ *[0-9]+/[0-9]+ Test +#' "$log.out"
    local p f s c whole
    p=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#.* Passed ' "$log.out")
    s=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#.*\*\*\*Skipped ' "$log.out")
    f=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#.*\*\*\*(Failed|Timeout|Exception|Not Run|Subprocess)' "$log.out")
    whole=$(sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#([0-9]+):.*\*\*\*Skipped .*/^\1: /p' "$log.out") # entries whose cases do not count besides
    c=$(grep -E '^[0-9]+: (\[  SKIPPED \] [a-z_0-9]+$|(SKIP|skip(ped)?:))' "$log.out" | grep -vE -e "${whole:-^$}" | sort -u | wc -l)
    grep -E '^[0-9]+: *(\[  SKIPPED \]|SKIP|skip(ped)?:)' "$log.out" | sort -u
    if [ "$f" -gt 0 ] || [ $((p + s)) -eq 0 ]; then
        # what failed, with its output
        grep -E '^ *[0-9]+/[0-9]+ Test +#.*\*\*\*(Failed|Timeout|Exception|Not Run|Subprocess)' "$log.out" |
            sed -E 's/.*Test +#([0-9]+):.*/\1/' | while read -r n; do grep -E "^$n: " "$log.out" | tail -n 60; done
        [ $((p + s + f)) -gt 0 ] || fail "no test ran in $preset"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s + c))
}

# One more than there are CPUs: a third of the time goes into jobs that wait for a lost rank, one at a time (a lock).
CTEST_PARALLEL_LEVEL=$(($(nproc) + 1))
export CTEST_PARALLEL_LEVEL
build release -DDGM_TESTS=ON && run release
if [ "$quick" != quick ]; then
    build asan && run asan
    build tsan && run tsan
    build fuzz && run fuzz --parallel "$(nproc)" # they only compute, for a given time
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
