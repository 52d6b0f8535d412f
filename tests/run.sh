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

launch/setup.sh build || exit 1
mkdir -p $logs
: >$logs/failures # what failed and what it said, shown at the end

fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}

# build PRESET [cmake options]: configures and builds.
build() {
    local preset=$1
    shift
    { cmake --preset "$preset" "$@" && cmake --build --preset "$preset"; } >"$logs/build-$preset.log" 2>&1
}

# built PRESET CODE: what came of building it; a build that fails is a failed test.
built() {
    echo "== build $1"
    [ "$2" -eq 0 ] && return
    tail -n 40 "$logs/build-$1.log"
    fail "build $1"
    return 1
}

# run PRESET [ctest options]: runs and counts its tests; skips are shown with their reasons.
run() {
    local preset=$1 log=$logs/test-$1.log
    shift
    echo "== test $preset"
    ctest --preset "$preset" --no-tests=error --output-log "$log" -V "$@" >"$log.out" 2>&1
    grep -E '^ *[0-9]+/[0-9]+ Test +#' "$log.out"
    local p f s c whole failures='^ *[0-9]+/[0-9]+ Test +#.*\*\*\*(Failed|Timeout|Exception|Not Run|Subprocess)'
    p=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#.* Passed ' "$log.out")
    s=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#.*\*\*\*Skipped ' "$log.out")
    f=$(grep -cE "$failures" "$log.out")
    whole=$(sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#([0-9]+):.*\*\*\*Skipped .*/^\1: /p' "$log.out") # entries whose cases do not count besides
    c=$(grep -E '^[0-9]+: (\[  SKIPPED \] [a-z_0-9]+$|(SKIP|skip(ped)?:))' "$log.out" | grep -vE -e "${whole:-^$}" | sort -u | wc -l)
    grep -E '^[0-9]+: *(\[  SKIPPED \]|SKIP|skip(ped)?:)' "$log.out" | sort -u
    grep -E "$failures" "$log.out" | tee -a $logs/failures |
        sed -E 's/.*Test +#([0-9]+):.*/\1/' | while read -r n; do grep -E "^$n: " "$log.out" | tail -n 60 >>$logs/failures; done
    [ $((p + s + f)) -gt 0 ] || fail "no test ran in $preset"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s + c))
}

# The program is built while the packages come that only tests need.
build release &
launch/setup.sh test || exit 1
wait

# Tests of the release build wait a good part of their time, for ranks that are lost and deadlines that pass: the others are
# built in that time, at the lowest priority.
if [ "$quick" != quick ]; then
    (
        renice -n 19 -p "$BASHPID" >/dev/null
        for preset in asan tsan fuzz; do
            build $preset
            echo $? >"$logs/code-$preset"
        done
    ) &
fi

# One more than there are CPUs: a third of the time goes into jobs that wait for a lost rank, one at a time (a lock).
CTEST_PARALLEL_LEVEL=$(($(nproc) + 1))
export CTEST_PARALLEL_LEVEL
build release -DDGM_TESTS=ON
built release $? && run release
if [ "$quick" != quick ]; then
    wait
    for preset in asan tsan fuzz; do
        case $preset in fuzz) how=(--parallel "$(nproc)") ;; *) how=() ;; esac # fuzzers only compute, for a given time
        built $preset "$(cat "$logs/code-$preset")" && run $preset "${how[@]}"
    done
fi

cat $logs/failures
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
