#!/usr/bin/env bash
# What a keep set brings: the size of the model cut for one direction, on disk and resident, beside what its shape says; bytes
# exchanged and tokens/s of several ranks with it and without, and recording statistics or not, in turns, medians.
# usage: tests/bench/cut.sh [-b DRAGOMAN] [-m MODEL] [-n RANKS] [-r RUNS] [-l LINES] [-o OPTIONS] [-c CPU] [size|speed|record ...]
#   -b   the program (build/release/dragoman)      -m   model of the speeds (models/multi30k-token)
#   -n   ranks (4)     -r   runs of each (9)       -l   lines of test_2016_flickr, en-de (200)
#   -o   options of prune for the speeds ('--fraction 0.8125 --ratio 3')
#   -c   all on this CPU (wherever the machine likes)
# The model of the size is of random weights, 1.1 GiB in bf16, so that the program itself is small beside it. Sets are 81.25 % pruned:
# importance, fixed, by language, from 200 lines of val; for the size the first experts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dragoman=$here/build/release/dragoman model=$here/models/multi30k-token ranks=4 runs=9 lines=200 cpu='' options='--fraction 0.8125 --ratio 3'
while getopts b:m:n:r:l:o:c: flag; do
    case $flag in
    b) dragoman=$(realpath "$OPTARG") ;;
    m) model=$OPTARG ;;
    n) ranks=$OPTARG ;;
    r) runs=$OPTARG ;;
    l) lines=$OPTARG ;;
    o) options=$OPTARG ;;
    c) cpu=$OPTARG ;;
    *) sed -n '/^# usage/,/^set/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- size speed record
[ -z "$cpu" ] || taskset -cp "$cpu" $$ >/dev/null
export DRAGOMAN=$dragoman DGM_LOG_LEVEL=info
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# ---- size ----
# resident MODEL: MiB of a process that has opened the model and waits for lines
resident() {
    local pid now before=0
    mkfifo "$dir/lines"
    "$dragoman" translate -m "$1" -s en -t de --threads 1 --verify open <"$dir/lines" >/dev/null 2>&1 &
    pid=$!
    exec 3>"$dir/lines"
    while sleep 0.7 && now=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status") && [ "$now" != "$before" ]; do before=$now; done
    exec 3>&-
    wait $pid
    rm "$dir/lines"
    awk -v kib="$now" 'BEGIN { print kib / 1024 }'
}
# check NAME MODEL EXPERTS_BYTES DENSE_BYTES: bytes of a weight; vectors are f32 in memory, and routers in packed models
check() {
    local name=$1 model=$2 expert=$3 dense=$4 disk base opened
    disk=$(($(stat -c %s "$model"/*.safetensors | paste -sd+)))
    base=$(resident "$dir/tiny")
    opened=$(resident "$model")
    awk -v name="$name" -v e="$expert" -v w="$dense" -v disk="$disk" -v base="$base" -v opened="$opened" 'BEGIN {
        d = 1024; f = 2048; v = 6400; kept = 2 * 9 + 2 * 3; mib = 1024 * 1024
        matrices = w * (v * d + 4 * 4 * d * d + 4 * 8 * d * d + 4 * 2 * d * f) + e * kept * 2 * d * f + 4 * 32 * d * (w == 2 ? 2 : 4)
        vectors = 12 * 4 * d + (4 * 2 + 4 * 3 + 2) * 2 * d + (4 + kept) * (d + f)
        file = matrices + (w == 2 ? 2 : 4) * vectors; memory = matrices + 4 * vectors + 514 * d * 4
        printf "%-12s on disk %8.2f MiB, arithmetic %8.2f, %.4f; resident %8.2f MiB, arithmetic %8.2f, %.4f\n", name, disk / mib, file / mib,
            disk / file, opened - base, memory / mib, (opened - base) * mib / memory }'
}
size() {
    local shape=(synth --like demo --heads 16 --layers "4,4" --sparse-step 2 --vocab 6400)
    "$dragoman" "${shape[@]}" --d-model 1024 --ffn 2048 --experts 32 --dense bf16 -o "$dir/whole" 2>/dev/null
    "$dragoman" "${shape[@]}" --d-model 16 --ffn 16 --experts 2 --dense bf16 -o "$dir/tiny" 2>/dev/null
    jq -cn '[range(64) | select(. % 32 < 9)] + [range(64; 128) | select(. % 32 < 3)] | {"eng_Latn": ., "deu_Latn": .}' >"$dir/list"
    "$dragoman" prune -m "$dir/whole" --import "$dir/list" -k "$dir/first" >/dev/null
    "$dragoman" prune -m "$dir/whole" -k "$dir/first" --for eng_Latn-deu_Latn -o "$dir/cut" | sed "s#$dir/##"
    check "bf16" "$dir/cut" 2 2
    "$dragoman" quantize -m "$dir/cut" -o "$dir/cut8" --experts int8 --dense int8 --clip none >/dev/null 2>&1
    check "int8" "$dir/cut8" 1 1
    rm -rf "$dir/whole" "$dir/cut" "$dir/cut8"
}

# ---- speed ----
# one NAME OPTION...: tokens/s, MiB exchanged and KiB of them a token, appended
one() {
    local name=$1 rc=0
    shift
    "$here/launch/dragoman-mpirun" -n "$ranks" translate -m "$model" -s en -t de -i "$dir/en" --threads 1 "$@" >/dev/null 2>"$dir/log" || rc=$?
    [ $rc -le 1 ] || { cat "$dir/log" >&2; exit $rc; } # 1: some lines are flagged
    sed -n 's/.* end .*: \([0-9]*\) tokens\/s$/\1/p' "$dir/log" >>"$dir/$name.speed"
    sed -n 's/.*; \([0-9.]*\) MiB exchanged.*/\1/p' "$dir/log" | tee -a "$dir/$name.mib" >"$dir/mib"
    sed -n 's/.* end .*, \([0-9]*\) tokens in .*/\1/p' "$dir/log" | paste - "$dir/mib" | awk '{ print 1024 * $2 / $1 }' >>"$dir/$name.kib"
}
# beside A B: what the medians are
beside() {
    local a b
    a=$(median "$dir/$1.speed") b=$(median "$dir/$2.speed")
    echo "$ranks ranks, $lines lines, $runs runs: $1 $a tokens/s, $(median "$dir/$1.mib") MiB exchanged, $(median "$dir/$1.kib") KiB a token;" \
        "$2 $b tokens/s, $(median "$dir/$2.mib") MiB, $(median "$dir/$2.kib") KiB; $(awk "BEGIN { printf \"%.3f\", $b / $a }")"
}
speed() {
    for _ in $(seq "$runs"); do
        one unpruned
        one pruned -k "$dir/keep"
    done
    beside unpruned pruned
}
record() {
    for _ in $(seq "$runs"); do
        one plain
        one recording --record-stats "$dir/recorded"
    done
    beside plain recording
}

head -n "$lines" < <(gzip -dc "$here/tests/data/multi30k/test_2016_flickr.en.gz") >"$dir/en"
for what; do
    if [ "$what" = speed ]; then
        head -n 200 < <(gzip -dc "$here/tests/data/multi30k/val.en.gz") >"$dir/val"
        "$dragoman" stats -m "$model" -s en -t de -i "$dir/val" -o "$dir/stats" 2>/dev/null
        # shellcheck disable=SC2086 # options are words
        "$dragoman" prune -m "$model" --stats "$dir/stats" -k "$dir/keep" $options >/dev/null
    fi
    $what
done
