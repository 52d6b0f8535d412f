#!/usr/bin/env bash
# `dragoman serve` over TLS: the same bytes as without; what is wrong with a certificate, or is no TLS, gets one clear error, and
# the server goes on; certificates are read again on SIGHUP.
# usage: serve_tls.sh DRAGOMAN_BINARY
# shellcheck disable=SC2317 # functions that await calls
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/launch/serving.sh
source "$here/tests/launch/serving.sh"
dragoman=$1
if ! command -v openssl >/dev/null; then
    echo 'SKIP serve_tls: openssl is not installed'
    exit 77
fi
at=tcp:localhost:0

# ---- certificates ----
# root NAME: one who signs.
root() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" -keyout "$dir/$1.key" -out "$dir/$1.pem" 2>"$dir/err" || fail "openssl req $1"
}
# signed NAME ROOT HOSTS [ca's options]: for these hosts, by that root.
signed() {
    local name=$1 by=$2 hosts=$3
    shift 3
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>"$dir/err" || fail "openssl req $name"
    printf '[v3]\nsubjectAltName=%s\n' "$hosts" >"$dir/v3"
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/db\nnew_certs_dir=%s\nrand_serial=yes\nunique_subject=no\ndefault_md=sha256\npolicy=p\ndefault_days=2\n[p]\ncommonName=supplied\n' "$dir" "$dir" >"$dir/ca.conf"
    : >"$dir/db"
    openssl ca -batch -notext -config "$dir/ca.conf" -extfile "$dir/v3" -extensions v3 -cert "$dir/$by.pem" -keyfile "$dir/$by.key" -in "$dir/$name.csr" -out "$dir/$name.pem" "$@" >"$dir/err" 2>&1 || fail "openssl ca $name"
}
root good
root other
signed server good DNS:localhost,IP:127.0.0.1
signed elsewhere good DNS:elsewhere.example
signed expired good DNS:localhost -startdate 20200101000000Z -enddate 20200102000000Z
signed stranger other DNS:localhost,IP:127.0.0.1
signed alice good DNS:alice
signed mallory other DNS:mallory
cp "$dir/server.pem" "$dir/cert.pem"
cp "$dir/server.key" "$dir/key.pem"

head -n 16 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"
"$dragoman" translate -s en -t de -i "$dir/in" >"$dir/want" 2>"$dir/err" || fail translate
# works ARGS...: the client translates as translate does.
works() {
    client 0 -s en -t de -i "$dir/in" "$@"
    cmp -s "$dir/want" "$dir/out" || fail "client $*: other text than translate"
}
trusting=(--tls-ca "$dir/good.pem")

# ---- right, and what is not ----
serves --listen "unix:$dir/socket" --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem" --write-ms 1000
port=${at##*:}
works "${trusting[@]}"
at=tcp:127.0.0.1:$port works "${trusting[@]}"
at=unix:$dir/socket works
client 2 --tls-ca "$dir/other.pem" health
tells "TLS: the server's certificate is not trusted: unable to get local issuer certificate"
client 2 --tls health # by nobody whom the system knows
tells "TLS: the server's certificate is not trusted: "
client 2 health
tells 'the server says: this address wants TLS, and what came is none'
logs 'ends: this address wants TLS, and what came is none'
logs 'ends: TLS: tlsv1 alert unknown ca'
# noise behind a byte that TLS begins with
for n in 2 100 70000; do
    { printf '\026'; head -c "$n" /dev/urandom; } | timeout 1 bash -c 'exec 5<>/dev/tcp/127.0.0.1/'"$port"'; cat >&5; cat <&5' >/dev/null 2>&1
done
printf 'GET / HTTP/1.0\r\n\r\n' | timeout 300 bash -c 'exec 5<>/dev/tcp/127.0.0.1/'"$port"'; cat >&5; cat <&5' 2>/dev/null | grep -q 'this address wants TLS' || fail 'HTTP on the TLS port'
openssl s_client -connect "127.0.0.1:$port" -tls1_1 -cipher 'ALL:@SECLEVEL=0' </dev/null >"$dir/out" 2>&1 && fail 'TLS 1.1 is spoken'
for version in tls1_2 tls1_3; do
    # a plain hello inside TLS gets its welcome, whose frame names the server
    mkfifo "$dir/$version.in"
    timeout 300 openssl s_client -quiet -connect "127.0.0.1:$port" -"$version" <"$dir/$version.in" >"$dir/$version" 2>/dev/null &
    speaker=$!
    exec 5>"$dir/$version.in"
    printf '\0\0\0\4\22\2\10\1' >&5
    await_from "$speaker" grep -aq dragoman "$dir/$version" || fail "$version is not spoken"
    kill $speaker
    wait $speaker 2>/dev/null
    exec 5>&-
done
# said nothing, or half: closed in time, as without TLS
timeout 300 bash -c 'exec 5<>/dev/tcp/127.0.0.1/'"$port"'; cat <&5' || fail 'who says nothing is not let go'
works "${trusting[@]}"
alone() { timeout 300 "$dragoman" client --connect "unix:$dir/socket" statistics 2>/dev/null | grep -qx 'dragoman_connections 1'; }
await alone || fail 'connections are left behind'

# ---- other certificates, on SIGHUP ----
# now NAME: the server has that certificate.
now() {
    cp "$dir/$1.pem" "$dir/cert.pem"
    cp "$dir/$1.key" "$dir/key.pem"
    hang_up 'the certificate is read again'
}
now elsewhere
client 2 "${trusting[@]}" health
tells "the server's certificate is not trusted: hostname mismatch"
at=tcp:127.0.0.1:$port client 2 "${trusting[@]}" health
tells "the server's certificate is not trusted: IP address mismatch"
now expired
logs 'the certificate has expired'
client 2 "${trusting[@]}" health
tells "the server's certificate is not trusted: certificate has expired"
now stranger
client 2 "${trusting[@]}" health
tells "the server's certificate is not trusted: unable to get local issuer certificate"
cp "$dir/server.pem" "$dir/cert.pem" # of another key
hang_up 'the certificate stays as it was: --tls-key .*: want the key of --tls-cert.*: key values mismatch'
works --tls-ca "$dir/other.pem"
now server
works "${trusting[@]}"
stops

# ---- clients show one, too; and TLS to a plain port ----
at=tcp:localhost:0
printf 'alice:%s\n' "$(printf secret | sha256sum | cut -d' ' -f1)" >"$dir/tokens"
echo secret >"$dir/token"
serves --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem" --tls-client-ca "$dir/good.pem" --tokens "$dir/tokens" --write-ms 1000
alice=("${trusting[@]}" --tls-cert "$dir/alice.pem" --tls-key "$dir/alice.key")
works "${alice[@]}" --token-file "$dir/token"
client 2 "${alice[@]}" health
tells 'this server wants a token, and none was sent'
client 2 "${trusting[@]}" --token-file "$dir/token" health
tells 'certificate required'
client 2 "${trusting[@]}" --tls-cert "$dir/mallory.pem" --tls-key "$dir/mallory.key" --token-file "$dir/token" health
tells 'alert unknown ca'
logs "ends: TLS: the client's certificate: unable to get local issuer certificate"
if /usr/bin/python3 -c 'import google.protobuf' 2>/dev/null; then
    export PYTHONPATH=$here/proto/python PYTHONDONTWRITEBYTECODE=1
    cat >"$dir/try.py" <<'PY'
import socket, ssl, sys
from dragoman_client import Client, DragomanError, Frame, _pack
address, trusted, other, cert, key = sys.argv[1:]
context = ssl.create_default_context(cafile=trusted)
context.load_cert_chain(cert, key)
lines = [line.rstrip(b"\n") for line in sys.stdin.buffer]
with Client(address, token="secret", tls=context) as c:
    print("\n".join(answer.text for answer in c.translate(lines, "en", "de")))
def wants(error, words, **more):
    try:
        with Client(address, attempts=1, **more) as c:
            c.health()
        sys.exit(f"want an error that says {words}")
    except error as e:
        assert words in str(e), e
wants(DragomanError, "this address wants TLS", token="secret")
wants(DragomanError, "this token is not known", token="wrong", tls=context)
wants(ConnectionError, "certificate verify failed", tls=other)

# asks for much and reads nothing: let go
host, port = address[4:].split(":")
with context.wrap_socket(socket.create_connection((host, int(port)), timeout=300), server_hostname=host) as deaf:
    hello = Frame()
    hello.hello.version, hello.hello.token = 1, "secret"
    deaf.sendall(_pack(hello))
    try:
        for i in range(1, 1000000):
            frame = Frame(id=i)
            frame.languages_request.SetInParent()
            deaf.sendall(_pack(frame))
        sys.exit("a client that does not read is not let go")
    except (ConnectionError, ssl.SSLError):
        pass
PY
    timeout 300 /usr/bin/python3 "$dir/try.py" "$at" "$dir/good.pem" "$dir/other.pem" "$dir/alice.pem" "$dir/alice.key" <"$dir/in" >"$dir/out" 2>"$dir/err" || fail "try.py: exit code $?"
    cmp -s "$dir/want" "$dir/out" || fail 'Python: other text than translate'
    logs '(alice) is closed: it took no byte for 1000 ms'
else
    echo 'SKIP serve_tls: Python: the protobuf package is not installed'
fi
works "${alice[@]}" --token-file "$dir/token"
stops
at=tcp:127.0.0.1:0
serves
client 2 "${trusting[@]}" health
tells 'TLS: what listens there does not speak it'
works
stops

# ---- what does not start ----
refuses 'want --tls-cert and --tls-key, found only --tls-cert' --tls-cert "$dir/cert.pem"
refuses 'want --tls-cert and --tls-key, found only --tls-client-ca' --tls-client-ca "$dir/good.pem"
refuses "--tls-cert $dir/in: want a certificate in PEM: no start line" --tls-cert "$dir/in" --tls-key "$dir/key.pem"
refuses "--tls-cert $dir/no: want a certificate in PEM: No such file" --tls-cert "$dir/no" --tls-key "$dir/key.pem"
refuses 'key values mismatch' --tls-cert "$dir/cert.pem" --tls-key "$dir/alice.key"
openssl ec -aes128 -passout pass:x -in "$dir/server.key" -out "$dir/locked.key" 2>/dev/null
refuses 'in PEM and without a passphrase' --tls-cert "$dir/cert.pem" --tls-key "$dir/locked.key"
refuses "--tls-client-ca $dir/in: want certificates in PEM" --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem" --tls-client-ca "$dir/in"
refuses 'is not on loopback, and lacks --tokens: ' --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem" --listen tcp:0.0.0.0:0
at=tcp:0.0.0.0:0
serves --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem" --tokens "$dir/tokens"
at=tcp:127.0.0.1:${at##*:} works "${trusting[@]}" --token-file "$dir/token"
stops
at=unix:$dir/socket
client 2 --tls health
tells 'TLS: want a tcp address, found unix:'
exit $bad
