#!/usr/bin/env bash
# `dragoman client` with `dragoman serve` writes the bytes of `dragoman translate`, also when the server is killed in the middle
# and another takes its place.
# usage: client_serve.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
export DGM_MODEL=$here/models/multi30k-token DGM_LOG_LEVEL=warn
sock=$dir/s.sock

serve() {
    "$dragoman" serve --listen "unix:$sock" "$@" 2>"$dir/server" &
    server=$!
    await_from "$server" "$dragoman" client --connect "unix:$sock" --attempts 1 health >/dev/null 2>&1 || fail "no server: $(cat "$dir/server")"
}

# same ARGS...: client and translate write the same, and end alike.
same() {
    local code
    "$dragoman" translate -s en -t de "$@" <"$dir/in" >"$dir/want" 2>/dev/null
    code=$?
    "$dragoman" client --connect "unix:$sock" -s en -t de "$@" <"$dir/in" >"$dir/out" 2>"$dir/err"
    [ $? -eq $code ] || fail "client $*: not exit code $code"
    cmp -s "$dir/want" "$dir/out" || fail "client $*: another text"
}

serve
{ head -n 30 "$here/models/sample/pictures.eng_Latn.txt"; printf '\n\xff\nA dog. Two dogs run.'; } >"$dir/in"
same
same --beam-size 3 --n-best 3 --with-score --length-penalty 0
same --split always --format marian --no-repeat-ngram-size 3
same --alignment --token-scores
same --sampling-topk 5 --seed 7 --max-length 9
# ... and with several targets: together, in files of their own, and in the report
both() {
    "$dragoman" translate -s en -t de,fr,ces_Latn "$@" -i "$dir/in" -o "$dir/want.{lang}" --report "$dir/want.report" 2>/dev/null
    "$dragoman" client --connect "unix:$sock" -s en -t de,fr,ces_Latn "$@" -i "$dir/in" -o "$dir/got.{lang}" --report "$dir/got.report" 2>"$dir/err"
    for lang in deu_Latn fra_Latn ces_Latn; do
        cmp -s "$dir/want.$lang" "$dir/got.$lang" || fail "client, several targets $*: another text in $lang"
    done
    # when a line was done, and which sentence says where it is bad, are each one's own
    cmp -s <(jq -c 'del(.seconds, .message)' "$dir/want.report") <(jq -c 'del(.seconds, .message)' "$dir/got.report") || fail "client $*: another report"
}
both
both --n-best 2 --with-score --max-length 9
"$dragoman" translate -s en -t de,fr -i "$dir/in" --format marian >"$dir/want" 2>/dev/null
"$dragoman" client --connect "unix:$sock" -s en -t de,fr -i "$dir/in" --format marian >"$dir/out" 2>"$dir/err"
cmp -s "$dir/want" "$dir/out" || fail "client, several targets in one output: another text"

# A second decoding: by a request, by the server's default, or in spite of that; the answer tells what the report does.
cat "$here/tests/launch/odd_lines.txt" "$dir/in" >"$dir/odd"
mv "$dir/odd" "$dir/in"
reports() {
    "$dragoman" translate -s en -t de "$@" --report "$dir/want.report" <"$dir/in" >/dev/null 2>&1
    "$dragoman" client --connect "unix:$sock" -s en -t de "$@" --report "$dir/report" <"$dir/in" >/dev/null 2>&1
    for f in want.report report; do jq -c 'del(.seconds, .message)' "$dir/$f" >"$dir/$f.plain"; done
    cmp -s "$dir/want.report.plain" "$dir/report.plain" || fail "client $*: another report"
}
same
same --retry checks --with-score
same --retry checks --with-score # now from what was answered before
same
reports --retry checks
grep -q '"retry":{"taken":"second"' "$dir/report" || fail "client --retry checks: nothing was retried"
reports --retry none
kill $server
wait $server
"$dragoman" translate -s en -t de --retry checks <"$dir/in" >"$dir/want" 2>/dev/null
serve --retry checks
"$dragoman" client --connect "unix:$sock" -s en -t de <"$dir/in" >"$dir/out" 2>"$dir/err"
cmp -s "$dir/want" "$dir/out" || fail "serve --retry checks: another text than translate's"
same --retry none
kill $server
wait $server
serve
"$dragoman" client --connect "unix:$sock" -s en -t xx <"$dir/in" >"$dir/out" 2>"$dir/err"
[ $? -eq 2 ] || fail "an unknown language"
grep -q "the server says: .*'xx' is unknown" "$dir/err" || fail "an unknown language: no sentence"

# A line that is late is blank, and the report says why.
printf 'A man rides a horse.\nA dog.\n' >"$dir/in"
"$dragoman" client --connect "unix:$sock" -s en -t de --min-length 200 --line-deadline-ms 1 --report "$dir/report" <"$dir/in" >"$dir/out" 2>"$dir/err"
[ $? -eq 1 ] || fail "--line-deadline-ms 1: not exit code 1"
[ "$(jq -r .status "$dir/report" | sort -u)" = timed_out ] || fail "--line-deadline-ms 1: $(cat "$dir/report")"

# ---- the server is killed, and comes again ----
# slow: few lines at once, so that the client is not done before it is looked at
kill $server
wait $server
serve --batch-rows 4 --threads 1
for _ in $(seq 20); do cat "$here/models/sample/pictures.eng_Latn.txt"; done | awk '{ print NR % 7 ? $0 : "Number " NR ": " $0 }' >"$dir/in"
"$dragoman" translate -s en -t de --beam-size 1 <"$dir/in" >"$dir/want" 2>/dev/null
"$dragoman" client --connect "unix:$sock" -s en -t de --beam-size 1 -i "$dir/in" -o "$dir/file" 2>"$dir/err" &
client=$!
await_from "$client" filled "$dir/file.part"
kill -KILL $server
wait $server 2>/dev/null
[ -e "$dir/file.part" ] || fail 'a client was done before its server could be killed'
serve
wait $client || fail "client over two servers: exit code $?"
cmp -s "$dir/want" "$dir/file" || fail "client over two servers: another text"

# ---- with other options the answers would not go with those before ----
kill $server
wait $server
serve --batch-rows 4 --threads 1
"$dragoman" client --connect "unix:$sock" -s en -t de -i "$dir/in" -o "$dir/other" 2>"$dir/err" &
client=$!
await_from "$client" filled "$dir/other.part"
kill -KILL $server
wait $server 2>/dev/null
serve --beam-size 2
wait $client
[ $? -eq 2 ] || fail "a server with other options: not exit code 2"
grep -q 'with another model or other options' "$dir/err" || fail "a server with other options: no sentence"
kill $server
wait $server
exit $bad
