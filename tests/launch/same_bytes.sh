#!/usr/bin/env bash
# The promise: text and scores do not depend on batch, threads, ranks, dense ranks, instruction set or overlap.
# usage: same_bytes.sh DRAGOMAN_BINARY
# One factor at a time against one plain run, on the demonstration model, compared with cmp.
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
runs=0

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
    case $isa in avx512) flag=avx512vl ;; vnni) flag=avx512_vnni ;; ref) flag=fpu ;; *) flag=$isa ;; esac
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
    for n in 1 2 4; do same "$n ranks, overlap" "$here/launch/dragoman-mpirun" -n $n "${base[@]}" --threads 1 --overlap on; done
    same "3 ranks, 1 dense" "$here/launch/dragoman-mpirun" -n 3 "${base[@]}" --threads 1 --dense-ranks 1
    same "3 ranks, 2 dense, 2 threads, overlap" "$here/launch/dragoman-mpirun" -n 3 "${base[@]}" --threads 2 --dense-ranks 2 \
        --batch-tokens 64 --overlap on
    # More rows in a step than the rank that holds experts only would have for sentences of its own.
    head -n 9 "$dir/in" >"$dir/few"
    crowd=(translate -m "$here/models/multi30k-token" -s eng_Latn -t deu_Latn -i "$dir/few" --with-score --beam-size 128
        --max-length 5 --batch-rows 2048)
    cp "$dir/want" "$dir/all"
    "$dragoman" "${crowd[@]}" --threads 1 >"$dir/want" 2>"$dir/err" || [ $? -eq 1 ] || { cat "$dir/err"; exit 1; } # 1: cut off
    runs=$((runs + 1))
    "$here/launch/dragoman-mpirun" -n 2 "${crowd[@]}" --threads 1 --dense-ranks 1 --batch-tokens 64 >"$dir/got" 2>"$dir/err"
    cmp -s "$dir/want" "$dir/got" || { echo "many rows, 1 dense of 2 ranks: other bytes"; tail -n 3 "$dir/err"; bad=1; }
    cp "$dir/all" "$dir/want"
else
    echo "skip: ranks, mpirun is not installed"
fi

# Lines that are decoded twice, beside lines that are not.
{ cat "$here/tests/launch/odd_lines.txt"; head -n 6 "$dir/in"; } >"$dir/odd"
twice=(translate -m "$here/models/multi30k-token" -s eng_Latn -t "deu_Latn,ces_Latn" -i "$dir/odd" --with-score --n-best 2 --alignment)
cp "$dir/want" "$dir/f32"
"$dragoman" "${twice[@]}" >"$dir/once" 2>"$dir/err"
twice+=(--retry checks)
"$dragoman" "${twice[@]}" --threads 1 >"$dir/want" 2>"$dir/err" || { cat "$dir/err"; exit 1; }
! cmp -s "$dir/want" "$dir/once" || { echo "--retry checks: the text without it"; bad=1; }
same "--retry checks, isa ref" env DGM_ISA=ref "$dragoman" "${twice[@]}"
same "--retry checks, 2 threads, --batch-tokens 1" "$dragoman" "${twice[@]}" --threads 2 --batch-tokens 1
same "--retry checks, --batch-rows 4" "$dragoman" "${twice[@]}" --batch-rows 4
if command -v mpirun >/dev/null; then
    same "--retry checks, 2 ranks" "$here/launch/dragoman-mpirun" -n 2 "${twice[@]}" --threads 1
    same "--retry checks, 3 ranks, 1 dense" "$here/launch/dragoman-mpirun" -n 3 "${twice[@]}" --threads 1 --dense-ranks 1 --batch-rows 64
fi

# A cache in bf16 is another text, maybe, but it is one text, too.
base+=(--kv bf16)
"$dragoman" "${base[@]}" --threads 1 >"$dir/want" 2>"$dir/err" || { cat "$dir/err"; exit 1; }
! cmp -s "$dir/want" "$dir/f32" || { echo "--kv bf16: the scores of f32"; bad=1; }
same "--kv bf16, isa ref" env DGM_ISA=ref "$dragoman" "${base[@]}"
! grep -qw avx2 /proc/cpuinfo || same "--kv bf16, isa avx2" env DGM_ISA=avx2 "$dragoman" "${base[@]}"
same "--kv bf16, 2 threads" "$dragoman" "${base[@]}" --threads 2
same "--kv bf16, --batch-tokens 1" "$dragoman" "${base[@]}" --batch-tokens 1
same "--kv bf16, --batch-rows 8" "$dragoman" "${base[@]}" --batch-rows 8
if command -v mpirun >/dev/null; then
    same "--kv bf16, 3 ranks" "$here/launch/dragoman-mpirun" -n 3 "${base[@]}" --threads 1
fi
echo "$runs runs compared"
exit $bad
