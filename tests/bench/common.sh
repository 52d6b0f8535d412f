#!/bin/sh
# common.sh - sourced by the scripts here: $ROOT, the repository; $program and $model, the release build and the demonstration model
# unless options say otherwise; $work, a folder that goes when the script ends.
# shellcheck disable=SC2034 # variables of those who source it

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
program=$ROOT/build/release/dragoman model=$ROOT/models/multi30k-token
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# usage - what the script's head says of its options, and the end
usage() {
    sed -n '/^# shellcheck/d; /^# usage/,/^$/s/^# //p' "$0" >&2
    exit 2
}
