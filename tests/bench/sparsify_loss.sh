#!/bin/sh
# sparsify_loss.sh - what zeros cost each language: loss a token of the references of Multi30k, in all 12 directions, by target
# language, over sparsity and method. Calibrated on the first half of val; options of after M-Wanda are chosen on its second half
# (`tune`); all is judged on test_2016_flickr, with a 95 % paired bootstrap over lines.
#
# usage: tests/bench/sparsify_loss.sh [-m MODEL] [-b DRAGOMAN] [-o FOLDER] [-n LINES] [-s SEED] WHAT [OPTIONS]
#   -m   model (models/multi30k-token)          -b   the program (build/release/dragoman)
#   -o   keep models' scores and translations in this folder; what is there is not computed again
#   -n   lines of test (1000)                   -s   of the lines that calibrate (0); of another seed, another folder
# WHAT is
#   tune VARIANT...      options of after M-Wanda, one word of the shell each, beside Wanda, at 50 %, on the second half of val
#   table OPTIONS        loss by method at 30, 40, 50, 60 and 70 %; OPTIONS: of after M-Wanda, one word
#   english OPTIONS      at 50 %, calibrated 90 % on English (each language into itself) and, beside it, on as many lines of each
#   chrf OPTIONS SHARE...  chrF++ of translations (beam 4), mean of the directions into each language, likewise: methods by
#                        share of zeros (0.5), or of the text that is `alike` or `most` English, as in english
# Prints markdown. On one core: tune takes 10 s a variant, table 6 minutes, english 2, chrf half a minute a model. Needs python3; chrf
# numpy and sacrebleu (python_env.sh).
set -eu
# shellcheck source=tests/bench/common.sh
. "$(dirname "$0")/common.sh"

out='' lines=1000 seed=0
while getopts m:b:o:n:s: flag; do
    case $flag in
    m) model=$OPTARG ;;
    b) program=$OPTARG ;;
    o) out=$OPTARG ;;
    n) lines=$OPTARG ;;
    s) seed=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
what=$1
shift
[ -n "$out" ] || out=$work
mkdir -p "$out"
export DGM_LOG_LEVEL=error

# Texts: calib and tune are the halves of val; most: 432 lines of English and 16 of each other language; alike: 120 of each.
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
    printf -- '--seed %s --calibration eng_Latn=%s deu_Latn=%s fra_Latn=%s ces_Latn=%s' "$seed" "$out/$1.en" "$out/$1.de" "$out/$1.fr" "$out/$1.cs"
}

# sparse NAME OPTION...: $from, the model so sparsified; without options, the model itself.
sparse() {
    from=$model
    [ $# -gt 1 ] || return 0
    from=$work/model report=$out/$1.txt
    shift
    rm -rf "$from"
    "$program" sparsify -m "$model" -o "$from" "$@" >"$report"
}

# losses NAME TEXT OPTION...: $out/NAME.TEXT.losses, a line a line of the text: log p and tokens of each direction.
losses() {
    name=$1 on=$2
    shift 2
    [ ! -s "$out/$name.$on.losses" ] || return 0
    sparse "$name" "$@"
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

# translations NAME OPTION...: $out/NAME.hyp/S-T of the test set.
translations() {
    name=$1
    [ ! -e "$out/$name.hyp" ] || return 0
    sparse "$@"
    rm -rf "$work/hyp"
    mkdir "$work/hyp"
    for s in en de fr cs; do
        for t in en de fr cs; do
            [ "$s" != "$t" ] || continue
            "$program" translate -m "$from" -s "$s" -t "$t" -i "$out/test.$s" >"$work/hyp/$s-$t" 2>"$work/said" || [ $? -eq 1 ]
        done
    done
    mv "$work/hyp" "$out/$name.hyp"
}

# each WHAT KIND OPTIONS [ARG]: `WHAT NAME ARG OPTION...` for each method, at KIND zeros; or at 50 %, each language into itself, with
# the text KIND. $names becomes the models' names, the baseline first.
each() {
    ours=after-m-wanda$(name_of "$3")-$2
    # shellcheck disable=SC2046,SC2086 # options are words
    case $2 in
    alike | most)
        names="wanda-$2 owl-$2 $ours"
        set -- "$1" "$2" "$3" "${4-}" --samples 0 --calibration-target self $(text "$2")
        ;;
    *)
        names="wanda-$2 magnitude-$2 wanda-en-$2 owl-$2 $ours"
        "$1" "magnitude-$2" ${4-} --method magnitude --sparsity "$2"
        "$1" "wanda-en-$2" ${4-} --method wanda --sparsity "$2" --seed "$seed" --calibration "eng_Latn=$out/calib.en" --calibration-target self
        set -- "$1" "$2" "$3" "${4-}" --sparsity "$2" $(text calib)
        ;;
    esac
    run=$1 zeros=$2 options=$3 where=$4
    shift 4
    # shellcheck disable=SC2086
    {
        "$run" "wanda-$zeros" $where --method wanda "$@"
        "$run" "owl-$zeros" $where --method owl "$@"
        "$run" "$ours" $where --method m-wanda $options "$@"
    }
}

# print_table TITLE COMMAND...
print_table() {
    printf '\n%s:\n\n' "$1"
    shift
    "$@"
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
table | english)
    mine=$1
    set -- alike most
    [ "$what" = english ] || set -- 0.3 0.4 0.5 0.6 0.7
    losses dense test
    for kind; do each losses "$kind" "$mine" test; done
    for kind; do
        each : "$kind" "$mine"
        # shellcheck disable=SC2086
        print_table "$kind" python3 "$ROOT/tests/bench/sparsify_loss.py" "$out" test dense $names
    done
    ;;
chrf)
    # shellcheck source=tests/bench/python_env.sh
    . "$ROOT/tests/bench/python_env.sh"
    python_env numpy sacrebleu
    mine=$1
    shift
    [ $# -gt 0 ] || set -- 0.5
    translations dense
    for kind; do
        each translations "$kind" "$mine"
        # shellcheck disable=SC2086
        print_table "$kind" "$PYTHON" "$ROOT/tests/bench/sparsify_chrf.py" "$out" dense $names
    done
    ;;
*)
    sed -n '/^# usage/,/^$/s/^# //p' "$0" >&2
    exit 2
    ;;
esac
