"""Tokens per second and memory of CTranslate2 and of dragoman (compare_ct2.sh).

Each side runs in a process of its own that loads the model once and is timed by itself, from tokens (CTranslate2) or lines
(dragoman, its own summary) to the last hypothesis. A model of random weights never ends a sentence, so every sentence becomes
the same number of tokens in both. The text differs where types do: CTranslate2 rounds
otherwise. The MiB of a step are those of the weights that a decode step reads, experts being used evenly.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

SOURCE, TARGET = "eng_Latn", "deu_Latn"
LAYERS, VOCAB = 6, 32000
MIB = 1 << 20

PEER = r"""
import json, sys, time
import ctranslate2
def memory(what):
    return next(int(x.split()[1]) for x in open("/proc/self/status") if x.startswith(what)) / 1024
before = memory("VmRSS")
a = json.loads(sys.argv[1])
t = ctranslate2.Translator(a["model"], device="cpu", compute_type=a["type"], inter_threads=1, intra_threads=a["threads"])
lines = json.load(open(a["tokens"]))
def run(x):
    n = 0
    for r in t.translate_batch(x, target_prefix=[[a["target"]]] * len(x), beam_size=a["beam"], max_batch_size=a["batch"],
                               batch_type="examples", min_decoding_length=a["length"], max_decoding_length=a["length"]):
        n += len(r.hypotheses[0]) - 1
    return n
run(lines[:a["batch"]])
start = time.perf_counter()
if a["batch"] == 1:
    n = sum(run([x]) for x in lines)
else:
    n = run(lines)
print(json.dumps({"tokens": n, "seconds": time.perf_counter() - start, "mib": memory("VmHWM") - before}))
"""


class CTranslate2:
    def __init__(self, a):
        import ctranslate2
        self.version = ctranslate2.__version__
        self.a, self.model = a, f"{a.work}/ct2-{a.type}"
        ctranslate2.converters.TransformersConverter(a.model).convert(
            self.model, force=True, quantization=None if a.type == "float32" else a.type)

    def run(self, threads, beam, batch):
        """-> (tokens, seconds, MiB)"""
        a = self.a
        args = {"model": self.model, "type": a.type, "threads": threads, "beam": beam, "batch": batch,
                "tokens": f"{a.work}/tokens.json", "target": TARGET, "length": a.tokens + 1}  # the prefix counts
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        p = subprocess.run([sys.executable, "-c", PEER, json.dumps(args)], capture_output=True, encoding="utf-8", env=env)
        if p.returncode != 0:
            raise SystemExit(p.stderr)
        r = json.loads(p.stdout)
        return r["tokens"], r["seconds"], r["mib"]

    def file_bytes(self):
        return os.path.getsize(f"{self.model}/model.bin")


class Dragoman:
    def __init__(self, a, experts, model):
        self.a, self.experts, self.model = a, experts, model

    def run(self, threads, beam, batch):
        """-> (tokens, seconds, MiB)"""
        a = self.a
        length = a.tokens + 2  # start token and code count
        limits = ["--batch-rows", str(beam * batch)] + (["--batch-tokens", "1"] if batch == 1 else [])
        p = subprocess.run([a.program, "translate", "-m", self.model, "-s", SOURCE, "-t", TARGET, "--threads", str(threads),
                            "--compute", "int8" if a.type == "int8" else "f32", "--verify", "open", "--beam-size", str(beam),
                            "--min-length", str(length), "--max-length", str(length), "-i", f"{a.work}/in",
                            "--report", f"{a.work}/report", "-o", f"{a.work}/out"] + limits,
                           capture_output=True, encoding="utf-8")
        if p.returncode > 1:  # 1: every line is cut at the length asked for
            raise SystemExit(p.stderr)
        with open(f"{a.work}/report", encoding="utf-8") as f:
            n = sum(json.loads(x)["tgt_tokens"] for x in f)
        seconds = re.search(r"tokens in ([0-9.]+) s", p.stderr)
        memory = re.search(r"peak memory by rank ([0-9.]+)", p.stderr)
        if seconds is None or memory is None:
            raise SystemExit(f"want a summary on stderr, found: {p.stderr}")
        return n, float(seconds[1]), float(memory[1])

    def file_bytes(self):
        return sum(os.path.getsize(os.path.join(self.model, x)) for x in os.listdir(self.model) if x.endswith(".safetensors"))


def step_mib(a, experts, rows):
    """Weights of the decoder without cross-attention's keys and values, which are made once, and of the vocabulary."""
    d, used = a.width, 1.0
    ffn = 8 * d * d
    if experts > 0:
        used, ffn = experts * (1 - (1 - 2 / experts) ** rows), 4 * d * d
    return (LAYERS * (6 * d * d + used * ffn) + VOCAB * d) * (1 if a.type == "int8" else 4) / MIB


def write_lines(a, tok, lines):
    with open(f"{a.work}/in", "w", encoding="utf-8") as f:
        f.writelines(x + "\n" for x in lines)
    with open(f"{a.work}/tokens.json", "w", encoding="utf-8") as f:
        json.dump([tok.convert_ids_to_tokens(tok(x)["input_ids"]) for x in lines], f)


def cell(a, sides, n, threads, beam, batch):
    rates, memory = {s: [] for s in sides}, {s: [] for s in sides}
    for _ in range(a.repeats):
        for side in sides:
            count, seconds, mib = side.run(threads, beam, batch)
            if count != n * a.tokens:
                raise SystemExit(f"want {n * a.tokens} tokens from {type(side).__name__}, found {count}")
            rates[side].append(count / max(seconds, 0.01))
            memory[side].append(mib)
    peer = sides[0]
    x = statistics.median(rates[peer])
    for side in sides[1:]:
        y = statistics.median(rates[side])
        mib, files, steps = ((u, v) for u, v in zip(
            (statistics.median(memory[peer]), peer.file_bytes() / MIB, step_mib(a, 0, beam * batch)),
            (statistics.median(memory[side]), side.file_bytes() / MIB, step_mib(a, side.experts, beam * batch))))
        pairs = " | ".join(f"{u:.0f} / {v:.0f}" for u, v in (mib, files, steps))
        print(f"| {a.width} | {side.experts or 'dense'} | {a.type} | {threads} | {beam} | {batch} | {x:.0f} | {y:.0f} | {y / x:.2f} | 1.2 "
              f"| {pairs} |", flush=True)


def main():
    p = argparse.ArgumentParser()
    for name in ("model", "program", "type", "threads", "batches", "beams", "text", "work"):
        p.add_argument(f"--{name}", required=True)
    p.add_argument("--ours", nargs="+", required=True)
    for name in ("width", "tokens", "repeats"):
        p.add_argument(f"--{name}", type=int, required=True)
    a = p.parse_args()
    from transformers import NllbTokenizer
    tok = NllbTokenizer.from_pretrained(a.model, src_lang=SOURCE)
    peer = CTranslate2(a)
    sides = [peer] + [Dragoman(a, int(n), path) for n, _, path in (x.partition("=") for x in a.ours)]
    with open(a.text, encoding="utf-8") as f:
        lines = f.read().split("\n")[:-1]
    print(f"{a.tokens} tokens a sentence, medians of {a.repeats} alternating runs; CTranslate2 {peer.version}, dense; "
          f"pairs are CTranslate2 / dragoman\n")
    print("| d | experts | type | threads | beam | batch | CTranslate2 tokens/s | dragoman tokens/s | ratio | aim | peak MiB | file MiB "
          "| MiB a step |\n" + "| --- " * 13 + "|")
    for threads in map(int, a.threads.split(",")):
        for beam in map(int, a.beams.split(",")):
            for batch in map(int, a.batches.split(",")):
                n = min(len(lines), 8 if batch == 1 else 2 * batch if batch < 100 else batch)
                write_lines(a, tok, lines[:n])
                cell(a, sides, n, threads, beam, batch)
    print()


if __name__ == "__main__":
    main()
