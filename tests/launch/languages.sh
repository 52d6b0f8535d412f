#!/usr/bin/env bash
# `dragoman languages` lists codes, names and aliases, for people and for programs.
# usage: languages.sh DRAGOMAN_BINARY
set -u
unset DGM_MODEL
dragoman=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
model=$here/models/multi30k-token
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

fail() {
    echo "$1"
    bad=1
}

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
python3 - "$dir" <<'EOF' || bad=1
import json, sys
few, every = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in ("few", "all"))
def same(what, found, want):
    if found != want:
        sys.exit(f"{what}: wanted {want}, found {found}")
same("all", len(every), 202)
# Columns of characters, not of bytes.
width = max(len(r["name"]) for r in every)
rows = [f"{r['code']}  {r['name']:<{width}}  {' '.join(r['aliases'])}".rstrip() for r in every]
same("lines", open(f"{sys.argv[1]}/all.txt", encoding="utf-8").read().splitlines(), rows)
same("names", [r["name"] for r in every if r["code"] in ("nob_Latn", "zul_Latn")], ["Norwegian Bokmål", "Zulu"])
same("few", few, [
    {"code": "deu_Latn", "name": "German", "id": 6042, "aliases": ["de", "deu", "ger"]},
    {"code": "tyv_Cyrl", "name": "(added to this model)", "id": 6204, "aliases": []}])
same("an alias means one language", len({a for r in every for a in r["aliases"]}), sum(len(r["aliases"]) for r in every))
EOF

"$dragoman" languages >/dev/full 2>"$dir/err"
[ $? -eq 5 ] || fail "full disk: not exit code 5"
"$dragoman" languages -m "$dir/none" >"$dir/out" 2>"$dir/err"
[ $? -eq 3 ] || fail "no model there: not exit code 3"
[ ! -s "$dir/out" ] || fail "no model there: standard output is not empty"

[ "$bad" -eq 0 ] && echo "languages: ok"
exit "$bad"
