#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy over the C files. usage: tidy.sh BUILD_FOLDER
set -u
build=$1
if ! command -v clang-tidy-14 >/dev/null; then
    echo "SKIP lint_tidy: clang-tidy-14 is not installed"
    exit 77
fi
mapfile -t files < <(find base comm runtime launch kernels -name '*.c' -not -path 'kernels/avx512/*' -not -path 'kernels/vnni/*' | sort)
printf '%s\n' "${files[@]}" | xargs -n 16 clang-tidy-14 -p "$build" --quiet --warnings-as-errors='*' 2>/dev/null
