#!/bin/sh
# quant_loss.sh - what quantising a model costs: chrF++, BLEU and log p of the references on Multi30k test_2016_flickr,
# in all 12 directions, of the source and of each variant, and how much of each is lost.
#
# usage: tests/bench/quant_loss.sh [-m MODEL] [-b DRAGOMAN] [-o FOLDER] -- VARIANT...
#   -m   source model (models/multi30k-token)
#   -b   the program (build/release/dragoman)
#   -o   keep models, translations and scores in this folder; what is there already is not computed again
# A VARIANT is one word of the shell: options of `dragoman quantize`, then perhaps `--` and options of `translate`:
#   quant_loss.sh -- '--experts int8' '--experts int8 -- --compute int8' '--experts int4 --group 32'
#
# Prints three markdown tables: a row a direction, a column a model; beam 4. Needs python3 with venv (python_env.sh).
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"

out=
while getopts m:b:o: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    o) out=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))

[ -n "$out" ] || out=$work
mkdir -p "$out"

# measure MODEL FOLDER OPTION...: FOLDER/scores.tsv and FOLDER/logp.tsv (direction, mean log p of a reference's token)
measure() {
    from=$1 to=$2
    shift 2
    [ -s "$to/scores.tsv" ] ||
        "$ROOT/tests/bench/quality.sh" -m "$from" -b "$program" -o "$to" -- "$@" >"$to/quality.md"
    [ ! -s "$to/logp.tsv" ] || return 0
    for s in en de fr cs; do
        for t in en de fr cs; do
            [ "$s" != "$t" ] || continue
            "$program" score -m "$from" -s $s -t $t --reference "$to/$t.txt" "$@" \
                <"$to/$s.txt" 2>"$to/$s-$t.score.log" >"$to/$s-$t.score" || { cat "$to/$s-$t.score.log" >&2; exit 1; }
            awk -F'\t' -v d="$s-$t" '{ sum += $1; n += $3 } END { printf "%s\t%.6f\n", d, sum / n }' "$to/$s-$t.score"
        done
    done >"$work/logp.tsv"
    mv "$work/logp.tsv" "$to/logp.tsv"
}

mkdir -p "$out/source"
measure "$model" "$out/source"
printf 'source\n' >"$work/names"
for variant; do
    quantize=${variant%% -- *} translate=
    [ "$quantize" = "$variant" ] || translate=${variant#* -- }
    name=$(printf %s "$quantize" | tr -cs 'a-zA-Z0-9.' _) run=$(printf %s "$variant" | tr -cs 'a-zA-Z0-9.' _)
    mkdir -p "$out/$run.run"
    # shellcheck disable=SC2086 # options are words
    [ -d "$out/$name.model" ] || "$program" quantize -m "$model" -o "$out/$name.model" $quantize >"$out/$name.txt"
    # shellcheck disable=SC2086
    measure "$out/$name.model" "$out/$run.run" $translate
    printf '%s\t%s\n' "$variant" "$run.run" >>"$work/names"
done

# table FILE COLUMN DIGITS NAME: directions down, models across, means and losses below.
table() {
    while IFS="$(printf '\t')" read -r variant folder; do
        printf '%s\t%s\n' "$variant" "$out/${folder:-source}/$1"
    done <"$work/names" | awk -F'\t' -v column="$2" -v digits="$3" -v title="$4" '
        { names[++n] = $1
          for (rows = 0; (getline line < $2) > 0;) {
              split(line, field, "\t"); value[++rows, n] = field[column]; dir[rows] = field[1]; sum[n] += field[column] } }
        function put(x, d) { return sprintf(" %." d "f |", x) }
        END {
            head = "| " title " |"; rule = "| --- |"
            for (i = 1; i <= n; i++) { head = head " " names[i] " |"; rule = rule " --- |" }
            print head "\n" rule
            for (r = 1; r <= rows; r++) {
                line = "| " dir[r] " |"
                for (i = 1; i <= n; i++) line = line put(value[r, i], digits)
                print line
            }
            mean = "| mean |"; loss = "| lost |"; worst = "| most lost |"
            for (i = 1; i <= n; i++) {
                most = value[1, 1] - value[1, i]
                for (r = 2; r <= rows; r++) if (value[r, 1] - value[r, i] > most) most = value[r, 1] - value[r, i]
                mean = mean put(sum[i] / rows, digits + 1); loss = loss put((sum[1] - sum[i]) / rows, digits + 1)
                worst = worst put(most, digits + 1)
            }
            print mean "\n" loss "\n" worst "\n"
        }'
}
table scores.tsv 3 2 'chrF++'
table scores.tsv 2 2 'BLEU'
table logp.tsv 2 4 'log p'
