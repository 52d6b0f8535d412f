#!/usr/bin/env bash
# Writes the tables of docs/config.md anew from the option table. usage: docs/config.sh DRAGOMAN_BINARY
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")"
dragoman=${1:-../build/release/dragoman}
{
    sed '/^## Model and ranks$/,$d' config.md
    "$dragoman" help --reference | sed -n '/^## Model and ranks$/,$p'
} >config.md.new
mv config.md.new config.md
