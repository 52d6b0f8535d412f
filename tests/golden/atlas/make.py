#!/usr/bin/env python3
"""Writes the golden data of the atlas: what scipy and plain counting make of seeded random vectors and sets.

usage: make.py        (needs numpy, scipy; writes beside itself)

linkage.txt     METHOD N D, N x D values, N-1 merges (a b distance size) and N leaves of scipy.cluster.hierarchy
jaccard.txt     N, E, N rows of 0 and 1, N x N similarities by scipy.spatial.distance
union.txt       N, E, N rows of 0 and 1, and for n = 1 to N: mean, least and most size of a union, counted one by one
                (N too large for that: n = 1, 2, N-1 and N alone, the others are "- - -")
spearman.txt    N, two rows of N values, scipy.stats.spearmanr
"""
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import jaccard
from scipy.stats import spearmanr

HERE = Path(__file__).resolve().parent
rng = np.random.default_rng(20221211)


def row(values, form="%.17g"):
    return " ".join(form % v for v in values)


def trees():
    out = []
    for n, d in ((2, 3), (5, 4), (12, 6), (40, 5)):
        x = rng.dirichlet(np.full(d, 0.5), size=n)
        for method in ("average", "single", "complete", "ward"):
            z = linkage(x, method=method, metric="euclidean")
            out += [f"{method} {n} {d}", *(row(v) for v in x), *(f"{int(a)} {int(b)} {t:.17g} {int(s)}" for a, b, t, s in z),
                    row(leaves_list(z), "%d")]
    (HERE / "linkage.txt").write_text("\n".join(out) + "\n")


def sets(n, e, share):
    return (rng.random((n, e)) < share).astype(int)


def similarities():
    out = []
    for n, e, share in ((4, 20, 0.3), (9, 100, 0.2)):
        s = sets(n, e, share)
        out += [f"{n} {e}", *(row(v, "%d") for v in s), *(row(1 - jaccard(a, b) for b in s.astype(bool)) for a in s.astype(bool))]
    (HERE / "jaccard.txt").write_text("\n".join(out) + "\n")


def unions():
    out = []
    for n, e, share in ((1, 7, 0.5), (4, 20, 0.3), (9, 100, 0.2), (24, 70, 0.1)):
        s = sets(n, e, share).astype(bool)
        out += [f"{n} {e}", *(row(v, "%d") for v in s)]
        for k in range(1, n + 1):
            if n > 16 and 2 < k < n - 1:
                out.append("- - -")
                continue
            sizes = [int(s[list(c)].any(axis=0).sum()) for c in combinations(range(n), k)]
            out.append(f"{np.mean(sizes):.17g} {min(sizes)} {max(sizes)}")
    (HERE / "union.txt").write_text("\n".join(out) + "\n")


def correlations():
    out = []
    for n, levels in ((3, 0), (32, 0), (32, 6), (128, 30)):
        a, b = (rng.random(n) if levels == 0 else rng.integers(levels, size=n) / 8 for _ in range(2))
        out += [str(n), row(a), row(b), "%.17g" % spearmanr(a, b).statistic]
    (HERE / "spearman.txt").write_text("\n".join(out) + "\n")


trees()
similarities()
unions()
correlations()
