#!/usr/bin/env python3
"""Writes the golden data of the paired bootstrap: a second translation of ref.txt, and how the scores of both differ.

usage: bootstrap.py        (needs sacrebleu 2.6 and numpy; reads hyp.txt and ref.txt beside itself)

hyp2.txt            hyp.txt with words left out and repeated
bootstrap.txt       seed, lines, then of BLEU and of chrF++: score of hyp2 less score of hyp, and the 26th least and 26th greatest of
                    that difference in 1000 resamples, drawn as runtime/bootstrap.h says and scored by sacreBLEU
"""
import random
from pathlib import Path

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

HERE = Path(__file__).resolve().parent
RESAMPLES = 1000


def philox(counter, key):
    """Philox4x32-10 of columns of counters, in 64-bit arithmetic."""
    low = np.uint64(0xFFFFFFFF)
    c = [x.astype(np.uint64) for x in counter]
    k = [np.uint64(x) for x in key]
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(q >> np.uint64(32)) ^ c[1] ^ k[0], q & low, (p >> np.uint64(32)) ^ c[3] ^ k[1], p & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return c


def draws(seed, resample, n):
    i, zero = np.arange(n), np.zeros(n)
    out = philox([np.full(n, resample), zero, i, zero], (seed & 0xFFFFFFFF, seed >> 32))
    return (out[1] * np.uint64(n) >> np.uint64(32)).astype(int)


def differences(metric, before, after, n, seed):
    def score(stats, lines):
        return metric._compute_score_from_stats([int(x) for x in stats[lines].sum(axis=0)]).score

    every = np.arange(n)
    changes = []
    for r in range(RESAMPLES):
        lines = draws(seed, r, n)
        changes.append(score(after, lines) - score(before, lines))
    changes.sort()
    cut = RESAMPLES // 40
    return score(after, every) - score(before, every), changes[cut], changes[RESAMPLES - cut - 1]


def main():
    rng = random.Random(11)
    hyp, ref = ((HERE / name).read_text(encoding="utf-8").split("\n")[:-1] for name in ("hyp.txt", "ref.txt"))
    hyp2 = [" ".join(w for w in line.split(" ") for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 1, 2]))) for line in hyp]
    (HERE / "hyp2.txt").write_text("".join(h + "\n" for h in hyp2), encoding="utf-8", newline="")
    with open(HERE / "bootstrap.txt", "w") as out:
        for seed, n in ((0, 600), (0x123456789ABCDEF0, 600), (3, 97)):
            row = [seed, n]
            for metric in (BLEU(), CHRF(word_order=2)):
                stats = [np.array(metric._extract_corpus_statistics(h[:n], [ref[:n]])) for h in (hyp, hyp2)]
                row += [repr(float(x)) for x in differences(metric, *stats, n, seed)]
            print(*row, file=out)


main()
