"""Tokens per second of Hugging Face transformers and of dragoman (compare_hf.sh).

A token is a piece of a returned hypothesis: codes and </s> do not count. Hugging Face is timed from ids to ids,
without loading; its batches are sorted by length, so that it pads least. dragoman is timed by its own summary,
without loading too, but with reading, tokenising, writing and the first touch of its memory: each run is a process of its
own, and Hugging Face is warm. The last column counts the whole process.
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


class HuggingFace:
    def __init__(self, path, threads):
        torch.set_num_threads(threads)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(
            path, torch_dtype=torch.float32, attn_implementation="eager").eval()
        self.tok = NllbTokenizer.from_pretrained(path, src_lang=SOURCE)

    def run(self, lines, beam, batch):
        """-> (tokens, seconds, None: loading is not timed, texts)"""
        order = sorted(range(len(lines)), key=lambda i: len(lines[i])) if batch > 1 else list(range(len(lines)))
        ids = [self.tok([lines[i] for i in order[k:k + batch]], return_tensors="pt", padding=True)
               for k in range(0, len(order), batch)]
        code, out = self.tok.convert_tokens_to_ids(TARGET), []
        start = time.perf_counter()
        with torch.inference_mode():
            for x in ids:
                out += self.model.generate(**x, num_beams=beam, do_sample=False, max_length=200,
                                           forced_bos_token_id=code).tolist()
        seconds = time.perf_counter() - start
        special = set(self.tok.all_special_ids)
        pieces = [[t for t in y if t not in special] for y in out]
        texts = [""] * len(lines)
        for i, y in zip(order, pieces):
            texts[i] = self.tok.decode(y, clean_up_tokenization_spaces=False).strip()
        return sum(map(len, pieces)), seconds, None, texts


class Dragoman:
    def __init__(self, program, path, threads):
        self.command = [program, "translate", "-m", path, "-s", SOURCE, "-t", TARGET, "--threads", str(threads)]

    def run(self, lines, beam, batch):
        """-> (tokens, seconds, seconds with loading, texts)"""
        with tempfile.TemporaryDirectory() as tmp:
            report = f"{tmp}/report"
            limits = ["--batch-rows", str(beam * batch)] + (["--batch-tokens", "1"] if batch == 1 else [])
            start = time.perf_counter()
            p = subprocess.run(self.command + ["--beam-size", str(beam), "--report", report] + limits,
                               input="".join(x + "\n" for x in lines), capture_output=True, encoding="utf-8")
            whole = time.perf_counter() - start
            if p.returncode > 1:  # 1: done, some lines flagged
                raise SystemExit(p.stderr)
            with open(report, encoding="utf-8") as f:
                tokens = sum(json.loads(x)["tgt_tokens"] for x in f)
        summary = re.search(r"tokens in ([0-9.]+) s", p.stderr)
        if summary is None:
            raise SystemExit(f"want a summary on stderr, found: {p.stderr}")
        return tokens, float(summary[1]), whole, p.stdout.split("\n")[:-1]


def main():
    p = argparse.ArgumentParser()
    for name in ("model", "program"):
        p.add_argument(f"--{name}", required=True)
    p.add_argument("--data", nargs="+", required=True)
    for name in ("sentences", "repeats", "threads"):
        p.add_argument(f"--{name}", type=int, required=True)
    a = p.parse_args()
    lines = []
    for path in a.data:
        with gzip.open(path, "rt", encoding="utf-8") as f:
            lines += f.read().split("\n")[:-1]
    lines = lines[:a.sentences]
    hf, ours = HuggingFace(a.model, a.threads), Dragoman(a.program, a.model, a.threads)
    print(f"{len(lines)} sentences (a fortieth one by one), {SOURCE} to {TARGET}, {a.threads} threads, median of {a.repeats} alternating runs; "
          f"transformers {transformers.__version__}, torch {torch.__version__}, fp32\n")
    print("| beam | batch | Hugging Face tokens/s | dragoman tokens/s | ratio | same text | with start |\n"
          "| --- | --- | --- | --- | --- | --- | --- |")
    for beam in (1, 4):
        for batch in (1, 96):
            part = lines if batch > 1 else lines[:len(lines) // 40]
            hf.run(part[:batch], beam, batch)  # warm
            ours.run(part[:batch], beam, batch)
            rates, whole, texts = {hf: [], ours: []}, [], {}
            for _ in range(a.repeats):
                for side in (hf, ours):
                    tokens, seconds, with_start, texts[side] = side.run(part, beam, batch)
                    rates[side].append(tokens / max(seconds, 0.01))
                    if side is ours:
                        whole.append(tokens / with_start)
            x, y = (statistics.median(rates[s]) for s in (hf, ours))
            same = sum(u == v for u, v in zip(texts[hf], texts[ours]))
            print(f"| {beam} | {batch} | {x:.0f} | {y:.0f} | {y / x:.1f} | {same} of {len(part)} "
                  f"| {statistics.median(whole):.0f} |", flush=True)


if __name__ == "__main__":
    main()
