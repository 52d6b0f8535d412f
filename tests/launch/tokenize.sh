#!/usr/bin/env bash
# `dragoman tokenize` and `dragoman detokenize`: what the model sees, and back.
# usage: tokenize.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token
golden=$here/tests/golden/tokenizer

# A file and no variable: `gives` is often the end of a pipe, and so in a process of its own.
fail() {
    echo "$1"
    : >"$dir/bad"
}

# gives CODE WANT ARGS...: standard input through the command gives WANT (printf rules) and exit code CODE.
gives() {
    local code=$1 want=$2 got
    shift 2
    "$dragoman" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" -eq "$code" ] || fail "$*: exit code $got, not $code"
    # shellcheck disable=SC2059 # WANT is a format
    printf "$want" >"$dir/want"
    cmp -s "$dir/want" "$dir/out" || { fail "$*: other output"; diff "$dir/want" "$dir/out"; }
    [ "$code" -ne 0 ] || [ ! -s "$dir/err" ] || { fail "$*: speaks"; cat "$dir/err"; }
}

# says PATTERN: standard error of the last command matches.
says() {
    grep -Eq -- "$1" "$dir/err" || { fail "no '$1' on standard error"; cat "$dir/err"; }
}

printf 'A man\n' | gives 0 'eng_Latn ▁A ▁man </s>\n' tokenize -s eng_Latn
printf 'A man\n' | gives 0 '6047 14 38 2\n' tokenize -s en --ids
printf 'A man\n' | gives 0 '14 38 2 6047\n' tokenize -s en --ids --source-order suffix
printf '6047 14 38 2\n' | gives 0 'A man\n' detokenize
printf '' | gives 0 '' tokenize -s en
printf '' | gives 0 '' detokenize

# The golden lines, all of them as one file.
gives 0 '' tokenize -s eng_Latn --ids -i "$golden/lines.txt" -o "$dir/ids"
cmp "$golden/ids.txt" "$dir/ids" || fail "tokenize: other ids than Hugging Face"
gives 0 '' detokenize -i "$golden/ids.txt" -o "$dir/text"
cmp "$golden/text.txt" "$dir/text" || fail "detokenize: other text than Hugging Face"
[ ! -e "$dir/ids.part" ] || fail "FILE.part stays"

# Names of special tokens are text.
"$dragoman" tokenize -s en --ids <"$golden/special.txt" | cmp - "$golden/special_ids.txt" || fail "special names"

# Byte order mark, CRLF, blank lines, no last newline.
printf '\xEF\xBB\xBFA\r\n\n  \nman' | gives 0 '6047 14 2\n6047 2\n6047 2\n6047 38 2\n' tokenize -s en --ids
printf '\xEF\xBB\xBF14\r\n\n  \n 38\t14  ' | gives 0 'A\n\n\nman A\n' detokenize

# Bad lines are empty, named, and counted in the exit code; the others are done.
printf 'A\nb\xFFd\nn\0l\nman\n' | gives 1 '6047 14 2\n\n\n6047 38 2\n' tokenize -s en --ids
says 'standard input line 2: byte 2 \(0xff\) is not UTF-8'
says 'standard input line 3: byte 2 is NUL'
says 'empty: 2$'
for word in x 1x -1 +1 6206 1e3 0x10 99999999999999999999 '1,' '14 -38'; do
    printf '14\n%s\n38\n' "$word" | gives 1 'A\n\nman\n' detokenize
    says 'standard input line 2: want ids from 0 to 6205, found'
done
printf 'A\nb\xFFd\nman\n' | gives 4 '6047 14 2\n' tokenize -s en --ids --strict
says 'line 2'
printf '14\nx\n38\n' | gives 4 'A\n' detokenize --strict
says 'line 2'

# Long lines: a megabyte is fine, more than 16 are not.
head -c 1000000 /dev/zero | tr '\0' a >"$dir/long"
"$dragoman" tokenize -s en --ids <"$dir/long" >"$dir/out" 2>"$dir/err" || fail "1 MB line: exit code $?"
[ "$(wc -w <"$dir/out")" -gt 10000 ] || fail "1 MB line: too few ids"
{ head -c 20000000 /dev/zero | tr '\0' a; printf '\nA\n'; } | gives 1 '\n6047 14 2\n' tokenize -s en --ids
says 'line 1: 20000000 bytes, want at most 16777216'

# A long input needs no more memory than a short one.
if (ulimit -v 400000 && "$dragoman" --version) >/dev/null 2>&1; then
    n=$( (ulimit -v 400000 && yes 'A man in a blue shirt.' | head -n 400000 | "$dragoman" tokenize -s en --ids) | wc -l)
    [ "$n" -eq 400000 ] || fail "400000 lines in, $n out, in 400 MB"
fi

# Whoever types a line gets the answer before the next one.
mkfifo "$dir/keys" "$dir/screen"
"$dragoman" tokenize -s en --ids <"$dir/keys" >"$dir/screen" 2>/dev/null &
exec 3>"$dir/keys" 4<"$dir/screen"
printf 'A\n' >&3
read -r -t 300 answer <&4 || answer=nothing
[ "$answer" = "6047 14 2" ] || fail "typed: $answer"
exec 3>&- 4<&-
wait

# Output that cannot be written.
printf 'A\n' | "$dragoman" tokenize -s en >/dev/full 2>"$dir/err"
[ $? -eq 5 ] || fail "full disk: not exit code 5"
says 'No space left'
printf 'A\n' | "$dragoman" tokenize -s en >&- 2>"$dir/err"
[ $? -eq 5 ] || fail "closed standard output: not exit code 5"
says 'standard output'
yes A | "$dragoman" tokenize -s en 2>"$dir/err" | head -n 1 >/dev/null
[ "${PIPESTATUS[1]}" -eq 5 ] || fail "reader gone: not exit code 5"
says 'closed by its reader'
printf 'A\n' | gives 5 '' tokenize -s en -o "$dir/no/such/folder"

# Input and options that are wrong.
gives 4 '' tokenize -s en -i "$dir/none"
says 'none: No such file'
gives 4 '' tokenize -s en -i "$dir"
says 'cannot read'
"$dragoman" tokenize -s en <&- >"$dir/out" 2>"$dir/err"
[ $? -eq 4 ] || fail "closed standard input: not exit code 4"
gives 2 '' tokenize
says 'src-lang'
gives 2 '' tokenize -s zh
says 'zho_Hans.*zho_Hant'
gives 2 '' tokenize -s englsh
says 'eng_Latn \(English\)'
gives 3 '' tokenize -s en -m "$dir/none"
gives 3 '' detokenize -m "$dir/none"

[ ! -e "$dir/bad" ] || exit 1
echo "tokenize: ok"
