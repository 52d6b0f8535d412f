#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy over the C files. usage: tidy.sh BUILD_FOLDER
set -u
build=$1
if ! command -v clang-tidy-14 >/dev/null; then
    echo "SKIP lint_tidy: clang-tidy-14 is not installed"
    exit 77
fi
# What gcc alone understands is an error to clang.
commands=$(mktemp -d)
trap 'rm -rf "$commands"' EXIT
sed 's/ -fira-region=one//' "$build/compile_commands.json" >"$commands/compile_commands.json"
mapfile -t files < <(find base comm proto runtime launch kernels -name '*.c' -not -path 'kernels/avx512/*' -not -path 'kernels/vnni/*' | sort)
printf '%s\n' "${files[@]}" | xargs -n 16 clang-tidy-14 -p "$commands" --quiet --warnings-as-errors='*' 2>/dev/null
