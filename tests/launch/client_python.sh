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

starts "$dragoman" serve -m "$here/models/multi30k-token" --listen "unix:$sock"
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
mkdir "$dir/docs"
protoc --proto_path="$here/proto" --python_out="$dir/docs" dragoman.proto || fail "protoc --python_out"
awk '/^```python$/ { on = 1; next } /^```$/ { on = 0 } on' "$here/docs/protocol.md" >"$dir/docs/client.py"
timeout 300 $python "$dir/docs/client.py" "$sock" <"$dir/in" >"$dir/out" 2>"$dir/err" || fail "the program of docs/protocol.md: exit code $?"
cmp -s "$dir/want" "$dir/out" || fail "the program of docs/protocol.md: another text than translate"
stop_server
exit $bad
