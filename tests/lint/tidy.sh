#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy over the C files. usage: tidy.sh BUILD_FOLDER
set -u
build=$1
if ! command -v clang-tidy-14 >/dev/null; then
    echo "SKIP lint_tidy: clang-tidy-14 is not installed"
    exit 77
fi
# What gcc alone understands is an error to clang. A file that is compiled several times is checked once.
commands=$(mktemp -d)
trap 'rm -rf "$commands"' EXIT
jq 'unique_by(.file) | map(.command |= sub(" -fira-region=one"; ""))' "$build/compile_commands.json" >"$commands/compile_commands.json" || exit 1
# The analyzer follows paths through each function until it has seen so many states: nearly all of the time goes into functions
# that have more paths than anybody could follow, and a fourth of its own limit (225000) finds what it finds.
budget=()
for word in -analyzer-config max-nodes=50000; do budget+=(--extra-arg=-Xclang "--extra-arg=$word"); done
mapfile -t files < <(find base comm proto runtime launch kernels -name '*.c' -not -path 'kernels/avx512/*' -not -path 'kernels/vnni/*' | sort)
printf '%s\n' "${files[@]}" | xargs -n 16 clang-tidy-14 -p "$commands" --quiet --warnings-as-errors='*' "${budget[@]}" 2>/dev/null
