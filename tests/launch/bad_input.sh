#!/usr/bin/env bash
# Input and output that cannot be used: one sentence, the documented exit code, never half a line.
# usage: bad_input.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn
mounted=
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$dir"' EXIT
checks=0

# judge CODE PATTERN GOT WHAT: the exit code, and one line on standard error that matches.
judge() {
    checks=$((checks + 1))
    [ "$3" -eq "$1" ] || fail "$4: exit code $3, not $1"
    [ "$(grep -c . "$dir/err")" -eq 1 ] || fail "$4: not one line on standard error"
    grep -Eq -- "$2" "$dir/err" || fail "$4: no '$2'"
}

# ends CODE PATTERN WHAT ARGS...: translate with standard input.
ends() {
    local code=$1 pattern=$2 what=$3
    shift 3
    "$dragoman" translate -s eng_Latn -t deu_Latn "$@" >"$dir/out" 2>"$dir/err"
    judge "$code" "$pattern" $? "$what"
}

# ---- languages ----
ends 2 "^dragoman: .*'deu_Lat' is unknown.*deu_Latn" 'a near language' -t deu_Lat </dev/null
ends 2 "^dragoman: .*zho_Hans.*zho_Hant" 'an ambiguous language' -s zh </dev/null
ends 2 "^dragoman: --tgt-lang: deu_Latn is there twice" 'a language twice' -t de,deu </dev/null
"$dragoman" translate -t de >"$dir/out" 2>"$dir/err" </dev/null
judge 2 'want -s CODE' $? 'no source language'
"$dragoman" translate -s en >"$dir/out" 2>"$dir/err" </dev/null
judge 2 'want -t CODE' $? 'no target language'

# ---- text ----
# flagged WHAT PATTERN: the second of three lines in $dir/in is bad, the others are done.
flagged() {
    "$dragoman" translate -s eng_Latn -t deu_Latn <"$dir/in" >"$dir/out" 2>"$dir/all"
    local got=$?
    grep -v ' end 1 lines are flagged' "$dir/all" >"$dir/err"
    judge 1 "$2" $got "$1"
    [ "$(sed -n '2{/^$/=}' "$dir/out")" = 2 ] || fail "$1: the line is not empty"
    [ "$(sed -n '1p;3p' "$dir/out" | grep -c .)" -eq 2 ] || fail "$1: the other lines are missing"
    "$dragoman" translate -s eng_Latn -t deu_Latn --strict <"$dir/in" >"$dir/out" 2>"$dir/err"
    judge 4 "^dragoman: .*$2" $? "$1, strict"
    [ "$(wc -l <"$dir/out")" -eq 1 ] || fail "$1, strict: not the one line before it"
}
printf 'A dog.\nb\xFFd\nA cat.\n' >"$dir/in"
flagged 'not UTF-8' 'standard input line 2: byte 2 \(0xff\) is not UTF-8'
printf 'A dog.\n\xED\xA0\x80\nA cat.\n' >"$dir/in"
flagged 'a surrogate' 'standard input line 2: .*is not UTF-8'
printf 'A dog.\nb\0d\nA cat.\n' >"$dir/in"
flagged 'NUL' 'standard input line 2: byte 2 is NUL'
{ printf 'A dog.\n'; head -c 1100000 /dev/zero | tr '\0' 'a'; printf '\nA cat.\n'; } >"$dir/in"
flagged 'a line of 1.1 MB' 'standard input line 2: .*1100000 bytes'
{ head -c 1000000 /dev/zero | tr '\0' 'a'; printf '\n'; } >"$dir/in"
"$dragoman" translate -s eng_Latn -t deu_Latn --split never <"$dir/in" >"$dir/out" 2>"$dir/all"
got=$?
grep -v ' end 1 lines are flagged' "$dir/all" >"$dir/err"
judge 1 'line 1: too long: want at most [0-9]+ tokens, found [0-9]+ \(--split never\)' $got 'a line of 1 MB, not to be split'

# ---- files ----
ends 4 "^dragoman: $dir/none: No such file" 'no input' -i "$dir/none"
ends 4 "^dragoman: $dir: want a file, found a directory" 'a directory' -i "$dir"
ends 4 'standard input: not open for reading' 'a closed standard input' <&-
ends 4 'none: No such file' 'no prefixes' --target-prefix "$dir/none" </dev/null
ends 5 "$dir/none/x.part: cannot be opened: No such file" 'no folder for the output' -o "$dir/none/x" </dev/null
ends 2 '^dragoman: --report: want a file' 'a report on standard output' --report - </dev/null
ends 5 "$dir/none/r.part: cannot be opened" 'no folder for the report' --report "$dir/none/r" </dev/null
ends 3 '/none: ' 'no model' -m "$dir/none" </dev/null
printf 'A dog.\n' >"$dir/in"
"$dragoman" translate -s eng_Latn -t deu_Latn <"$dir/in" >&- 2>"$dir/err"
judge 5 '^dragoman: standard output: not open for writing' $? 'a closed standard output'
"$dragoman" translate -s eng_Latn -t deu_Latn <"$dir/in" >/dev/full 2>"$dir/err"
judge 5 '^dragoman: standard output: .*No space left' $? 'a full standard output'
for _ in $(seq 160); do cat "$here/models/sample/pictures.eng_Latn.txt"; done >"$dir/in" # more than a pipe holds
mkfifo "$dir/fifo"
head -n 1 <"$dir/fifo" >"$dir/out" &
"$dragoman" translate -s eng_Latn -t deu_Latn <"$dir/in" >"$dir/fifo" 2>"$dir/err"
judge 5 '^dragoman: standard output: closed by its reader' $? 'a reader that leaves'
wait
[ "$(wc -l <"$dir/out")" -eq 1 ] || fail 'a reader that leaves: has not read its line'

# ---- memory ----
if (ulimit -v 150000 && "$dragoman" --version) >"$dir/out" 2>"$dir/err"; then # sanitizers need more
    (ulimit -v 150000 && "$dragoman" translate -s eng_Latn -t deu_Latn --threads 1 <"$dir/in") >"$dir/out" 2>"$dir/err"
    judge 7 '^dragoman: (key-value cache: )?cannot (reserve|allocate) [0-9]+ bytes' $? 'too little memory'
fi

# ---- a full disk ----
mkdir "$dir/disk"
if mount -t tmpfs -o size=16k none "$dir/disk" 2>"$dir/err"; then
    mounted=$dir/disk
    for _ in $(seq 20); do cat "$dir/in"; done >"$dir/more"
    ends 5 "^dragoman: $dir/disk/x.part(.state)?: cannot be written: No space left" 'a full disk' -i "$dir/more" -o "$dir/disk/x" --beam-size 1
    [ ! -e "$dir/disk/x" ] || fail 'a full disk: the file is there all the same'
else
    echo "skip: a full disk (mounting a small one needs root)"
fi

# ---- an output that another process writes ----
printf 'A dog.\n' >"$dir/in"
: >"$dir/taken.part"
exec 8<"$dir/taken.part"
if flock -n 8; then
    ends 5 'taken.part: another process is writing it' 'an output that is being written' -i "$dir/in" -o "$dir/taken" 8<&-
fi
exec 8<&-

echo "$checks cases"
exit $bad
