#!/usr/bin/env bash
# The worked clients in Go, Node and Perl (proto/go, proto/node, proto/perl), as filters: against a server that is busy and fails, and `dragoman serve`
# over Unix socket, TCP and TLS.
# usage: client_examples.sh DRAGOMAN_BINARY FAKE_SERVER_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/launch/serving.sh
source "$here/tests/launch/serving.sh"
dragoman=$1 fake=$2
build=$(cd "$(dirname "$1")" && pwd)
sock=$dir/s
at=unix:$sock
if readelf -d "$build"/proto/libdragoman_client.so | grep -qE 'lib(a|t)san'; then
    echo 'SKIP client_examples: sanitizers look at C, which other clients of the server are'
    exit 77
fi

# ---- the programs ----
# build_go: with Debian's packages, which want no network. Fails with a reason on standard output.
build_go() {
    local lib=/usr/share/gocode
    command -v go >/dev/null || { echo 'golang-go is not installed'; return 1; }
    command -v protoc-gen-go >/dev/null || { echo 'protoc-gen-go is not installed'; return 1; }
    [ -d $lib/src/google.golang.org/protobuf ] || { echo 'golang-google-protobuf-dev is not installed'; return 1; }
    mkdir -p "$dir/go/src/example.org/dragoman"
    protoc "-I$here/proto" "--go_out=$dir/go/src" --go_opt=Mdragoman.proto=example.org/dragoman/pb dragoman.proto 2>"$dir/err" || fail 'protoc --go_out'
    cp "$here/proto/go/dragoman_client.go" "$dir/go/src/example.org/dragoman"
    export GOPATH=$dir/go:$lib GO111MODULE=off GOFLAGS=-p=2 GOCACHE=$build/go-cache CGO_ENABLED=0
    go vet example.org/dragoman 2>"$dir/err" || fail 'go vet'
    [ -z "$(gofmt -l "$here/proto/go")" ] || fail 'proto/go: not as gofmt writes it'
    go build -o "$dir/dragoman_client" example.org/dragoman 2>"$dir/err" || fail 'go build'
}
declare -A programs=()
if command -v node >/dev/null; then
    programs[node]="node $here/proto/node/dragoman_client.mjs"
else
    echo 'SKIP client_examples: node: nodejs is not installed'
fi
if perl -MIO::Socket::IP -MTime::HiRes -e 1 2>/dev/null; then
    programs[perl]="perl -w $here/proto/perl/dragoman_client.pl"
else
    echo 'SKIP client_examples: perl: perl with its modules is not installed'
fi
if why=$(build_go); then
    programs[go]=$dir/dragoman_client
else
    echo "SKIP client_examples: go: $why"
fi
[ ${#programs[@]} -gt 0 ] || exit 77

# asks CODE ADDRESS [NAME=VALUE...]: from $dir/in into $dir/out.
asks() {
    local code=$1 address=$2 got
    shift 2
    # shellcheck disable=SC2086 # program and its file
    env "$@" timeout 300 ${programs[$lang]} "$address" eng_Latn deu_Latn <"$dir/in" >"$dir/out" 2>"$dir/err"
    got=$?
    [ $got -eq "$code" ] || fail "$lang, $address $*: exit code $got, not $code"
}
same() { cmp -s "$dir/want" "$dir/out" || fail "$lang: other lines than $1"; }

# fakes KEY=N...: a server that echoes; counted ends it, and wants it not to have been overdrawn.
fakes() {
    "$fake" "$sock" "$@" >"$dir/counts" &
    server=$!
    await_from "$server" a_socket "$sock" || fail 'no fake server'
}
counted() {
    kill "$server"
    wait "$server"
    server=''
    grep -q "$1.*overdrawn 0 bad_ids 0" "$dir/counts" || fail "$lang: want '$1', found: $(cat "$dir/counts")"
}

# ---- credits, errors that say retry, answers in any order; what is typed is answered at once; a token; a lost connection ----
for lang in "${!programs[@]}"; do
    seq 2000 >"$dir/in"
    sed 's/^/deu_Latn:/' "$dir/in" >"$dir/want"
    fakes busy=2 lost_ranks=3 credits=40
    asks 0 "$at"
    same 'those that the server gave'
    counted 'connections 1 segments 2003 answers 2003'

    fakes token=right
    mkfifo "$dir/typed.$lang"
    : >"$dir/out" # the shell in the background empties it too late
    # shellcheck disable=SC2086
    DRAGOMAN_TOKEN=right ${programs[$lang]} "$at" eng_Latn deu_Latn <"$dir/typed.$lang" >"$dir/out" 2>"$dir/err" &
    typist=$!
    exec 5>"$dir/typed.$lang"
    echo one >&5
    await_from "$typist" filled "$dir/out"
    [ "$(cat "$dir/out")" = deu_Latn:one ] || fail "$lang: a line that is typed: '$(cat "$dir/out")'"
    exec 5>&-
    wait $typist || fail "$lang: typed: exit code $?"
    printf 'one\n' >"$dir/in"
    asks 2 "$at" DRAGOMAN_TOKEN=wrong
    grep -q 'the server says: this token is not known' "$dir/err" || fail "$lang: a wrong token: no sentence"
    counted 'segments 1 '
    # a connection that is lost is made again, and each line is there once
    seq 200 >"$dir/in"
    sed 's/^/deu_Latn:/' "$dir/in" >"$dir/want"
    fakes drop_after=30 drops=3 credits=40
    asks 0 "$at"
    same 'those of a server that hung up three times'
    counted 'connections 4 '
    # the server's last word, which says closing: what it was asked before is answered, and written; of the rest it is told ..
    fakes closes=2 credits=10 pause_us=10000
    asks 2 "$at"
    grep -q 'the server says: this is the last word' "$dir/err" || fail "$lang: a last word: no sentence"
    cp "$dir/want" "$dir/all"
    counted 'connections 1 '
    head -n "$(sed 's/.*answers \([0-9]*\).*/\1/' "$dir/counts")" "$dir/all" >"$dir/want"
    same 'those that were answered before and behind the last word'
    # .. or it is asked again, and nothing twice
    cp "$dir/all" "$dir/want"
    fakes closes=14 credits=10 pause_us=1000
    asks 0 "$at"
    same 'those of a server that closed'
    counted 'connections 2 segments 200 answers 200 '
    asks 6 "unix:$dir/nowhere"
    asks 2 nowhere
done

# ---- dragoman serve: the bytes of translate, flagged lines, deadlines; over TCP and TLS too ----
{ head -n 12 "$here/models/sample/pictures.eng_Latn.txt"; printf '\nb\xffd\nA dog.'; } >"$dir/some"
"$dragoman" translate -s en -t de -i "$dir/some" >"$dir/want" 2>/dev/null
serves --listen tcp:127.0.0.1:0
port=$(tcp_port "$dir/server")
for lang in "${!programs[@]}"; do
    for address in "$at" "tcp:127.0.0.1:$port"; do
        cp "$dir/some" "$dir/in"
        asks 1 "$address"
        same translate
        grep -q 'line 14: bad_input byte 2 (0xff) is not UTF-8' "$dir/err" || fail "$lang: a bad line: no sentence"
    done
    for i in $(seq 60); do printf '%s: a man in a red shirt and %d women in blue dresses walk with two dogs. ' "$lang" "$i"; done >"$dir/in"
    asks 1 "$at" DRAGOMAN_DEADLINE_MS=1
    grep -q '^line 1: timed_out' "$dir/err" || fail "$lang: a deadline that passes: no sentence"
    asks 0 "$at" DRAGOMAN_DEADLINE_MS=60000
done
# ... killed in the middle, and back: the same lines; back with other options: those would not go with the ones before
cp "$dir/want" "$dir/some.want"
for i in $(seq 20); do sed "s/^/$i /" "$here/models/sample/pictures.eng_Latn.txt"; done >"$dir/all"
"$dragoman" translate -s en -t de -i "$dir/all" >"$dir/want" 2>/dev/null
ln -sf lines "$dir/in"
# over_two CODE ARGS...: of the server that comes back. The first has half of the lines, is stopped at what it does, and gets the rest.
mkfifo "$dir/lines"
over_two() {
    local code=$1 asker
    shift
    : >"$dir/out"
    asks "$code" "$at" &
    asker=$!
    exec 5>"$dir/lines"
    head -n 240 "$dir/all" >&5
    await_from "$asker" filled "$dir/out"
    halt "$server"
    tail -n +241 "$dir/all" >&5
    exec 5>&-
    kill -KILL "$server"
    wait "$server" 2>/dev/null
    serves "$@"
    wait $asker
}
for lang in "${!programs[@]}"; do
    : >"$dir/out"
    over_two 0 --cache-mib 0
    same translate
done
for lang in "${!programs[@]}"; do
    : >"$dir/out"
    over_two 2 --beam-size 2
    grep -q 'with another model or other options' "$dir/err" || fail "$lang: a server with other options: no sentence"
    stops
    serves --cache-mib 0
done
stops
rm "$dir/in"
cp "$dir/some" "$dir/in"
# somebody who answers with bytes that are no frame
if perl -MIO::Socket::UNIX -e 1 2>/dev/null; then
    perl -MIO::Socket::UNIX -e '$l = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 9) or die; while ($c = $l->accept) { sysread $c, $b, 4096; syswrite $c, "\0\0\0\3\377\377\377"; sysread $c, $b, 4096 }' "$dir/odd" &
    odd=$!
    await_from $odd a_socket "$dir/odd"
    for lang in "${!programs[@]}"; do
        asks 6 "unix:$dir/odd"
        [ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$lang: bytes that are no frame: not one sentence"
    done
    kill $odd
fi
if ! command -v openssl >/dev/null; then
    echo 'SKIP client_examples: TLS: openssl is not installed'
    exit $bad
fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=here -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
    -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/err" || fail 'openssl req'
serves --listen tcp:127.0.0.1:0 --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem"
port=$(tcp_port "$dir/server")
cp "$dir/some.want" "$dir/want"
if [ -n "${programs[perl]:-}" ] && ! perl -MIO::Socket::SSL -e 1 2>/dev/null; then
    echo 'SKIP client_examples: perl, TLS: libio-socket-ssl-perl is not installed'
    unset 'programs[perl]'
fi
for lang in "${!programs[@]}"; do
    for host in localhost 127.0.0.1; do
        asks 1 "tcp:$host:$port" "DRAGOMAN_TLS_CA=$dir/cert.pem"
        same translate
    done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other -keyout "$dir/other.key" -out "$dir/other.pem" 2>/dev/null
    asks 2 "tcp:localhost:$port" "DRAGOMAN_TLS_CA=$dir/other.pem"
done
stops
exit $bad
