"""The most words a second at which 99 of 100 sentences come back within a limit (latency.sh).

An open loop: sentence i is due at a time drawn beforehand, and its latency counts from then, so that a server that falls behind
cannot slow its load down. Rates are bisected between a tenth and 1.2 times what the server does with a heap of sentences at once.
"""
import argparse
import gzip
import os
import queue
import random
import subprocess
import threading
import time

SOURCE, TARGET = "eng_Latn", "deu_Latn"
HEAP = 200


class Filter:
    """dragoman translate: one line in, one line out, in order."""

    def __init__(self, a, path, threads, fixed):
        length = a.tokens + 2  # start token and code count
        limits = ["--min-length", str(length), "--max-length", str(length)] if fixed else []
        self.process = subprocess.Popen(
            [a.program, "translate", "-m", path, "-s", SOURCE, "-t", TARGET, "--threads", str(threads), "--compute", "int8",
             "--verify", "open", "--log-level", "error", "--beam-size", str(a.beam), "--batch-rows", str(a.beam * a.batch)] + limits,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def give(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def take(self):
        if self.process.stdout.readline() == b"":
            raise EOFError("dragoman ended early")
        return 1

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class CTranslate2:
    """A loop that translates all that waits, at most a batch."""

    def __init__(self, a, path, threads, fixed):
        import ctranslate2
        from transformers import NllbTokenizer
        assert fixed
        tok = NllbTokenizer.from_pretrained(path, src_lang=SOURCE)
        self.tokens = {x: tok.convert_ids_to_tokens(tok(x)["input_ids"]) for x in a.lines}
        model = f"{a.work}/ct2"
        ctranslate2.converters.TransformersConverter(path).convert(model, force=True, quantization="int8")
        self.translator = ctranslate2.Translator(model, device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads)
        self.batch, self.waiting = a.batch, queue.Queue()
        self.options = {"beam_size": a.beam, "min_decoding_length": a.tokens + 1, "max_decoding_length": a.tokens + 1}  # with the prefix

    def give(self, line):
        self.waiting.put(self.tokens[line])

    def take(self):
        batch = [self.waiting.get()]
        while len(batch) < self.batch and not self.waiting.empty():
            batch.append(self.waiting.get())
        self.translator.translate_batch(batch, target_prefix=[[TARGET]] * len(batch), max_batch_size=self.batch,
                                        batch_type="examples", **self.options)
        return len(batch)

    def close(self):
        pass


def offer(server, lines, due):
    """Gives line i at due[i] seconds from now. -> latencies, seconds from the first due to the last one back"""
    back, failed = [], []
    start = time.perf_counter() + 0.1

    def take():
        try:
            while len(back) < len(lines):
                n = server.take()
                back.extend([time.perf_counter() - start] * n)
        except EOFError as e:
            failed.append(e)
    taker = threading.Thread(target=take)
    taker.start()
    for line, at in zip(lines, due):
        time.sleep(max(0.0, start + at - time.perf_counter()))
        server.give(line)
    taker.join()
    if failed:
        raise SystemExit(str(failed[0]))
    return [b - at for b, at in zip(back, due)], back[-1]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def trial(a, server, rate, seed):
    """-> seconds that 50 and 99 of 100 took"""
    rng, due = random.Random(seed), []
    count = max(100, int(rate * a.seconds))
    for _ in range(count):
        due.append((due[-1] if due else 0.0) + rng.expovariate(rate))
    first = rng.randrange(len(a.lines))
    lines = [a.lines[(first + i) % len(a.lines)] for i in range(count)]
    took, _ = offer(server, lines, due)
    return percentile(took, 0.5), percentile(took, 0.99)


def search(a, server):
    """-> the highest rate (sentences a second) within the limit or None, its percentiles, and the rate of a heap"""
    offer(server, a.lines[:a.batch], [0.0] * a.batch)  # warm
    heap = a.lines[a.batch:a.batch + HEAP]
    _, spent = offer(server, heap, [0.0] * len(heap))
    most = len(heap) / spent
    low, high, best = 0.1 * most, 1.2 * most, (None, 0.0, 0.0)
    for i in range(a.steps):
        rate = low if i == 0 else (low + high) / 2
        half, late = trial(a, server, rate, i)
        if late <= a.limit:
            low, best = rate, (rate, half, late)
        elif i == 0:
            break
        else:
            high = rate
    return (*best, most)


def main():
    p = argparse.ArgumentParser()
    for name in ("program", "threads", "work"):
        p.add_argument(f"--{name}", required=True)
    for name in ("models", "data"):
        p.add_argument(f"--{name}", nargs="+", required=True)
    for name in ("beam", "batch", "tokens", "steps"):
        p.add_argument(f"--{name}", type=int, required=True)
    for name in ("limit", "seconds"):
        p.add_argument(f"--{name}", type=float, required=True)
    a = p.parse_args()
    a.lines = []
    for path in a.data:
        with gzip.open(path, "rt", encoding="utf-8") as f:
            a.lines += f.read().split("\n")[:-1]
    a.lines = list(dict.fromkeys(x for x in a.lines if x.strip()))  # equal lines in flight would be computed once
    words = sum(len(x.split()) for x in a.lines) / len(a.lines)
    print(f"{words:.1f} words a sentence, beam {a.beam}, batches of at most {a.batch}, int8; {a.steps} rates of {a.seconds:g} s each; "
          f"99 of 100 within {a.limit:g} s\n")
    print("| model | threads | words/s | half within s | 99 of 100 within s | words/s of a heap | cost of a word against dense |\n" + "| --- " * 7 + "|")
    for threads in map(int, a.threads.split(",")):
        os.environ["OMP_NUM_THREADS"] = str(threads)
        dense = None
        for name, _, path in (x.partition("=") for x in a.models):
            server = (CTranslate2 if name == "ct2" else Filter)(a, path, threads, name != "demo")
            rate, half, late, heap = search(a, server)
            server.close()
            if rate is None:
                print(f"| {name} | {threads} | none | | | {heap * words:.0f} | |", flush=True)
                continue
            dense = rate if name == "dense" else dense
            cost = f"{dense / rate:.2f}" if dense else ""
            print(f"| {name} | {threads} | {rate * words:.0f} | {half:.2f} | {late:.2f} | {heap * words:.0f} | {cost} |", flush=True)


if __name__ == "__main__":
    main()
