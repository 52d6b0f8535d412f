#!/usr/bin/env bash
# same_bytes.sh for quantised models: for each pair of types and each compute, text and scores do not depend on batch,
# threads, ranks, dense ranks, instruction set or overlap; and types that lose nothing give the source's text.
# usage: same_bytes_packed.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
model=$here/models/multi30k-token
runs=0
head -n 5 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"
base=(translate -s eng_Latn -t deu_Latn -i "$dir/in" --with-score --token-scores)
export DRAGOMAN=$dragoman
mpirun=$here/launch/dragoman-mpirun
command -v mpirun >/dev/null || { echo "skip: ranks, mpirun is not installed"; mpirun=; }

# same NAME COMMAND...: its standard output must be that of the run in $dir/want.
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

isas=()
for isa in ref avx2 avx512 vnni; do
    case $isa in avx512) flag=avx512vl ;; vnni) flag=avx512_vnni ;; ref) flag=fpu ;; *) flag=$isa ;; esac
    if grep -qw "$flag" /proc/cpuinfo; then isas+=("$isa"); else echo "skip: isa $isa is not on this CPU"; fi
done

overlap=off
# all NAME TRANSLATE_OPTION...: one factor at a time; some: the ones that differ most.
all() {
    local name=$1 isa n
    shift
    for isa in "${isas[@]}"; do same "$name, isa $isa" "$dragoman" "$@" --isa "$isa"; done
    same "$name, 2 threads" "$dragoman" "$@" --threads 2
    for n in 1 7; do same "$name, --batch-tokens $n" "$dragoman" "$@" --batch-tokens $n; done
    for n in 1 24; do same "$name, --batch-rows $n" "$dragoman" "$@" --batch-rows $n; done
    [ -n "$mpirun" ] || return
    for n in 1 2 3 4; do same "$name, $n ranks, overlap $overlap" "$mpirun" -n $n "$@" --threads 1 --overlap $overlap; done
    same "$name, 3 ranks, 1 dense, overlap $overlap" "$mpirun" -n 3 "$@" --threads 1 --dense-ranks 1 --overlap $overlap
    # so that the next ones, of the other compute or type, run the other way
    if [ $overlap = on ]; then overlap=off; else overlap=on; fi
}
some() {
    local name=$1
    shift
    same "$name, isa ref" "$dragoman" "$@" --isa ref
    same "$name, 3 threads, --batch-rows 1" "$dragoman" "$@" --threads 3 --batch-rows 1
    [ -z "$mpirun" ] || same "$name, 2 ranks" "$mpirun" -n 2 "$@" --threads 1
}

"$dragoman" "${base[@]}" -m "$model" >"$dir/source" 2>"$dir/err" || { cat "$dir/err"; exit 1; }
[ -s "$dir/source" ] || { echo "nothing was translated"; exit 1; }
for types in int8-int8 int8-bf16 int8-f32 int4-int8 int4-bf16 int4-f32 bf16-int8 bf16-bf16 bf16-f32 f32-int8 f32-bf16 f32-f32 int4-int8-32; do
    IFS=- read -r experts dense group <<<"$types"
    "$dragoman" quantize -m "$model" -o "$dir/m" --experts "$experts" --dense "$dense" --group "${group:-none}" >/dev/null 2>"$dir/err" ||
        { echo "$types: cannot be made"; cat "$dir/err"; exit 1; }
    for compute in f32 int8; do
        run=("${base[@]}" -m "$dir/m" --compute "$compute")
        "$dragoman" "${run[@]}" --threads 1 >"$dir/want" 2>"$dir/err" ||
            { echo "$types, compute $compute: failed"; tail -n 3 "$dir/err"; bad=1; continue; }
        case $types in
        int8-int8 | int4-int8-32) all "$types, compute $compute" "${run[@]}" ;; # off, on, off, on: int8 overlaps
        *) some "$types, compute $compute" "${run[@]}" ;;
        esac
        case $types in
        *int*) cmp -s "$dir/want" "$dir/source" && { echo "$types, compute $compute: the source's scores to the last bit?"; bad=1; } ;;
        *) cmp -s "$dir/want" "$dir/source" || { echo "$types, compute $compute: not the source's bytes"; bad=1; } ;;
        esac
        cp "$dir/want" "$dir/$compute"
    done
    case $types in *int*) cmp -s "$dir/f32" "$dir/int8" && { echo "$types: --compute changes nothing"; bad=1; } ;; esac
    rm -r "$dir/m"
done
# Between ranks, quantised rows travel as bytes: dispatch carries a quarter, combine what it did.
if [ -n "$mpirun" ]; then
    "$dragoman" quantize -m "$model" -o "$dir/m" >/dev/null 2>&1
    for compute in f32 int8; do
        "$mpirun" -n 2 "${base[@]}" -m "$dir/m" --compute $compute --threads 1 2>"$dir/err" >/dev/null
        sed -nE 's/.*; ([0-9.]+) MiB exchanged.*/\1/p' "$dir/err" >"$dir/moved.$compute"
    done
    awk -v f="$(cat "$dir/moved.f32")" -v i="$(cat "$dir/moved.int8")" 'BEGIN { exit !(i > 0 && i < 0.75 * f) }' ||
        { echo "int8 rows: $(cat "$dir/moved.int8") MiB exchanged, as f32 $(cat "$dir/moved.f32")"; bad=1; }
    rm -r "$dir/m"
fi
# What the model's configuration says counts when nothing else is said.
"$dragoman" quantize -m "$model" -o "$dir/m" --compute int8 >/dev/null 2>&1
"$dragoman" "${base[@]}" -m "$dir/m" --compute int8 >"$dir/want" 2>/dev/null
same "compute int8 by configuration" "$dragoman" "${base[@]}" -m "$dir/m"
echo "$runs runs compared"
exit $bad
