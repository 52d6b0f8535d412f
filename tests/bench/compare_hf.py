"""Tokens per second of Hugging Face transformers and of dragoman (compare_hf.sh).

A token is a piece of a returned hypothesis: codes and </s> do not count. Hugging Face is timed from ids to ids,
without loading; its batches are sorted by length, so that it pads least. dragoman is timed by its own summary,
without loading too, but with reading, tokenising, writing and the first touch of its memory: each run is a process of its
own, and Hugging Face is warm. The last column counts the whole process. Where sentences have a fixed length (--tokens) dragoman
is given more lines one by one than Hugging Face, since so few would be over before a clock shows it; text is compared for those
that both have.
"""
import argparse
import gzip
import json
import re
import statistics
import subprocess
import tempfile
import time

import torch
import transformers
from transformers import AutoModelForSeq2SeqLM, NllbTokenizer

SOURCE, TARGET = "eng_Latn", "deu_Latn"
AIMS = {1: "26", 96: "15"}
MORE_LINES = 16
START = 2  # start token and code


class HuggingFace:
    def __init__(self, path, threads, tokens):
        torch.set_num_threads(threads)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(
            path, torch_dtype=torch.float32, attn_implementation="eager").eval()
        self.tok = NllbTokenizer.from_pretrained(path, src_lang=SOURCE)
        self.tokens = tokens
        self.options = {"do_sample": False, "max_length": 200,
                        "forced_bos_token_id": self.tok.convert_tokens_to_ids(TARGET)}
        if tokens:
            self.options.update(min_length=tokens + START, max_length=tokens + START)

    def run(self, lines, beam, batch):
        """-> (tokens, seconds, None: loading is not timed, texts)"""
        order = sorted(range(len(lines)), key=lambda i: len(lines[i])) if batch > 1 else list(range(len(lines)))
        ids = [self.tok([lines[i] for i in order[k:k + batch]], return_tensors="pt", padding=True)
               for k in range(0, len(order), batch)]
        out = []
        start = time.perf_counter()
        with torch.inference_mode():
            for x in ids:
                out += self.model.generate(**x, num_beams=beam, **self.options).tolist()
        seconds = time.perf_counter() - start
        special = set(self.tok.all_special_ids)
        pieces = [[t for t in y if t not in special and t < len(self.tok)] for y in out]
        texts = [""] * len(lines)
        for i, y in zip(order, pieces):
            texts[i] = self.tok.decode(y, clean_up_tokenization_spaces=False).strip()
        count = sum(len(y) - START for y in out) if self.tokens else sum(map(len, pieces))
        return count, seconds, None, texts

    def greedy(self, line):
        """-> [(piece, log p)] after the code"""
        with torch.inference_mode():
            y = self.model.generate(**self.tok([line], return_tensors="pt"), num_beams=1, output_scores=True,
                                    return_dict_in_generate=True, **self.options)
        ids = y.sequences[0].tolist()[START:]
        logp = [torch.log_softmax(s[0], -1) for s in y.scores[1:]]
        return [(self.tok.convert_ids_to_tokens(t) if t < len(self.tok) else "<unused>", p[t].item()) for t, p in zip(ids, logp)]


class Dragoman:
    def __init__(self, program, path, threads, tokens):
        self.command = [program, "translate", "-m", path, "-s", SOURCE, "-t", TARGET, "--threads", str(threads),
                        "--verify", "open"]  # checksums belong to loading
        self.tokens = tokens
        if tokens:
            self.command += ["--min-length", str(tokens + START), "--max-length", str(tokens + START)]

    def call(self, lines, options):
        p = subprocess.run(self.command + options, input="".join(x + "\n" for x in lines), capture_output=True, encoding="utf-8")
        if p.returncode > 1:  # 1: done, some lines flagged
            raise SystemExit(p.stderr)
        return p

    def run(self, lines, beam, batch):
        """-> (tokens, seconds, seconds with loading, texts)"""
        with tempfile.TemporaryDirectory() as tmp:
            report = f"{tmp}/report"
            limits = ["--batch-rows", str(beam * batch)] + (["--batch-tokens", "1"] if batch == 1 else [])
            start = time.perf_counter()
            p = self.call(lines, ["--beam-size", str(beam), "--report", report] + limits)
            whole = time.perf_counter() - start
            with open(report, encoding="utf-8") as f:
                tokens = sum(json.loads(x)["tgt_tokens"] for x in f)
        summary = re.search(r"tokens in ([0-9.]+) s", p.stderr)
        if summary is None:
            raise SystemExit(f"want a summary on stderr, found: {p.stderr}")
        if self.tokens and tokens != self.tokens * len(lines):
            raise SystemExit(f"want {self.tokens * len(lines)} tokens, found {tokens}")
        return tokens, float(summary[1]), whole, p.stdout.split("\n")[:-1]

    def greedy(self, line):
        """-> [(piece, log p)] after the code"""
        out = self.call([line], ["--beam-size", "1", "--token-scores"]).stdout
        pairs = [x.rpartition(":") for x in out.rstrip("\n").rpartition(" ||| ")[2].split(" ")]
        return [(piece, float(logp)) for piece, _, logp in pairs]


def compare_ids(hf, ours, lines):
    """Ids past the tokeniser have no pieces, so log p speaks for them."""
    same = 0
    for x in lines:
        a, b = hf.greedy(x), ours.greedy(x)
        same += len(a) == len(b) and all(p == q and abs(u - v) < 1e-3 for (p, u), (q, v) in zip(a, b))
    print(f"greedy f32: the same ids and log p (to 0.001) in {same} of {len(lines)} lines\n", flush=True)


def cell(a, hf, sides, lines, beam, batch):
    part = lines[:a.sentences] if batch > 1 else lines[:max(1, a.sentences // 40)]
    given = {s: part for s in (hf, *sides.values())}
    if a.tokens and batch == 1:
        given.update({s: lines[:len(part) * MORE_LINES] for s in sides.values()})
    hf.run(part[:2 if a.tokens else batch], beam, batch)  # warm
    rates, whole, texts = {s: [] for s in given}, {s: [] for s in given}, {}
    for _ in range(a.repeats):
        for side, x in given.items():
            tokens, seconds, with_start, texts[side] = side.run(x, beam, batch)
            rates[side].append(tokens / max(seconds, 0.01))
            if with_start:
                whole[side].append(tokens / with_start)
    x = statistics.median(rates[hf])
    for kind, side in sides.items():
        y = statistics.median(rates[side])
        same = sum(u == v for u, v in zip(texts[hf], texts[side]))
        print(f"| {kind} | {a.threads} | {beam} | {batch} | {x:.1f} | {y:.1f} | {y / x:.1f} | {AIMS.get(batch, '')} | {same} of {len(part)} "
              f"| {statistics.median(whole[side]):.1f} |", flush=True)


def main():
    p = argparse.ArgumentParser()
    for name in ("model", "program", "beams", "batches"):
        p.add_argument(f"--{name}", required=True)
    for name in ("data", "types"):
        p.add_argument(f"--{name}", nargs="+", required=True)
    for name in ("sentences", "tokens", "repeats", "threads"):
        p.add_argument(f"--{name}", type=int, required=True)
    a = p.parse_args()
    lines = []
    for path in a.data:
        with gzip.open(path, "rt", encoding="utf-8") as f:
            lines += f.read().split("\n")[:-1]
    transformers.utils.logging.disable_progress_bar()
    hf = HuggingFace(a.model, a.threads, a.tokens)
    sides = {kind: Dragoman(a.program, path, a.threads, a.tokens) for kind, _, path in (x.partition("=") for x in a.types)}
    length = f"{a.tokens} tokens each" if a.tokens else "until they end"
    print(f"{a.sentences} sentences (a fortieth one by one), {length}, {SOURCE} to {TARGET}, medians of {a.repeats} alternating runs; "
          f"transformers {transformers.__version__}, torch {torch.__version__}, fp32\n")
    if a.tokens and "f32" in sides:
        compare_ids(hf, sides["f32"], lines[:4])
    print("| type | threads | beam | batch | Hugging Face tokens/s | dragoman tokens/s | ratio | aim | same text | with start |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for beam in map(int, a.beams.split(",")):
        for batch in map(int, a.batches.split(",")):
            cell(a, hf, sides, lines, beam, batch)
    print()


if __name__ == "__main__":
    main()
