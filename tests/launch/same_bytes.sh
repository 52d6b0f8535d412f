#!/usr/bin/env bash
# The promise: text and scores do not depend on batch, threads, ranks, dense ranks or instruction set.
# usage: same_bytes.sh DRAGOMAN_BINARY
# One factor at a time against one plain run, on the demonstration model, compared with cmp.
set -u
dragoman=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0 runs=0

{ cat "$here/models/sample/pictures.eng_Latn.txt"
  gzip -dc "$here/tests/data/multi30k/test_2016_flickr.en.gz" | head -n 20
  printf '\n   \nA dog.\n'; } >"$dir/in"
base=(translate -m "$here/models/multi30k-token" -s eng_Latn -t "deu_Latn,ces_Latn" -i "$dir/in" --with-score --token-scores --alignment --n-best 2)
export DRAGOMAN=$dragoman

"$dragoman" "${base[@]}" --threads 1 >"$dir/want" 2>"$dir/err" || { cat "$dir/err"; exit 1; }
[ -s "$dir/want" ] || { echo "nothing was translated"; exit 1; }

# same NAME COMMAND...: its standard output must be the plain run's.
same() {
    local name=$1
    shift
    runs=$((runs + 1))
    if ! "$@" >"$dir/got" 2>"$dir/err"; then
        echo "$name: failed"; tail -n 5 "$dir/err"; bad=1
    elif ! cmp -s "$dir/want" "$dir/got"; then
        echo "$name: other bytes"; diff "$dir/want" "$dir/got" | head -n 4; bad=1
    fi
}

for isa in ref avx2 avx512 vnni; do
    case $isa in avx512) flag=avx512f ;; vnni) flag=avx512_vnni ;; ref) flag=fpu ;; *) flag=$isa ;; esac
    if grep -qw "$flag" /proc/cpuinfo; then
        same "isa $isa" env DGM_ISA=$isa "$dragoman" "${base[@]}"
    else
        echo "skip: isa $isa is not on this CPU (tests/kernels runs its code under emulation)"
    fi
done
same "2 threads" "$dragoman" "${base[@]}" --threads 2
same "3 threads" "$dragoman" "${base[@]}" --threads 3
for n in 1 7 4096; do same "--batch-tokens $n" "$dragoman" "${base[@]}" --batch-tokens $n; done
for n in 1 24 2048; do same "--batch-rows $n" "$dragoman" "${base[@]}" --batch-rows $n; done
if command -v mpirun >/dev/null; then
    for n in 1 2 3 4 8; do same "$n ranks" "$here/launch/dragoman-mpirun" -n $n "${base[@]}" --threads 1; done
    same "3 ranks, 1 dense" "$here/launch/dragoman-mpirun" -n 3 "${base[@]}" --threads 1 --dense-ranks 1
    same "3 ranks, 2 dense, 2 threads" "$here/launch/dragoman-mpirun" -n 3 "${base[@]}" --threads 2 --dense-ranks 2 --batch-tokens 64
else
    echo "skip: ranks, mpirun is not installed"
fi
echo "$runs runs compared"
exit $bad
