#!/usr/bin/env bash
# `dragoman serve --tokens`: who has none or a wrong one is refused, who has one is served; the file is read again on SIGHUP.
# usage: serve_tokens.sh DRAGOMAN_BINARY
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/launch/serving.sh
source "$here/tests/launch/serving.sh"
dragoman=$1
at=unix:$dir/socket

# hash TOKEN
hash() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

echo alices-token >"$dir/alice"
printf 'bobs-token\r\nnot this line\n' >"$dir/bob"
printf '# who may ask\n\n  alice:%s \nbob:%s\r\n' "$(hash alices-token)" "$(hash bobs-token | tr a-f A-F)" >"$dir/tokens"
chmod 602 "$dir/tokens"
serves --tokens "$dir/tokens"
logs "--tokens $dir/tokens: others may write it (mode 602)"
chmod 600 "$dir/tokens"
line='A man rides a horse.'
"$dragoman" translate -s en -t de <<<"$line" >"$dir/want" 2>"$dir/err"
for who in alice bob; do
    client 0 --token-file "$dir/$who" -s en -t de <<<"$line"
    cmp -s "$dir/want" "$dir/out" || fail "$who: other text than translate"
done
client 2 -s en -t de <<<"$line"
tells 'the server says: this server wants a token, and none was sent'
for wrong in alices-toke alices-token1 "$(hash alices-token)"; do
    echo "$wrong" >"$dir/wrong"
    client 2 --token-file "$dir/wrong" -s en -t de <<<"$line"
    tells 'the server says: this token is not known'
done
logs '(dragomanclient0.1.0) is refused: this token is not known'

# ---- read again ----
# holds NAME: a connection as NAME, which translates a line whenever one is written to descriptor 5.
mkfifo "$dir/typed"
"$dragoman" client --connect "$at" --token-file "$dir/bob" -s en -t de <"$dir/typed" >"$dir/held" 2>"$dir/held.err" &
held=$!
exec 5>"$dir/typed"
echo "$line" >&5
await_from "$held" filled "$dir/held"
cmp -s "$dir/want" "$dir/held" || fail 'a held connection'
echo 'carol=no hash' >"$dir/tokens"
hang_up 'the tokens stay as they were: --tokens .* line 1: want NAME:SHA256, found no colon'
echo "$line" >&5
twice() { [ "$(wc -l <"$dir/held")" -eq 2 ]; }
await_from "$held" twice || fail 'a malformed file breaks a connection'
client 0 --token-file "$dir/alice" health
printf '\xef\xbb\xbfalice:%s\ncarol:%s\n' "$(hash alices-token)" "$(hash carols-token)" >"$dir/tokens"
hang_up '2 tokens read again'
exec 5>&-
wait $held
logs '(bob) is refused: this token is not known any more'
echo carols-token >"$dir/carol"
client 0 --token-file "$dir/alice" health
client 0 --token-file "$dir/carol" health
client 2 --token-file "$dir/bob" health
tells 'the server says: this token is not known'
stops

# ---- files that are none ----
# malformed LINE WHY
malformed() {
    printf %b "$1" >"$dir/tokens"
    refuses "$2" --tokens "$dir/tokens"
    grep -q secret "$dir/err" && fail "the sentence shows what stands in the file: $1"
}
good=$(hash x)
malformed '' 'want at least one line NAME:SHA256, found none: nobody could connect'
malformed '#only\n' 'want at least one line NAME:SHA256, found none'
malformed "a:$good\nsecret\n" 'line 2: want NAME:SHA256, found no colon'
malformed ":$good\n" 'line 1: want a name of 1 to 63 printable bytes, found another of 0'
malformed "two words:$good\n" 'line 1: want a name of 1 to 63 printable bytes, found another of 9'
malformed 'a:secret\n' 'line 1: want the SHA-256 of a token in 64 hexadecimal digits, found something else of 6 bytes'
malformed "a:${good}0\n" 'in 64 hexadecimal digits, found something else of 65 bytes'
malformed "a:${good/[0-9]/g}\n" 'in 64 hexadecimal digits, found something else of 64 bytes'
malformed "a:$good\\0000secret\n" 'line 1: want NAME:SHA256, found a NUL'
refuses 'No such file or directory' --tokens "$dir/nowhere"
printf 'a:%s\n' "$good" >"$dir/tokens"
refuses 'is not on loopback, and lacks TLS (--tls-cert, --tls-key): ' --tokens "$dir/tokens" --listen tcp:0.0.0.0:0
exit $bad
