#!/usr/bin/env bash
# From a fresh Debian 12 to a translation: installs packages, builds, translates a sample on 2 MPI ranks, and
# shows source and translation side by side.
# usage: launch/quickstart.sh [SRC_CODE [TGT_CODE]]      default eng_Latn deu_Latn
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
src=${1:-eng_Latn} tgt=${2:-deu_Latn}
sample=models/sample/pictures.$src.txt
if [ ! -f "$sample" ]; then
    echo "quickstart.sh: no sample in '$src'; there are: $(cd models/sample && echo pictures.*.txt | sed 's/pictures\.//g; s/\.txt//g')" >&2
    exit 2
fi

launch/setup.sh build
if [ ! -f build/release/build.ninja ]; then
    cmake --preset release >/dev/null
fi
cmake --build --preset release -- --quiet

out=$(mktemp)
trap 'rm -f "$out"' EXIT
launch/dragoman-mpirun -n 2 translate -m models/multi30k-token -s "$src" -t "$tgt" <"$sample" >"$out"
echo
paste -d '\n' "$sample" "$out" /dev/null | awk -v s="$src" -v t="$tgt" '
    NR % 3 == 1 { printf "%s  %s\n", s, $0 } NR % 3 == 2 { printf "%s  %s\n", t, $0 } NR % 3 == 0 { print "" }'
echo "Next: build/release/dragoman translate --help, or README.md for the tour."
