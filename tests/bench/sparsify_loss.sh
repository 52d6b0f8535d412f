#!/bin/sh
# sparsify_loss.sh - what zeros cost each language: loss a token of the references of Multi30k, in all 12 directions, by target
# language, over sparsity and method. Calibrated on the first half of val; options of after M-Wanda are chosen on its second half
# (`tune`); all is judged on test_2016_flickr, with a 95 % paired bootstrap over lines.
#
# usage: tests/bench/sparsify_loss.sh [-m MODEL] [-b DRAGOMAN] [-o FOLDER] [-n LINES] WHAT [OPTIONS]
#   -m   model (models/multi30k-token)          -b   the program (build/release/dragoman)
#   -o   keep models' scores in this folder; what is there is not computed again          -n   lines of test (1000)
# WHAT is
#   tune VARIANT...      options of after M-Wanda, one word of the shell each, beside Wanda, at 50 %, on the second half of val
#   table OPTIONS        loss by method at 30, 40, 50, 60 and 70 %; OPTIONS: of after M-Wanda, one word
#   english OPTIONS      at 50 %, calibrated 90 % on English (each language into itself) and, beside it, on as many lines of each
#   chrf OPTIONS         chrF++ of translations at 50 % (beam 4), mean of the directions into each language
# Prints markdown. On one core: tune takes 10 s a variant, table 6 minutes, english 2, chrf 4. Needs python3.
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)

model=$ROOT/models/multi30k-token program=$ROOT/build/release/dragoman out='' lines=1000
while getopts m:b:o:n: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    o) out=$OPTARG ;;
    n) lines=$OPTARG ;;
    *) sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2; exit 2; }
what=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -n "$out" ] || out=$work
mkdir -p "$out"
export DGM_LOG_LEVEL=error

# Texts: calib and tune are the halves of val. english: 468 lines, and 52 of them in the others together.
for l in en de fr cs; do
    gzip -dc "$ROOT/tests/data/multi30k/val.$l.gz" | head -n 507 >"$out/calib.$l"
    gzip -dc "$ROOT/tests/data/multi30k/val.$l.gz" | tail -n +508 >"$out/tune.$l"
    gzip -dc "$ROOT/tests/data/multi30k/test_2016_flickr.$l.gz" | head -n "$lines" >"$out/test.$l"
    head -n 120 "$out/calib.$l" >"$out/alike.$l"
done
head -n 432 "$out/calib.en" >"$out/most.en"
for l in de fr cs; do head -n 16 "$out/calib.$l" >"$out/most.$l"; done

# text NAME: the files of a calibration, as words
text() {
    printf -- '--calibration eng_Latn=%s deu_Latn=%s fra_Latn=%s ces_Latn=%s' "$out/$1.en" "$out/$1.de" "$out/$1.fr" "$out/$1.cs"
}

# losses NAME TEXT OPTION...: $out/NAME.TEXT.losses, a line a line of the text: log p and tokens of each direction. Without options,
# of the model itself.
losses() {
    name=$1 on=$2
    shift 2
    [ ! -s "$out/$name.$on.losses" ] || return 0
    from=$model
    if [ $# -gt 0 ]; then
        from=$work/model
        rm -rf "$from"
        "$program" sparsify -m "$model" -o "$from" "$@" >"$out/$name.txt"
    fi
    set --
    for s in en de fr cs; do
        for t in en de fr cs; do
            [ "$s" != "$t" ] || continue
            "$program" score -m "$from" -s "$s" -t "$t" -i "$out/$on.$s" --reference "$out/$on.$t" | cut -f 1,3 >"$work/$s-$t"
            set -- "$@" "$work/$s-$t"
        done
    done
    paste "$@" >"$work/losses"
    mv "$work/losses" "$out/$name.$on.losses"
}

name_of() {
    printf %s "$1" | tr -cs 'a-zA-Z0-9.-' _
}

case $what in
tune)
    losses dense tune
    # shellcheck disable=SC2046 # words
    losses wanda-0.5 tune --method wanda $(text calib)
    set -- "$@" wanda-0.5
    for variant; do
        [ "$variant" = wanda-0.5 ] || {
            # shellcheck disable=SC2046,SC2086
            losses "m$(name_of "$variant")" tune --method m-wanda $variant $(text calib)
            printf 'm%s\n' "$(name_of "$variant")"
        }
    done >"$work/names"
    # shellcheck disable=SC2046
    python3 "$ROOT/tests/bench/sparsify_loss.py" "$out" tune dense wanda-0.5 $(cat "$work/names")
    ;;
table)
    mine=$(name_of "$1")
    losses dense test
    for share in 0.3 0.4 0.5 0.6 0.7; do
        # shellcheck disable=SC2046,SC2086
        {
            losses "magnitude-$share" test --method magnitude --sparsity $share
            losses "wanda-en-$share" test --method wanda --sparsity $share --calibration "eng_Latn=$out/calib.en" --calibration-target self
            losses "wanda-$share" test --method wanda --sparsity $share $(text calib)
            losses "owl-$share" test --method owl --sparsity $share $(text calib)
            losses "after-m-wanda$mine-$share" test --method m-wanda --sparsity $share $1 $(text calib)
        }
    done
    for share in 0.3 0.4 0.5 0.6 0.7; do
        echo
        echo "$share zeros:"
        echo
        python3 "$ROOT/tests/bench/sparsify_loss.py" "$out" test dense "wanda-$share" "magnitude-$share" "wanda-en-$share" "owl-$share" "after-m-wanda$mine-$share"
    done
    ;;
english)
    mine=$(name_of "$1")
    losses dense test
    for kind in alike most; do
        # shellcheck disable=SC2046,SC2086
        {
            losses "wanda-$kind" test --method wanda --samples 0 --calibration-target self $(text $kind)
            losses "owl-$kind" test --method owl --samples 0 --calibration-target self $(text $kind)
            losses "after-m-wanda$mine-$kind" test --method m-wanda --samples 0 $1 --calibration-target self $(text $kind)
        }
        echo
        echo "$kind:"
        echo
        python3 "$ROOT/tests/bench/sparsify_loss.py" "$out" test dense "wanda-$kind" "owl-$kind" "after-m-wanda$mine-$kind"
    done
    ;;
chrf)
    echo "| 50 % zeros, chrF++ into | en | de | fr | cs | mean |"
    echo "| --- | --- | --- | --- | --- | --- |"
    for method in dense magnitude wanda-en wanda owl m-wanda; do
        # shellcheck disable=SC2046,SC2086
        case $method in
        dense) set -- "$1" ;;
        magnitude) set -- "$1" --method magnitude ;;
        wanda-en) set -- "$1" --method wanda --calibration "eng_Latn=$out/calib.en" --calibration-target self ;;
        m-wanda) set -- "$1" --method m-wanda $1 $(text calib) ;;
        *) set -- "$1" --method $method $(text calib) ;;
        esac
        options=$1 from=$model
        shift
        if [ $# -gt 0 ]; then
            from=$work/model
            rm -rf "$from"
            "$program" sparsify -m "$model" -o "$from" "$@" >/dev/null
        fi
        for t in en de fr cs; do
            for s in en de fr cs; do
                [ "$s" != "$t" ] || continue
                "$program" translate -m "$from" -s "$s" -t "$t" -i "$out/test.$s" >"$work/hyp" || [ $? -eq 1 ]
                "$program" score-text -m "$model" "$work/hyp" "$out/test.$t" | awk '$1 == "chrF++" { print $2 }'
            done | awk '{ sum += $1 } END { printf "%.2f\n", sum / NR }'
        done >"$work/chrf"
        awk -v method="$method" 'BEGIN { printf "| %s |", method } { printf " %.2f |", $1; sum += $1 } END { printf " %.2f |\n", sum / NR }' "$work/chrf"
        set -- "$options"
    done
    ;;
*)
    sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2
    exit 2
    ;;
esac
