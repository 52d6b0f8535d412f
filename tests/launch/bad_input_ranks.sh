#!/usr/bin/env bash
# Ranks that do not fit together: one sentence that names rank and host, one exit code, nobody left waiting.
# usage: bad_input_ranks.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
if ! command -v mpirun >/dev/null; then
    echo "SKIP bad_input_ranks: mpirun is not installed"
    exit 77
fi
export DGM_LOG_LEVEL=warn DGM_COMM_DEADLINE_MS=60000
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
    OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
checks=0
model=$here/models/multi30k-token
both=(translate -s eng_Latn -t deu_Latn -i "$dir/in")
printf 'A dog.\n' >"$dir/in"
host=$(hostname)

# job CODE PATTERN WHAT MPIRUN_ARGS...: dragoman says one sentence, which matches.
job() {
    local code=$1 pattern=$2 what=$3 got
    shift 3
    checks=$((checks + 1))
    timeout 300 mpirun "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq "$code" ] || fail "$what: exit code $got, not $code"
    [ "$(grep -c '^dragoman: ' "$dir/err")" -eq 1 ] || fail "$what: not one sentence"
    grep -Eq -- "^dragoman: $pattern" "$dir/err" || fail "$what: no '$pattern'"
    [ ! -s "$dir/out" ] || fail "$what: standard output is not empty"
}

job 2 "rank 1 \($host\): started with other options: here --beam-size 5, on rank 0 --beam-size 4" 'other options' \
    -n 1 "$dragoman" "${both[@]}" -m "$model" : -n 1 "$dragoman" "${both[@]}" -m "$model" --beam-size 5
job 2 "rank 2 \($host\): started with other options: here --batch-tokens 7, " 'the third of three' \
    -n 2 "$dragoman" "${both[@]}" -m "$model" : -n 1 "$dragoman" "${both[@]}" -m "$model" --batch-tokens 7
job 2 "rank 1 \($host\): --beam-size: want .*, found '5x'" 'a rank with a bad option' \
    -n 1 "$dragoman" "${both[@]}" -m "$model" : -n 1 "$dragoman" "${both[@]}" -m "$model" --beam-size 5x
job 2 "rank 0 \($host\): --beam-size: want .*, found '5x'" 'a bad option on all' \
    -n 3 "$dragoman" "${both[@]}" -m "$model" --beam-size 5x
job 2 'mpirun started 2 processes, and they would be 2 copies of the same job; ' 'copies' -n 2 "$dragoman" "${both[@]}" --comm local
job 2 "rank 0 \($host\): bench: want kernels, .* found 'none'" 'no such bench' -n 2 "$dragoman" bench none
job 2 "rank 0 \($host\): --beam: not an option of bench routing" 'an option of other benches' -n 2 "$dragoman" bench routing --beam 4
job 3 "rank 1 \($host\): $dir/none: " 'a model path missing on one rank' \
    -n 1 "$dragoman" "${both[@]}" -m "$model" : -n 1 "$dragoman" "${both[@]}" -m "$dir/none"
cp -r "$model" "$dir/other"
chmod -R u+w "$dir/other"
sed -i 's/"encoder_layerdrop": *[0-9.]*/"encoder_layerdrop": 0.25/' "$dir/other/config.json"
cmp -s "$model/config.json" "$dir/other/config.json" && fail 'the other model is the same'
job 2 "rank 1 \($host\): model $dir/other is another than rank 0's" 'another model' \
    -n 1 "$dragoman" "${both[@]}" -m "$model" : -n 1 "$dragoman" "${both[@]}" -m "$dir/other"
job 2 "--dense-ranks: want all or 1 to 2 \(the number of ranks\), found 3|rank 0 .*--dense-ranks: want" 'more dense ranks than ranks' \
    -n 2 "$dragoman" "${both[@]}" -m "$model" --dense-ranks 3
job 4 "rank 0 \($host\): $dir/nothing: No such file" 'no input, which only rank 0 can know' \
    -n 2 "$dragoman" "${both[@]}" -m "$model" -i "$dir/nothing"
job 2 "rank 0 \($host\): language 'xx' is unknown" 'an unknown language' \
    -n 2 "$dragoman" "${both[@]}" -m "$model" -t xx
job 5 "rank 0 \($host\): $dir/none/x.part: cannot be opened" 'an output that cannot be opened' \
    -n 2 "$dragoman" "${both[@]}" -m "$model" -o "$dir/none/x"

# Ranks may differ in what does not bear on the work: threads, instruction set.
timeout 300 mpirun -n 1 "$dragoman" "${both[@]}" -m "$model" --isa ref : \
    -n 1 "$dragoman" "${both[@]}" -m "$model" --threads 2 >"$dir/out" 2>"$dir/err" || fail 'other threads and instruction set'
"$dragoman" "${both[@]}" -m "$model" 2>"$dir/err" | cmp -s - "$dir/out" || fail 'mixed ranks give another text'

# A bad line is flagged on all ranks alike.
printf 'A dog.\nb\xFFd\n' >"$dir/in"
timeout 300 mpirun -n 3 "$dragoman" "${both[@]}" -m "$model" >"$dir/out" 2>"$dir/err"
got=$?
[ "$got" -eq 1 ] || fail "a flagged line on three ranks: exit code $got, not 1"
[ "$(wc -l <"$dir/out")" -eq 2 ] || fail 'a flagged line on three ranks: not two lines'

# Commands of one rank run once.
[ "$(timeout 300 mpirun -n 3 "$dragoman" languages 2>/dev/null | wc -l)" -eq "$("$dragoman" languages | wc -l)" ] ||
    fail 'languages under mpirun prints more than once'

echo "$checks jobs"
exit $bad
