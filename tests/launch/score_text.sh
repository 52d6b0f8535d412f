#!/usr/bin/env bash
# score_text.sh - `dragoman score-text`: what it prints, and what it says of files that do not fit.
# usage: score_text.sh DRAGOMAN
set -u
dragoman=$1
golden=$(dirname "$0")/../golden/metrics
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
fail()
{
    echo "FAILED: $*"
    bad=1
}

# score CODE ARG.. - runs it and looks at the exit code.
score()
{
    local want=$1
    shift
    "$dragoman" score-text "$@" >"$dir/out" 2>"$dir/err"
    local code=$?
    [ $code -eq "$want" ] || fail "score-text $*: exit code $code, want $want: $(cat "$dir/err")"
}
says() { grep -q -- "$1" "$dir/err" || fail "want '$1', found: $(cat "$dir/err")"; }

score 0 "$golden/hyp.txt" "$golden/ref.txt"
grep -q '^BLEU  *66.86  BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp$' "$dir/out" || fail "BLEU: $(cat "$dir/out")"
grep -q '^chrF++  *69.16  chrF2++|nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no$' "$dir/out" || fail "chrF++: $(cat "$dir/out")"
grep -q '^lines  *600$' "$dir/out" || fail "lines: $(cat "$dir/out")"

# A text against itself is perfect by any of them, and pieces are not words.
score 0 --json "$golden/ref.txt" "$golden/ref.txt"
grep -q '"bleu":100.0000*,"spbleu":100.0000*,"chrf++":100.0000*,"length_ratio":1.0000' "$dir/out" || fail "itself: $(cat "$dir/out")"
score 0 --json "$golden/hyp.txt" "$golden/ref.txt"
grep -q '"bleu":66.858571399,"spbleu":70.291610145' "$dir/out" || fail "spBLEU: $(cat "$dir/out")"

printf 'a\nb\n' >"$dir/two"
printf 'a\nb\nc\n' >"$dir/three"
: >"$dir/none"
printf 'a\nb\xff\n' >"$dir/bytes"
score 4 "$dir/two" "$dir/three"
says 'want as many lines of translation as of reference, found 2 in .*/two and 3 in .*/three$'
score 4 "$dir/three" "$dir/two"
says 'found 3 in .*/three and 2 in .*/two$'
score 4 "$dir/none" "$dir/none"
says '/none: want at least one line, found none$'
score 4 "$dir/two" "$dir/bytes"
says '/bytes line 2: byte 2 (0xff) is not UTF-8$'
score 4 "$dir/two" "$dir/missing"
says '/missing: No such file'
score 2 "$dir/two"
says 'want the file of the translation and that of the reference, found 1 argument$'
score 2 "$dir/two" "$dir/two" "$dir/two"
says "want two arguments, found '.*/two'"
score 3 -m "$dir" "$dir/two" "$dir/two"
exit $bad
