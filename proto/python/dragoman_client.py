"""Client of `dragoman serve`, on the protobuf package alone (any version from 3.20). docs/protocol.md tells what is spoken.

    with Client("unix:/run/dragoman/socket") as c:
        for answer in c.translate(["A man rides a horse."], "en", "de"):
            print(answer.text)

    async with AsyncClient("tcp:127.0.0.1:7411") as c:           # many calls at once share the connection
        answers = await c.translate(["A man rides a horse."], "en", "de", n_best=2)

    Client("tcp:mt.example.org:7411", token="...", tls=True)       # or tls="ca.pem", or an ssl.SSLContext

    python3 dragoman_client.py unix:/run/dragoman/socket en de < in > out      # token: $DRAGOMAN_TOKEN; certificates: $DRAGOMAN_TLS_CA
                                # exit codes as of `dragoman`: 1 some lines are flagged, 2 refused, 6 the server is not there, 8 not now

Answers come back in the order of the lines. An answer is the message `Answer` of dragoman.proto with three things beside it: `text` (of the best
hypothesis, or ""), `ok` (there is one) and `status_name`. Options are the fields of the message `Options`, those of an enumeration as numbers or words
(retry="checks"). A connection that is lost is made again, with growing pauses, and what was not answered is sent again: answers depend on model, options
and line alone. With return_exceptions=True a line that cannot be done has its exception in place of an answer, as in asyncio.gather; DragomanError.retry
tells whether the same may do later. What is cancelled (asyncio.wait_for, ...) the server computes no more. Not for several threads at once.

Beside this file lies dragoman.desc, made by `protoc --include_imports --descriptor_set_out=dragoman.desc dragoman.proto`."""

import asyncio
import os
import random
import ssl
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

VERSION, MAX_BODY, FRAME_SEGMENTS = 1, 4 << 20, 64


def _load():
    path = os.environ.get("DRAGOMAN_DESC", os.path.join(os.path.dirname(os.path.abspath(__file__)), "dragoman.desc"))
    with open(path, "rb") as f:
        files = descriptor_pb2.FileDescriptorSet.FromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    frame = pool.FindMessageTypeByName("dragoman.v1.Frame")
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return make(frame), pool.FindEnumTypeByName("dragoman.v1.Status"), pool.FindEnumTypeByName("dragoman.v1.ErrorCode")


Frame, _STATUS, _ERROR = _load()
_FAILED = _STATUS.values_by_name["STATUS_FAILED"].number


class DragomanError(Exception):
    """The server refused, for good: code ("LANGUAGE", ...) and its sentence."""

    def __init__(self, code, message, retry=False, retry_after_ms=0):
        super().__init__(message)
        names = _ERROR.values_by_number
        self.code = names[code].name[len("ERROR_"):] if code in names else str(code)
        self.retry, self.retry_after_ms = retry, retry_after_ms


class Result:
    """An Answer, and what is asked of it most."""

    def __init__(self, message):
        self.message = message
        self.ok = len(message.hypotheses) > 0
        self.text = message.hypotheses[0].text if self.ok else ""
        names = _STATUS.values_by_number
        self.status_name = names[message.status].name[len("STATUS_"):].lower() if message.status in names else "unknown"

    def __getattr__(self, name):
        return getattr(self.message, name)


class _Item:
    """A segment on its way."""

    def __init__(self, segment, done):
        self.segment, self.done, self.tries, self.alone = segment, done, 0, False


class AsyncClient:
    def __init__(self, address, token="", name="dragoman_client.py", attempts=10, tries=5, tls=None):
        """tls: None; True: a server that the system trusts, by the host in the address; a file of certificates to trust instead (PEM); or an ssl.SSLContext."""
        self.address, self.token, self.name, self.attempts, self.tries = address, token, name, attempts, tries
        self._tls = ssl.create_default_context(cafile=None if tls is True else tls) if tls and not isinstance(tls, ssl.SSLContext) else tls or None
        self.welcome, self._hashes, self._task, self._writer = None, None, None, None
        self._waiting, self._sent, self._questions, self._asked = [], {}, [], {}
        self._wake, self._credits, self._id, self._progress, self._pause, self._parting = asyncio.Event(), 0, 0, False, 0.0, None

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # ---- what is asked ----

    async def translate(self, lines, src, tgt, prefixes=None, return_exceptions=False, **options):
        """Answers to lines (str or bytes), in their order."""
        futures = []
        for i, line in enumerate(lines):
            frame = Frame()
            s = frame.translate.segments.add(text=_bytes(line), src=src, tgt=tgt, number=i + 1)
            if prefixes is not None:
                s.prefix = _bytes(prefixes[i])
            for key, value in options.items():
                setattr(s.options, key, _value(s.options, key, value))
            futures.append(asyncio.get_running_loop().create_future())
            self._waiting.append(_Item(s, futures[-1]))
        self._start()
        try:
            return await asyncio.gather(*futures, return_exceptions=return_exceptions)
        finally:
            for future in futures:
                future.cancel()
            if any(future.cancelled() for future in futures):
                self._cancel_sent()

    def _cancel_sent(self):
        """What nobody waits for any more need not be computed; its answers come all the same."""
        cancelled = {}
        for (id, segment), item in self._sent.items():
            if item.done.cancelled():
                cancelled.setdefault(id, []).append(segment)
        for id, segments in cancelled.items():
            frame = Frame()
            frame.cancel.request = id
            frame.cancel.segments.extend(segments)
            self._writer.write(_pack(frame))

    async def languages(self):
        return list((await self._ask("languages_request")).languages.languages)

    async def statistics(self):
        return {m.name: m.value for m in (await self._ask("statistics_request")).statistics.metrics}

    async def health(self):
        return (await self._ask("health_request")).health

    async def drain(self, limit_ms=0):
        return (await self._ask("drain", limit_ms=limit_ms)).health

    async def _ask(self, kind, **fields):
        future = asyncio.get_running_loop().create_future()
        self._questions.append((kind, fields, future))
        self._start()
        return await future

    # ---- the connection ----

    def _start(self):
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self):
        failed = 0
        try:
            while self._waiting or self._sent or self._questions or self._asked:
                after = 0
                try:
                    await self._connection()
                    failed = 0
                except (OSError, EOFError, asyncio.TimeoutError) as e:
                    why = str(e) or type(e).__name__
                    if isinstance(e, ssl.SSLError) and not isinstance(e, ssl.SSLEOFError) and self._credits is None:
                        raise ConnectionError(f"{self.address}: TLS: {why}") from None  # next time it will not be otherwise
                except DragomanError as e:
                    if not e.retry:
                        raise
                    why, after = str(e), e.retry_after_ms / 1000
                else:
                    continue
                failed = 1 if self._lost(why) else failed + 1
                if 0 <= self.attempts <= failed:
                    raise ConnectionError(f"{self.address}: {why} (after {failed} attempts)")
                await asyncio.sleep(max(after, min(10, 0.1 * 2 ** min(failed, 8)) * (0.5 + random.random() / 2)))
        except (DragomanError, ConnectionError) as e:
            items = self._waiting + list(self._sent.values())
            futures = [i.done for i in items] + [q[2] for q in self._questions] + list(self._asked.values())
            self._waiting, self._sent, self._questions, self._asked = [], {}, [], {}
            for future in futures:
                if not future.done():
                    future.set_exception(e)

    def _lost(self, why):
        """What was sent waits again. A connection that brought answers counts against nobody. True when Welcome had come."""
        again = list(self._sent.values())
        self._sent = {}
        for item in again:
            item.tries += not self._progress
            if item.tries >= self.tries and not item.done.done():
                item.done.set_exception(ConnectionError(f"{self.address}: {why}, each time that this line was sent"))
        self._waiting = [i for i in again if not i.done.done()] + self._waiting
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ConnectionError(f"{self.address}: {why}"))
        self._asked = {}
        return self._credits is not None

    async def _connection(self):
        self._credits, self._id, self._progress, self._parting = None, 0, False, None
        opened = await asyncio.wait_for(_open(self.address, self._tls), 10)
        reader, self._writer = opened
        try:
            hello = Frame()
            hello.hello.version, hello.hello.token, hello.hello.client = VERSION, self.token, self.name
            self._writer.write(_pack(hello))
            first = await asyncio.wait_for(_receive(reader), 10)
            _raise(first)
            self.welcome = first.welcome
            hashes = (first.welcome.model_hash, first.welcome.option_hash)
            if self._hashes not in (None, hashes):
                raise DragomanError(0, f"{self.address}: the server came back with another model or other options")
            self._hashes, self._credits = hashes, first.welcome.credits
            sender = asyncio.get_running_loop().create_task(self._send())
            try:
                while self._waiting or self._sent or self._questions or self._asked:
                    self._take(await _receive(reader))
            except (OSError, EOFError) as e:
                raise self._parting or e from None  # the server's reason, where it gave one
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
        finally:
            self._writer.close()

    async def _send(self):
        limit = min(self.welcome.limits.request_segments or FRAME_SEGMENTS, FRAME_SEGMENTS)
        while not self._parting:
            self._wake.clear()
            if self._pause > 0:
                pause, self._pause = self._pause, 0.0
                await asyncio.sleep(pause)
            for kind, fields, future in self._questions:
                frame = self._new()
                getattr(frame, kind).SetInParent()
                for key, value in fields.items():
                    setattr(getattr(frame, kind), key, value)
                self._asked[frame.id] = future
                self._writer.write(_pack(frame))
            self._questions = []
            while self._waiting and self._credits > 0 and not self._pause and not self._parting:
                frame, size = self._new(), 0
                while self._waiting and self._credits > 0 and len(frame.translate.segments) < limit and size < MAX_BODY // 16:
                    item = self._waiting[0]
                    if frame.translate.segments and (item.alone or self._sent[frame.id, 0].alone):
                        break
                    self._waiting.pop(0)
                    if item.done.done():
                        continue
                    self._sent[frame.id, len(frame.translate.segments)] = item
                    frame.translate.segments.append(item.segment)
                    size += item.segment.ByteSize()
                    self._credits -= 1
                if frame.translate.segments:
                    self._writer.write(_pack(frame))
                    await self._writer.drain()
            await self._wake.wait()

    def _new(self):
        self._id += 1
        return Frame(id=self._id)

    # ---- what comes ----

    def _take(self, frame):
        kind = frame.WhichOneof("kind")
        if kind == "answer":
            self._credits += frame.answer.credits
            item = self._sent.pop((frame.id, frame.answer.segment), None)
            self._progress = True
            if item is not None and not self._again([item], frame.answer if frame.answer.status == _FAILED else None):
                _finish(item.done, Result(frame.answer))
        elif kind == "error":
            self._take_error(frame)
        elif kind == "credit":
            self._credits += frame.credit.credits
        elif frame.id in self._asked:
            _finish(self._asked.pop(frame.id), frame)
        self._wake.set()

    def _again(self, items, error):
        """Items that may be tried again are: True. error has retry, retry_after_ms and code."""
        if error is None or not error.retry:
            return False
        if error.code not in (_ERROR.values_by_name["ERROR_" + n].number for n in ("BUSY", "DRAINING", "NOT_READY", "CREDIT")):
            for item in items:
                item.tries += 1
            if any(item.tries >= self.tries for item in items):
                return False
        self._pause = max(self._pause, (error.retry_after_ms or 50) / 1000)
        self._waiting[:0] = items
        return True

    def _take_error(self, frame):
        error = frame.error
        self._credits += error.credits
        if frame.id == 0 and not error.closing:
            _raise(frame)
        if frame.id == 0:  # nothing more is read there, but what was asked before is still answered: its end is the stream's
            self._parting = self._parting or _error(error)
            return
        if frame.id in self._asked:
            self._asked.pop(frame.id).set_exception(_error(error))
            return
        keys = sorted(k for k in self._sent if k[0] == frame.id)
        items = [self._sent.pop(k) for k in keys]
        if self._again(items, error):
            return
        if len(items) > 1:  # which of them is it?
            for item in items:
                item.alone = True
            self._waiting[:0] = items
            return
        for item in items:
            if not item.done.done():
                item.done.set_exception(_error(error))


def _value(options, key, value):
    """Of an enumeration its word is enough: retry="checks", priority="bulk"."""
    field = options.DESCRIPTOR.fields_by_name.get(key)
    kind = field.enum_type if field is not None else None
    return kind.values_by_name[f"{kind.name}_{value}".upper()].number if kind is not None and isinstance(value, str) else value


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _finish(future, value):
    if not future.done():
        future.set_result(value)


def _error(e):
    return DragomanError(e.code, e.message, e.retry, e.retry_after_ms)


def _raise(frame):
    if frame.WhichOneof("kind") == "error":
        raise _error(frame.error)


def _pack(frame):
    body = frame.SerializeToString()
    return len(body).to_bytes(4, "big") + body


async def _receive(reader):
    try:
        n = int.from_bytes(await reader.readexactly(4), "big")
        if n > MAX_BODY:
            raise EOFError(f"a frame has at most {MAX_BODY} bytes, this one says {n}")
        return Frame.FromString(await reader.readexactly(n))
    except asyncio.IncompleteReadError:
        raise EOFError("the server closed the connection") from None


async def _open(address, tls):
    if address.startswith("unix:") and tls is None:
        return await asyncio.open_unix_connection(address[5:])
    host, colon, port = address[4:].rpartition(":")
    if not address.startswith("tcp:") or not colon or not host or not port.isdigit():
        raise ValueError(f"want {'' if tls else 'unix:PATH or '}tcp:HOST:PORT, found {address!r}")
    return await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)


class Client:
    """The same without async: each call waits."""

    def __init__(self, *args, **kwargs):
        self._loop = asyncio.new_event_loop()
        self._client = self._do(self._make(args, kwargs))

    @staticmethod
    async def _make(args, kwargs):
        return AsyncClient(*args, **kwargs)

    def _do(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._do(self._client.close())
        self._loop.close()

    @property
    def welcome(self):
        return self._client.welcome

    def translate(self, lines, src, tgt, prefixes=None, return_exceptions=False, **options):
        return self._do(self._client.translate(lines, src, tgt, prefixes, return_exceptions, **options))

    def languages(self):
        return self._do(self._client.languages())

    def statistics(self):
        return self._do(self._client.statistics())

    def health(self):
        return self._do(self._client.health())

    def drain(self, limit_ms=0):
        return self._do(self._client.drain(limit_ms))


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: dragoman_client.py unix:PATH|tcp:HOST:PORT SRC TGT < in > out")
    with Client(sys.argv[1], os.environ.get("DRAGOMAN_TOKEN", ""), tls=os.environ.get("DRAGOMAN_TLS_CA")) as c:
        flagged = 0
        for answer in c.translate([line.rstrip(b"\n") for line in sys.stdin.buffer], sys.argv[2], sys.argv[3], return_exceptions=True):
            if isinstance(answer, Exception):  # lines are in order: there is no place for those behind it
                raise answer
            flagged += answer.status_name not in ("ok", "empty", "split")
            sys.stdout.buffer.write(answer.text.encode() + b"\n")
    return 1 if flagged else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (DragomanError, OSError, ValueError) as e:
        print(f"dragoman_client.py: {e}", file=sys.stderr)
        sys.exit(5 if isinstance(e, BrokenPipeError) else 6 if isinstance(e, ConnectionError) else 8 if getattr(e, "retry", False) else 2)
