"""Tokens per second of CTranslate2 and of dragoman (compare_ct2.sh).

Each side runs in a process of its own that loads the model once and is timed by itself, from tokens (CTranslate2) or lines
(dragoman, its own summary) to the last hypothesis. A model of random weights never ends a sentence, so every sentence becomes
the same number of tokens in both. The text differs where types do: CTranslate2 rounds
otherwise.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

SOURCE, TARGET = "eng_Latn", "deu_Latn"

PEER = r"""
import json, sys, time
import ctranslate2
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
print(json.dumps({"tokens": n, "seconds": time.perf_counter() - start}))
"""


def peer(a, kind, threads, beam, batch, tokens):
    args = {"model": f"{a.work}/ct2-{os.path.basename(a.model)}", "type": kind, "threads": threads, "beam": beam, "batch": batch,
            "tokens": tokens, "target": TARGET, "length": a.tokens + 1}  # the prefix counts
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    p = subprocess.run([sys.executable, "-c", PEER, json.dumps(args)], capture_output=True, encoding="utf-8", env=env)
    if p.returncode != 0:
        raise SystemExit(p.stderr)
    r = json.loads(p.stdout)
    return r["tokens"], r["seconds"]


def ours(a, kind, threads, beam, batch, text):
    model = a.model + ("-int8" if kind == "int8" else "")
    length = a.tokens + 2  # start token and code count
    limits = ["--batch-rows", str(beam * batch)] + (["--batch-tokens", "1"] if batch == 1 else [])
    p = subprocess.run([a.program, "translate", "-m", model, "-s", SOURCE, "-t", TARGET, "--threads", str(threads),
                        "--beam-size", str(beam), "--min-length", str(length), "--max-length", str(length), "-i", text,
                        "--report", f"{a.work}/report", "-o", f"{a.work}/out"] + limits,
                       capture_output=True, encoding="utf-8")
    if p.returncode > 1:  # 1: every line is cut at the length asked for
        raise SystemExit(p.stderr)
    with open(f"{a.work}/report", encoding="utf-8") as f:
        n = sum(json.loads(x)["tgt_tokens"] for x in f)
    seconds = re.search(r"tokens in ([0-9.]+) s", p.stderr)
    return n, float(seconds[1])


def main():
    p = argparse.ArgumentParser()
    for name in ("model", "program", "types", "threads", "batches", "beams", "text", "work"):
        p.add_argument(f"--{name}", required=True)
    for name in ("tokens", "repeats"):
        p.add_argument(f"--{name}", type=int, required=True)
    a = p.parse_args()
    import ctranslate2
    from transformers import NllbTokenizer
    tok = NllbTokenizer.from_pretrained(a.model, src_lang=SOURCE)
    ctranslate2.converters.TransformersConverter(a.model).convert(f"{a.work}/ct2-{os.path.basename(a.model)}", force=True)
    with open(a.text, encoding="utf-8") as f:
        lines = f.read().split("\n")[:-1]
    print(f"{os.path.basename(a.model)}: {a.tokens} tokens a sentence, medians of {a.repeats} alternating runs; "
          f"CTranslate2 {ctranslate2.__version__}\n")
    print("| type | threads | beam | batch | CTranslate2 tokens/s | dragoman tokens/s | ratio |\n"
          "| --- | --- | --- | --- | --- | --- | --- |")
    for kind in a.types.split(","):
        for threads in map(int, a.threads.split(",")):
            for beam in map(int, a.beams.split(",")):
                for batch in map(int, a.batches.split(",")):
                    n = min(len(lines), 8 if batch == 1 else 2 * batch if batch < 100 else batch)
                    text, tokens = f"{a.work}/in", f"{a.work}/tokens.json"
                    with open(text, "w", encoding="utf-8") as f:
                        f.writelines(x + "\n" for x in lines[:n])
                    with open(tokens, "w", encoding="utf-8") as f:
                        json.dump([tok.convert_ids_to_tokens(tok(x)["input_ids"]) for x in lines[:n]], f)
                    rates = {peer: [], ours: []}
                    for _ in range(a.repeats):
                        for side, given in ((peer, tokens), (ours, text)):
                            count, seconds = side(a, kind, threads, beam, batch, given)
                            if count != n * a.tokens:
                                raise SystemExit(f"want {n * a.tokens} tokens from {side.__name__}, found {count}")
                            rates[side].append(count / max(seconds, 0.01))
                    x, y = (statistics.median(rates[s]) for s in (peer, ours))
                    print(f"| {kind} | {threads} | {beam} | {batch} | {x:.0f} | {y:.0f} | {y / x:.2f} |", flush=True)


if __name__ == "__main__":
    main()
