"""chrF++ of sparsify_loss.sh's translations as a table: by target language, and beside a baseline with a 95 % paired bootstrap.

usage: sparsify_chrf.py FOLDER DENSE BASELINE NAME...

A row a model: chrF++ as sacreBLEU computes it, mean of the directions into each language. lost: what zeros cost on average; worst: the
language that they cost most. The last two columns: less lost than the baseline loses (above 0 is better), on average and by the worst
language. A resample draws lines with replacement, the same ones for all models and directions.
"""
import sys

import numpy as np
from sacrebleu.metrics import CHRF

LANGUAGES = ["en", "de", "fr", "cs"]
RESAMPLES = 1000


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return [line.rstrip("\n") for line in f]


def counts(folder, name, refs):
    """By direction into each language: [lines, orders * (translation, reference, both)]."""
    chrf = CHRF(word_order=2)
    return {
        t: [np.array(chrf._extract_corpus_statistics(lines_of(f"{folder}/{name}.hyp/{s}-{t}"), [refs[t]]), dtype=np.int64) for s in LANGUAGES if s != t]
        for t in LANGUAGES
    }


def score(sums):
    """chrF++ of sums [..., orders * 3] of lines, as sacreBLEU's _compute_f_score."""
    hyp, ref, both = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    there = (hyp > 0) & (ref > 0)
    orders = np.maximum(there.sum(-1), 1)
    precision = np.where(there, both / np.maximum(hyp, 1), 0).sum(-1) / orders
    recall = np.where(there, both / np.maximum(ref, 1), 0).sum(-1) / orders
    return 100 * 5 * precision * recall / np.maximum(4 * precision + recall, 1e-16)


def by_language(data, times):
    """[draws, languages] of how often each draw [draws, lines] has each line."""
    return np.stack([np.mean([score(times @ d) for d in data[t]], axis=0) for t in LANGUAGES], axis=-1)


def main():
    folder, dense, base, *names = sys.argv[1:]
    refs = {t: lines_of(f"{folder}/test.{t}") for t in LANGUAGES}
    n = len(refs["en"])
    rng = np.random.default_rng(0)
    times = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(RESAMPLES)])
    once = np.ones((1, n), dtype=np.int64)
    at, drawn = {}, {}
    for k in [dense, base, *names]:
        data = counts(folder, k, refs)
        at[k], drawn[k] = by_language(data, once)[0], by_language(data, times)

    def interval(values):
        values = np.sort(values)
        return f"[{values[RESAMPLES // 40]:+.2f}, {values[RESAMPLES - RESAMPLES // 40 - 1]:+.2f}]"

    print("| " + " | ".join(["chrF++", *LANGUAGES, "mean", "lost", "worst", "mean above base", "worst above base"]) + " |")
    print("| --- " * 10 + "|")
    for k in [dense, base, *names]:
        lost = at[dense] - at[k]
        row = [k, *(f"{v:.2f}" for v in at[k]), f"{at[k].mean():.2f}"]
        row += ["", ""] if k == dense else [f"{lost.mean():.2f}", f"{lost.max():.2f} ({LANGUAGES[lost.argmax()]})"]
        if k in (dense, base):
            row += ["", ""]
        else:
            worst = (at[dense] - at[base]).max() - lost.max()
            worsts = (drawn[dense] - drawn[base]).max(-1) - (drawn[dense] - drawn[k]).max(-1)
            row.append(f"{(at[k] - at[base]).mean():+.2f} " + interval((drawn[k] - drawn[base]).mean(-1)))
            row.append(f"{worst:+.2f} " + interval(worsts))
        print("| " + " | ".join(row) + " |")


main()
