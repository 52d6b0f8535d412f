#!/usr/bin/env bash
# `dragoman languages` lists codes, names and aliases, for people and for programs.
# usage: languages.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
unset DGM_MODEL
dragoman=$1
model=$here/models/multi30k-token

# has PATTERN: a line of the last output matches.
has() {
    grep -Eq -- "$1" "$dir/out" || { fail "no line like: $1"; head "$dir/out"; }
}

"$dragoman" languages >"$dir/out" 2>"$dir/err" || fail "exit code $?"
[ "$(wc -l <"$dir/out")" -eq 202 ] || fail "not 202 lines"
[ ! -s "$dir/err" ] || fail "speaks on standard error"
has '^deu_Latn  German +de deu ger$'
has '^sat_Beng  Santali +sat sat-olck$'
has '^ace_Latn  Acehnese \(Latin script\)$'
cp "$dir/out" "$dir/all.txt"

"$dragoman" languages -m "$model" >"$dir/model" 2>"$dir/err" || fail "-m: exit code $?"
cmp "$dir/out" "$dir/model" || fail "the demonstration model has other languages"

# A model with a language of its own, and without most others.
cp "$model"/config.json "$model"/sentencepiece.bpe.model "$dir"
cat >"$dir/tokenizer_config.json" <<'EOF'
{"added_tokens_decoder": {"6042": {"content": "deu_Latn", "special": true},
                          "6204": {"content": "tyv_Cyrl", "special": true}}}
EOF
"$dragoman" languages -m "$dir" >"$dir/out" 2>"$dir/err" || fail "added language: exit code $?"
printf 'deu_Latn  German                 de deu ger\ntyv_Cyrl  (added to this model)\n' >"$dir/want"
cmp "$dir/want" "$dir/out" || fail "added language: other output"

"$dragoman" languages -m "$dir" --json >"$dir/few.json" 2>"$dir/err" || fail "--json: exit code $?"
"$dragoman" languages --json >"$dir/all.json" 2>"$dir/err" || fail "--json: exit code $?"
# holds FILE WHAT FILTER: the filter says true of the JSON
holds() { jq -e "$3" "$dir/$1.json" >/dev/null || fail "--json: $2"; }
holds all "202 languages" 'length == 202'
holds all "names" '[.[] | select(.code == "nob_Latn" or .code == "zul_Latn") | .name] == ["Norwegian Bokmål", "Zulu"]'
holds all "an alias means one language" '[.[].aliases[]] | length == (unique | length)'
holds few "the languages of the model" '. == [
    {"code": "deu_Latn", "name": "German", "id": 6042, "aliases": ["de", "deu", "ger"]},
    {"code": "tyv_Cyrl", "name": "(added to this model)", "id": 6204, "aliases": []}]'
# The table is the JSON in columns of characters, not of bytes.
jq -r '(map(.name | length) | max) as $w | .[] |
    .code + "  " + .name + (" " * ($w - (.name | length)) // "") + "  " + (.aliases | join(" ")) | sub(" +$"; "")' \
    "$dir/all.json" >"$dir/want"
cmp "$dir/want" "$dir/all.txt" || fail "the table is not the JSON"

"$dragoman" languages >/dev/full 2>"$dir/err"
[ $? -eq 5 ] || fail "full disk: not exit code 5"
"$dragoman" languages -m "$dir/none" >"$dir/out" 2>"$dir/err"
[ $? -eq 3 ] || fail "no model there: not exit code 3"
[ ! -s "$dir/out" ] || fail "no model there: standard output is not empty"

[ "$bad" -eq 0 ] && echo "languages: ok"
exit "$bad"
