#!/usr/bin/env python3
"""Writes the golden data of models/multi30k-token from Hugging Face transformers 4.55.4 (README.md).

usage: make.py [--work DIR] [--jobs N]      in an environment with: torch transformers==4.55.4 sentencepiece protobuf

Python is never needed to build, run or test; this runs again only when the model changes. It takes about an
hour of one core; finished parts are kept in DIR and not done again.
"""
import argparse
import gzip
import json
import multiprocessing
import os
import sys

import oracle

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(f"{HERE}/../../..")
MODEL = f"{ROOT}/models/multi30k-token"
DATA = f"{ROOT}/tests/data/multi30k/test_2016_flickr"
CODE = {"en": "eng_Latn", "de": "deu_Latn", "fr": "fra_Latn", "cs": "ces_Latn"}
SENTENCES, STRIDE = 200, 5  # lines 1, 6, 11, ... 996
DIRECTIONS = [(a, b) for a in CODE for b in CODE if a != b]


def lines(lang):
    with gzip.open(f"{DATA}.{lang}.gz", "rt", encoding="utf-8") as f:
        text = f.read().split("\n")
    return [text[i * STRIDE] for i in range(SENTENCES)]


def options(i, beam, reference):
    """Golden sentence i is decoded with these (README.md has the table)."""
    ending = i % 10
    if ending == 0:
        return {"n_best": 4} if beam > 1 and i % 20 == 0 else {}
    if ending == 3:
        return {"rep": 1.2}
    if ending == 5:
        return {"ngram": 3}
    if ending == 7:
        return {"rep": 1.2, "ngram": 3}
    if ending == 9:
        kind = i // 10 % 5
        if kind == 0:
            return {"prefix": reference[:3]}
        if kind == 1:
            return {"max": 9}
        if kind == 2:
            return {"min": 24}
        if beam > 1:
            return {"lp": 0.4} if kind == 3 else {"early": 1}
        return {"ngram": 2} if kind == 3 else {"rep": 1.2, "min": 24}
    return {}


def rows(model, tok, margins, src, tgt, beam):
    """The lines of one direction and beam, as they stand in the file."""
    code = oracle.code_id(tok, CODE[tgt])
    text, ref = lines(src), lines(tgt)
    for i in range(SENTENCES):
        o = options(i, beam, oracle.pieces(tok, ref[i]))
        r = oracle.generate(model, margins, oracle.encode(tok, text[i], CODE[src]), code, beam, o)
        for rank, (score, ids) in enumerate(r["hyps"]):
            yield oracle.row(f"{CODE[src]}\t{CODE[tgt]}\t{i * STRIDE + 1}", o, rank, score, ids, r)


def forced(model, tok, src, tgt):
    """log p of each reference token, for every fourth golden sentence."""
    text, ref = lines(src), lines(tgt)
    for i in range(0, SENTENCES, 4):
        yield oracle.forced_row(model, tok, f"{CODE[src]}\t{CODE[tgt]}\t{i * STRIDE + 1}", text[i], ref[i])


def part(job):
    """One part file; complete or absent."""
    work, kind, src, tgt = job
    path = f"{work}/{kind}.{src}-{tgt}.tsv"
    if os.path.exists(path):
        return path
    model, tok = oracle.open_model(MODEL)
    margins = oracle.Margins(model)
    if kind == "forced":
        text = "".join(forced(model, tok, src, tgt))
    else:
        text = "".join(rows(model, tok, margins, src, tgt, 4 if kind == "beam4" else 1))
    with open(path + ".part", "w") as f:
        f.write(text)
    os.rename(path + ".part", path)
    print(path, flush=True)
    return path


def tensors(model, tok):
    """Encoder outputs and whole rows of logits of golden sentences 0, 4, 8, 12: en-de, de-fr, fr-cs, cs-en."""
    t = oracle.Tensors()
    for i, (src, tgt) in zip((0, 4, 8, 12), [("en", "de"), ("de", "fr"), ("fr", "cs"), ("cs", "en")]):
        source = oracle.encode(tok, lines(src)[i], CODE[src])
        target = [oracle.code_id(tok, CODE[tgt])] + oracle.pieces(tok, lines(tgt)[i]) + [oracle.EOS]
        logits, encoded = oracle.force(model, source, target)
        name = f"{CODE[src]}\t{CODE[tgt]}\t{i * STRIDE + 1}"
        t.add(f"encoder\t{name}\t0", encoded)
        for step in (0, 3, len(target) - 2):
            t.add(f"logits\t{name}\t{step}", logits[step: step + 1])
    t.write(f"{HERE}/tensors")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", default="/tmp/dragoman-golden-hf")
    p.add_argument("--jobs", type=int, default=1)
    a = p.parse_args()
    os.makedirs(a.work, exist_ok=True)
    model, tok = oracle.open_model(MODEL)
    for lang, code in CODE.items():
        want = json.load(open(f"{MODEL}/tokenizer_config.json"))["added_tokens_decoder"]
        assert want[str(oracle.code_id(tok, code))]["content"] == code
    sources = [f"{CODE[l]}\t{i * STRIDE + 1}\t{oracle.ints(oracle.encode(tok, x, CODE[l]))}\n"
               for l in CODE for i, x in enumerate(lines(l))]
    oracle.write_gz(f"{HERE}/sources.tsv.gz", oracle.HEAD["sources"] + "".join(sources))
    tensors(model, tok)
    jobs = [(a.work, kind, s, t) for kind in ("forced", "greedy", "beam4") for s, t in DIRECTIONS]
    with multiprocessing.get_context("spawn").Pool(a.jobs) as pool:
        paths = pool.map(part, jobs, chunksize=1)
    for kind in ("forced", "greedy", "beam4"):
        text = "".join(open(p).read() for p, j in zip(paths, jobs) if j[1] == kind)
        oracle.write_gz(f"{HERE}/{kind}.tsv.gz", oracle.HEAD[kind] + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
