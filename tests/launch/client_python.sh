#!/usr/bin/env bash
# The Python client, both ways of it, and the program of docs/protocol.md: against a server that drops and is busy, and
# `dragoman serve`.
# usage: client_python.sh DRAGOMAN_BINARY FAKE_SERVER_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1 fake=$2
python=/usr/bin/python3
if ! $python -c 'import google.protobuf' 2>/dev/null || ! command -v protoc >/dev/null; then
    echo "SKIP client_python: the protobuf package of Python or protoc is not installed"
    exit 77
fi
export PYTHONPATH=$here/proto/python PYTHONDONTWRITEBYTECODE=1
sock=$dir/s.sock

# starts COMMAND...: a server; stop_server ends it.
starts() {
    "$@" >"$dir/counts" 2>"$dir/server" &
    server=$!
    await_from "$server" a_socket "$sock" || fail "no server: $(cat "$dir/server")"
}
stop_server() {
    kill "$server"
    wait "$server"
    rm -f "$sock"
}

protoc --proto_path="$here/proto" --include_imports --descriptor_set_out="$dir/desc" dragoman.proto || fail protoc
cmp -s "$dir/desc" "$here/proto/python/dragoman.desc" || fail "proto/python/dragoman.desc is not that of dragoman.proto"

starts "$fake" "$sock" drop_after=300 drops=3 busy=2 credits=40
seq 2000 >"$dir/in"
sed 's/^/deu_Latn:/' "$dir/in" >"$dir/want"
timeout 300 $python "$here/proto/python/dragoman_client.py" "unix:$sock" eng_Latn deu_Latn <"$dir/in" >"$dir/out" 2>"$dir/err" || fail "exit code $?"
cmp -s "$dir/want" "$dir/out" || fail "other lines than those that the server gave"
stop_server
grep -q 'connections 4 .*overdrawn 0 bad_ids 0' "$dir/counts" || fail "$(cat "$dir/counts")"

# the server's last word, which says closing: what it was asked before is answered, and written; of the rest it is told ..
starts "$fake" "$sock" closes=2 credits=10
head -n 30 "$dir/in" >"$dir/few"
timeout 60 $python "$here/proto/python/dragoman_client.py" "unix:$sock" eng_Latn deu_Latn <"$dir/few" >"$dir/out" 2>"$dir/err"
[ $? -eq 2 ] || fail "a last word: not exit code 2"
says 'this is the last word'
cmp -s <(head -n 10 "$dir/want") "$dir/out" || fail "other lines than those that were answered before and behind the last word"
stop_server
# .. or it is asked again, and nothing twice
starts "$fake" "$sock" closes=14 credits=10
timeout 60 $python "$here/proto/python/dragoman_client.py" "unix:$sock" eng_Latn deu_Latn <"$dir/few" >"$dir/out" 2>"$dir/err" || fail "a server that closes: exit code $?"
cmp -s <(head -n 30 "$dir/want") "$dir/out" || fail "other lines than those of a server that closed"
stop_server
grep -q 'connections 2 segments 30 answers 30 ' "$dir/counts" || fail "$(cat "$dir/counts")"

starts "$fake" "$sock" token=right refused=no
cat >"$dir/try.py" <<'PY'
import asyncio, sys
from dragoman_client import AsyncClient, Client, DragomanError

async def several():
    async with AsyncClient(sys.argv[1], token="right") as c:
        a, b, h = await asyncio.gather(c.translate(["x", b"\xff"], "en", "de"), c.translate(["y"] * 300, "en", "fr", beam_size=2), c.health())
        assert [x.text for x in a] == ["de:x", ""] and a[1].status_name == "bad_input", a
        assert [x.text for x in b] == ["fr:y"] * 300 and h.in_flight == 7
        both = await asyncio.gather(c.translate(["good", "no"], "en", "de"), c.translate(["better"], "en", "de"), return_exceptions=True)
        assert isinstance(both[0], DragomanError) and both[0].code == "LANGUAGE" and both[1][0].text == "de:better", both

asyncio.run(several())
with Client(sys.argv[1], token="right") as c:
    answer, = c.translate(["x"], "en", "de", prefixes=["Wie"], n_best=1)
    assert answer.ok and answer.text == "de:Wie x" and answer.hypotheses[0].score == -1, answer
    assert c.languages()[0].name == "German" and c.welcome.model == "echo"
    try:
        c.statistics()
        sys.exit("statistics: want an error")
    except DragomanError as e:
        assert e.code == "UNSUPPORTED", e
for address, token, want in ((sys.argv[1], "wrong", DragomanError), ("unix:/nowhere", "", ConnectionError)):
    try:
        with Client(address, token=token, attempts=2) as c:
            c.translate(["x"], "en", "de")
        sys.exit(f"{address}: want an error")
    except want:
        pass
PY
timeout 300 $python "$dir/try.py" "unix:$sock" 2>"$dir/err" || fail "try.py: exit code $?: $(tail -n 1 "$dir/err")"
stop_server

starts "$fake" "$sock" slow=slow
cat >"$dir/try.py" <<'PY'
import asyncio, sys
from dragoman_client import AsyncClient

async def impatient():
    async with AsyncClient(sys.argv[1]) as c:
        other = asyncio.ensure_future(c.translate(["quick", "slow"], "en", "de"))
        try:
            await asyncio.wait_for(c.translate(["slow", "quick", "slow"], "en", "de"), 0.2)
            sys.exit("slow: want a time-out")
        except asyncio.TimeoutError:
            pass
        assert (await c.translate(["z"], "en", "de"))[0].text == "de:z" and not other.done()

asyncio.run(impatient())
PY
timeout 300 $python "$dir/try.py" "unix:$sock" 2>"$dir/err" || fail "try.py: exit code $?: $(tail -n 1 "$dir/err")"
stop_server
grep -q 'answers 5 .*cancels 1$' "$dir/counts" || fail "what nobody waits for is not cancelled: $(cat "$dir/counts")"

starts "$dragoman" serve -m "$here/models/multi30k-token" --listen "unix:$sock" --listen tcp:127.0.0.1:0 --log-level debug
head -n 8 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"
"$dragoman" translate -m "$here/models/multi30k-token" -s en -t de <"$dir/in" >"$dir/want" 2>"$dir/err" || fail "translate: exit code $?"
timeout 300 $python "$here/proto/python/dragoman_client.py" "unix:$sock" en de <"$dir/in" >"$dir/out" 2>"$dir/err" || fail "serve: exit code $?"
cmp -s "$dir/want" "$dir/out" || fail "serve: another text than translate"
cat >"$dir/retry.py" <<'PY'
import sys
from dragoman_client import Client

lines = open(sys.argv[2], encoding="utf-8").read().splitlines()
with Client(sys.argv[1]) as c:
    once, twice = c.translate(lines, "en", "de"), c.translate(lines, "en", "de", retry="checks", priority="bulk")
assert not any(a.retried or a.second for a in once)
for a, b in zip(once, twice):
    assert b.retried == (a.checks != 0) and b.second == (b.retried and b.second_checks == 0), b
    assert not b.retried or (b.first_checks, b.first_score) == (a.checks, a.hypotheses[0].score), b
    assert not b.retried or b.hypotheses[0].score == (b.second_score if b.second else b.first_score), b
assert any(b.second for b in twice) and any(b.retried and not b.second for b in twice)
PY
timeout 1500 $python "$dir/retry.py" "unix:$sock" "$here/tests/launch/odd_lines.txt" 2>"$dir/err" || fail "retry.py: exit code $?: $(tail -n 1 "$dir/err")"
# What a server that ends a TCP connection had answered is there for a client that reads it only then, and was still sending.
cat >"$dir/late.py" <<'PY'
import socket, sys, time
from dragoman_client import Frame, _pack

s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # most of the answers wait on the server's side
s.connect(("127.0.0.1", int(sys.argv[1])))
hello, ask, health, frames = Frame(), Frame(id=1), Frame(id=2), []
hello.hello.version, hello.hello.client = 1, "late"
health.health_request.SetInParent()
for i in range(60):
    ask.translate.segments.add(text=b"A man rides horse number %d." % i, src="en", tgt="de")
ask.translate.options.n_best, ask.translate.options.token_scores = 4, True
s.sendall(_pack(hello) + _pack(ask) + b"\xff\xff\xff\xff" + 100 * _pack(health))  # no frame: the server's last word
while not any(end in open(sys.argv[2]).read() for end in ("(late) has all its answers", "(late) is closed")):
    time.sleep(0.02)
s.sendall(_pack(health))
stream = s.makefile("rb")
while len(head := stream.read(4)) == 4:
    frames.append(Frame.FromString(stream.read(int.from_bytes(head, "big"))))
assert [f.WhichOneof("kind") for f in frames].count("answer") == 60 and any(f.error.closing for f in frames), len(frames)
PY
timeout 300 $python "$dir/late.py" "$(tcp_port "$dir/server")" "$dir/server" 2>"$dir/err" || fail "late.py: exit code $?: $(tail -n 1 "$dir/err")"
mkdir "$dir/docs"
protoc --proto_path="$here/proto" --python_out="$dir/docs" dragoman.proto || fail "protoc --python_out"
awk '/^```python$/ { on = 1; next } /^```$/ { on = 0 } on' "$here/docs/protocol.md" >"$dir/docs/client.py"
timeout 300 $python "$dir/docs/client.py" "$sock" <"$dir/in" >"$dir/out" 2>"$dir/err" || fail "the program of docs/protocol.md: exit code $?"
cmp -s "$dir/want" "$dir/out" || fail "the program of docs/protocol.md: another text than translate"
stop_server
exit $bad
