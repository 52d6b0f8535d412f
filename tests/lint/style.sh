#!/usr/bin/env bash
# clang-format on every file, and no file beyond 800 lines.
set -u
if ! command -v clang-format-14 >/dev/null; then
    echo "SKIP lint_style: clang-format-14 is not installed"
    exit 77
fi
mapfile -t files < <(find base kernels comm proto runtime launch tests \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) | sort)
clang-format-14 --dry-run -Werror "${files[@]}" 2>&1 | grep -E 'error:' | cut -c1-160
[ "${PIPESTATUS[0]}" -eq 0 ] || exit 1
long=$(wc -l "${files[@]}" | awk '$2 != "total" && $1 > 800 { print $2 " has " $1 " lines: is it one thing?" }')
[ -z "$long" ] || {
    echo "$long"
    exit 1
}
