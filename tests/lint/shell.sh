#!/usr/bin/env bash
# Every script passes shellcheck.
set -u
if ! command -v shellcheck >/dev/null; then
    echo "SKIP lint_shell: shellcheck is not installed"
    exit 77
fi
mapfile -t scripts < <(grep -rlE '^#!/(usr/bin/env bash|bin/bash|bin/sh)' launch tests .ci configs 2>/dev/null | grep -v '\.md$' | sort)
shellcheck -x "${scripts[@]}"
