#!/usr/bin/env bash
# `dragoman serve --web` as programs see it: the bytes of translate as JSON, what is refused and in which words, whoever asks from
# elsewhere, and clients that hang up. The page in a browser is web_page.sh's.
# usage: web.sh DRAGOMAN_BINARY
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/launch/serving.sh
source "$here/tests/launch/serving.sh"
dragoman=$1
at=unix:$dir/socket
: >"$dir/err"
shopt -s lastpipe # `post` is the last of a pipe, and fails in this shell

# port_of_web: of the server that was started, which was told port 0.
port_of_web() { sed -n 's|.*a page to try translations: http://[^ ]*:\([0-9]*\)/.*|\1|p' "$dir/server"; }
# web CODE PATH CURL_ARGS...: $dir/out has the body, $dir/head the headers.
web() {
    local code=$1 path=$2 got
    shift 2
    got=$(curl -s --max-time 300 -o "$dir/out" -D "$dir/head" -w '%{http_code}' "$@" "http://127.0.0.1:$port$path")
    [ "$got" = "$code" ] || { cp "$dir/out" "$dir/err"; fail "$path $*: $got, not $code"; }
}
# post CODE CURL_ARGS... <BODY: as the page does.
post() {
    local code=$1
    shift
    web "$code" /translate -H "Origin: http://127.0.0.1:$port" -H 'Content-Type: application/json' --data-binary @- "$@"
}
# says FILTER: of the JSON that came last.
says() { jq -e "$1" "$dir/out" >/dev/null || { cp "$dir/out" "$dir/err"; fail "not so: $1"; }; }
# error CODE WORDS
error() { says ".error.code == \"$1\" and (.error.message | contains(\"$2\"))"; }
# body LINES...: a request for German.
body() { jq -nc '{src: "eng_Latn", tgt: "deu_Latn", lines: $ARGS.positional}' --args "$@"; }
# some: a short line and three long ones, which even a slow machine with a sanitizer does in the minute that they have.
some() { gzip -dc "$here/tests/data/multi30k/val.en.gz" | jq -Rnc '{src: "en", tgt: "de", lines: (["A man."] + [[inputs] | _nwise(4) | join(" ")][:3])}'; }
# endless: what keeps it busy until who asks hangs up, on whatever machine.
endless() { gzip -dc "$here/tests/data/multi30k/val.en.gz" | jq -Rnc '[inputs] | {src: "en", tgt: "de", lines: [range(2) as $i | _nwise(32) | map("\($i) " + .) | join(" ")][:62]}'; }

serves --web 127.0.0.1:0 --batch-rows 8 --cache-mib 0 --drain-ms 120000 --http 127.0.0.1:0
port=$(port_of_web)
http=$(sed -n 's|.* \(http://[0-9.:]*\)/metrics.*|\1|p' "$dir/server")

# ---- the same as translate ----
head -n 6 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"
echo >>"$dir/in"
"$dragoman" translate -s eng_Latn -t deu_Latn --n-best 3 --with-score --alignment -i "$dir/in" >"$dir/want" 2>"$dir/err" || fail 'translate'
: >"$dir/err"
jq -Rnc '{src: "en", tgt: "deu_Latn", n_best: 3, alignment: true, lines: [inputs]}' <"$dir/in" | post 200
jq -r '.answers[] | .hypotheses[]? | [.score, .text, (.alignment | map("\(.[0])-\(.[1])") | join(" "))] | @tsv' "$dir/out" |
    awk -F '\t' '{ printf "%.6f ||| %s ||| %s\n", $1, $2, $3 }' >"$dir/got"
grep '[a-z]' "$dir/want" | cmp -s - "$dir/got" || { diff "$dir/want" "$dir/got" >"$dir/err"; fail 'another text, score or alignment than of translate'; }
[ "$(wc -l <"$dir/got")" -eq 18 ] || fail 'alternatives are missing'
says '.answers | length == 7 and .[0].status == "ok" and .[0].src_tokens > 5 and .[0].compute_us > 0 and .[0].cached == false and .[0].checks == [] and .[6].status == "empty"'
body 'A man.' 'A man.' | post 200
says '.answers[0].hypotheses == .answers[1].hypotheses and .answers[0].hypotheses[0].text == "Ein Mann."'
# ... also where checks find something, and it is decoded once more
"$dragoman" translate -s en -t de --retry checks --report "$dir/report" -i "$here/tests/launch/odd_lines.txt" >"$dir/want" 2>"$dir/err"
: >"$dir/err"
# (one at a time: each has a minute, however slow the machine is)
: >"$dir/answers"
while read -r line; do
    jq -nc --arg line "$line" '{src: "en", tgt: "de", retry: "checks", lines: [$line]}' | post 200
    cat "$dir/out" >>"$dir/answers"
done <"$here/tests/launch/odd_lines.txt"
jq -s '{answers: map(.answers[0])}' "$dir/answers" >"$dir/out"
jq -r '.answers[] | .hypotheses[0].text // ""' "$dir/out" | cmp -s "$dir/want" - || fail 'another text than of translate --retry checks'
[ "$(jq -r '.answers[] | if .retried then if .second then "second" else "first" end else "once" end' "$dir/out")" = "$(jq -r '.retry.taken // "once"' "$dir/report")" ] ||
    fail 'what was decoded again is not told'
says '.answers | any(.second) and any(.second | not)'

# ---- the page, and what there is to look at ----
web 200 /
grep -q '<title>dragoman' "$dir/out" || fail 'no page'
grep -Eqi 'https?://|src=|@import|url\(' "$dir/out" && fail 'the page names something outside'
grep -Eq '^Content-Security-Policy: .*default-src .none.;.*script-src .sha256-' "$dir/head" || fail 'no policy'
grep -qi '^Access-Control' "$dir/head" && fail 'other sites may read'
web 200 / --head
web 200 /health
says '.health.state == "ready" and (.health.tick_age_ms | . == floor and . >= 0)'
web 200 /about
says '.model == "multi30k-token" and (.languages | map(select(.code == "deu_Latn"))[0] | .name == "German" and .source and .target and (.aliases | index("de") != null)) and .beam_size >= 4'

# ---- refused ----
web 404 /nothing
web 405 /translate
error bad_request 'want POST'
web 405 / -X POST -d x
web 405 /health -X DELETE
for host in evil.example "evil.example:$port" 127.0.0.1.evil.example ''; do
    web 403 / -H "Host: $host"
    error forbidden 'want a Host that is an address'
    body x | post 403 -H "Host: $host"
done
web 200 / -H 'Host: localhost:9999'
ask() { body 'A man.' | web "$1" /translate -H 'Content-Type: application/json' --data-binary @- "${@:2}"; }
ask 403
error forbidden 'want an Origin'
for origin in null http://evil.example "http://evil.example:$port" "http://127.0.0.1:$((port + 1))" "https://127.0.0.1:$port" "http://localhost:$port"; do
    ask 403 -H "Origin: $origin"
    error forbidden 'want an Origin'
done
ask 200 -H 'Host: localhost:9' -H 'Origin: http://localhost:9' # by a tunnel
body x | web 415 /translate -H "Origin: http://127.0.0.1:$port" -H 'Content-Type: text/plain' --data-binary @-
post 400 <<<'{"src":'
error bad_request 'want JSON, found at line'
post 400 </dev/null
error bad_request 'want JSON'
printf '{"src":"en","tgt":"de","lines":["\xff"]}' | post 400
error bad_request 'want JSON, found at line 1'
post 400 <<<'{"src":"en","tgt":"de","lines":["x"],"colour":1}'
error bad_request "no such key: 'colour'"
post 400 <<<'{"src":"en","tgt":"de","lines":["x"],"n_best":1000}'
error bad_request 'n_best: want 1 to'
post 400 <<<'{"src":"en","tgt":"klingon","lines":["x"]}'
error language klingon
jq -nc '{src: "en", tgt: "de", lines: [range(65) | "x"]}' | post 400
error bad_request 'lines: want at most 64, found 65'
post 200 <<<'{"src":"en","tgt":"de","lines":["a\u0000b","A man."]}'
says '.answers[0].status == "bad_input" and .answers[0].hypotheses == [] and .answers[1].hypotheses[0].text == "Ein Mann."'
post 200 <<<'{"src":"en","tgt":"de","lines":["<img src=x onerror=alert(1)>"]}'
says '.answers[0].status | length > 0'
head -c 300000 /dev/zero | post 413
error too_large 'want at most 262144 bytes, found 300000'
head -c 5000000 /dev/zero | post 413
error too_large 'far too long'
some | jq -c '.deadline_ms = 1' | post 200
says '.answers[1].status == "timed_out" and .answers[1].hypotheses == []'

# ---- beside others, and who hangs up ----
metric() { curl -s --max-time 300 "$http/metrics" | sed -n "s/^$1 //p"; }
# starts FILE ANSWER CURL_ARGS...: a request on its way in the background; $asked has its number. computing: until some of it is in work.
starts() {
    curl -s --max-time 300 -o "$2" -H "Origin: http://127.0.0.1:$port" -H 'Content-Type: application/json' --data-binary @"$1" "${@:3}" \
        "http://127.0.0.1:$port/translate" &
    asked=$!
}
works() { [ "$(metric dragoman_computing_segments)" -gt 0 ] 2>/dev/null; }
computing() {
    await_from "$server" works || fail 'nothing is in work'
}
some >"$dir/some"
endless >"$dir/endless"
gone=$(metric 'dragoman_segments_total{end="cancelled"}')
starts "$dir/endless" "$dir/cut"
computing
kill $asked
wait $asked 2>/dev/null
[ ! -s "$dir/cut" ] || fail 'endless lines have an end: what follows proves nothing'
nobody() { [ "$(metric dragoman_queue_tokens):$(metric dragoman_connections)" = 0:0 ]; }
await_from "$server" nobody || fail 'a connection is left'
[ "$(metric 'dragoman_segments_total{end="cancelled"}')" -gt "$gone" ] || fail 'who hangs up goes on being computed for'
[ "$(metric dragoman_queue_tokens)" = 0 ] || fail 'something of it is left'
exec 5<>"/dev/tcp/127.0.0.1/$port" # half a request, and silence
printf 'POST /translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"src' >&5
all=()
for _ in 1 2 3; do
    starts "$dir/endless" "$dir/busy"
    all+=("$asked")
done
computing
web 200 /health
says '.health.in_flight > 0'
curl -sf --max-time 300 "$http/healthz" >/dev/null || fail '/healthz'
[ "$(metric dragoman_computing_segments)" -gt 0 ] || fail 'looking takes as long as translating'
exec 5>&-
kill "${all[@]}"
wait "${all[@]}" 2>/dev/null

# ---- who sends a byte now and then takes nobody's place, on the page or on /metrics ----
slow=()
for to in "$port" "${http##*:}"; do
    for _ in $(seq 200); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$to"
        printf G >&"$fd"
        slow+=("$fd")
    done
done
web 200 /health
curl -sf --max-time 300 "$http/healthz" >/dev/null || fail 'many that are slow: /healthz'
for fd in "${slow[@]}"; do exec {fd}>&-; done

# ---- the end: what was taken is answered, nothing new is ----
await_from "$server" nobody || fail 'a connection is left'
admitted=$(metric dragoman_segments_admitted_total)
starts "$dir/some" "$dir/last"
last=$asked
starts "$dir/endless" "$dir/busy"
all_taken() { [ "$(metric dragoman_segments_admitted_total)" -eq $((admitted + 4 + 62)) ]; }
await_from "$server" all_taken || fail 'lines are not taken'
kill -TERM "$server"
logs 'draining'
body 'A man.' | post 503
error draining 'draining'
kill "$asked"
wait "$asked" 2>/dev/null
wait $last
# (under sanitizers some take longer than their minute)
jq -e '.answers | length == 4 and all(.status == "timed_out" or (.hypotheses[0].text | . == "Ein Mann." or length > 100)) and any(.hypotheses[0].text)' "$dir/last" >/dev/null || { head -c 300 "$dir/last" >"$dir/err"; fail 'what was taken before is not answered'; }
wait "$server"
[ $? -eq 143 ] || { cp "$dir/server" "$dir/err"; fail 'the server does not end as it should'; }
server=''

# ---- a full queue, a token ----
printf 'alice:%s\n' "$(printf secret | sha256sum | cut -d' ' -f1)" >"$dir/tokens"
serves --web 127.0.0.1:0 --batch-rows 32 --tokens "$dir/tokens" --max-queue-tokens 100
port=$(port_of_web)
web 200 /
for path in /about /health; do
    web 401 $path
    error token 'wants a token'
done
grep -qi '^WWW-Authenticate: Bearer' "$dir/head" || fail 'no WWW-Authenticate'
body 'A man.' | post 401 -H 'Authorization: Bearer wrong'
error token 'not known'
for cached in false true; do
    body 'A man.' | post 200 -H 'Authorization: Bearer secret'
    says ".answers[0].cached == $cached"
done
starts "$dir/endless" "$dir/last" -H 'Authorization: Bearer secret'
queued() {
    web 200 /health -H 'Authorization: Bearer secret'
    jq -e '.health.queued_tokens > 0' "$dir/out" >/dev/null
}
await_from "$server" queued || fail 'nothing is in the queue'
body 'A dog.' | post 503 -H 'Authorization: Bearer secret'
error busy 'the queue is full'
says '.error.retry and .error.retry_after_ms > 0'
grep -qi '^Retry-After: [0-9]' "$dir/head" || fail 'no Retry-After'
kill $asked
wait $asked 2>/dev/null

# ---- addresses ----
at=unix:$dir/other
refuses '--web 0.0.0.0:0: is not on loopback, and lacks TLS' --web 0.0.0.0:0
refuses "--web 127.0.0.1:$port: " --web "127.0.0.1:$port"
refuses '--web here: want HOST:PORT' --web here
stops
exit $bad
