#!/usr/bin/env python3
"""Writes the golden data of expert choice: statistics from a seeded generator, and what an independent reference makes of them.

usage: make.py        (needs numpy; writes beside itself)

stats.json      12 layers x 128 experts (NLLB-MoE's shape), 6 directions of 3 languages, with ties and experts never used
small.json      2 + 2 layers of 8 and 6 experts
values.txt      FILE METRIC SRC TGT BY_TOKENS, then the normalised value of every expert, %.17g
ends.txt        FILE SRC TGT BY_TOKENS, then the experts that end sentences, as global numbers with their share of the ends
sets.txt        FILE METRIC SRC TGT ALGORITHM ENCODER DECODER, then the kept experts as global numbers
guarded.txt     the same with the experts that end sentences kept first

The reference is written from arXiv 2212.09811 and from what is known of its code: means over directions of top-1 share and of
confidence first, then the metric; values sum to 1 in a layer; a threshold counts the mass beyond the experts that each layer
keeps anyway; what is too many falls off in the last layers, which keep what they must.
"""
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ONE = 2.0**32


def generate(name, layers, directions, seed, tokens):
    rng = np.random.default_rng(seed)
    runs = []
    for d, (src, tgt) in enumerate(directions):
        run = {"src": src, "tgt": tgt, "mode": "beam" if d % 2 else "forced", "corpus": f"{seed:08x}{d:08x}",
               "tokens": {"encoder": tokens + 17 * d, "decoder": tokens // 2 + 5 * d},
               **{k: [] for k in ("gate_sum", "eos_gate_sum")},
               **{k: [] for k in ("top1", "top2", "mean_sum", "conf1_sum", "conf2_sum", "rank_sum")}}
        for stack, _, n in layers:
            t = run["tokens"][stack]
            taste = rng.dirichlet(np.full(n, 0.3))
            if n > 4:
                taste[:2] = 0  # never used
                taste[2] = taste[3] = taste[2:4].mean()  # alike, until tokens tell them apart
                taste /= taste.sum()
            gate = rng.dirichlet(taste * 40 + 1e-3, size=t).astype(np.float32)
            order = np.argsort(-gate, axis=1, kind="stable")
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.arange(1, n + 1)[None, :].repeat(t, 0), axis=1)
            fixed = np.floor(gate.astype(np.float64) * ONE + 0.5).astype(np.int64)
            top1, top2 = rank == 1, rank == 2
            run["top1"].append(top1.sum(0).tolist())
            run["top2"].append(top2.sum(0).tolist())
            run["mean_sum"].append(fixed.sum(0).tolist())
            run["conf1_sum"].append((fixed * top1).sum(0).tolist())
            run["conf2_sum"].append((fixed * top2).sum(0).tolist())
            run["rank_sum"].append(rank.sum(0).tolist())
            add_gates(run, gate, order, stack, np.random.default_rng([seed, d, len(run["top1"])]))
        runs.append(run)
    stats = {"format": 1, "model": "00000000000000aa", "top_k": 2,
             "layers": [{"stack": s, "index": i, "experts": n} for s, i, n in layers], "runs": runs}
    (HERE / name).write_text(json.dumps(stats, separators=(",", ":")) + "\n")
    return stats


def add_gates(run, gate, order, stack, rng):
    """A token's gates: the shares of its best two. Sentences end at some of the tokens whose best expert is one of a few."""
    t, n = gate.shape
    g = np.zeros((t, n))
    best = np.take_along_axis(gate, order[:, :2], axis=1).astype(np.float64)
    np.put_along_axis(g, order[:, :2], best / best.sum(1, keepdims=True), axis=1)
    fixed = np.floor(g * ONE + 0.5).astype(np.int64)
    few = rng.permutation(n)[:max(2, n // 3)]
    ends = np.isin(order[:, 0], few) & (rng.random(t) < 0.3) & (stack == "decoder")
    run["gate_sum"].append(fixed.sum(0).tolist())
    run["eos_gate_sum"].append(fixed[ends].sum(0).tolist())


def ends(stats, src, tgt, by_tokens):
    """Share of each expert that ends sentences, 0 of the others."""
    runs = [r for r in stats["runs"] if src in ("-", r["src"]) and tgt in ("-", r["tgt"])]
    out = []
    for l in range(len(stats["layers"])):
        x = np.array([r["eos_gate_sum"][l] for r in runs], dtype=np.float64)
        if not by_tokens:
            x = np.divide(x, x.sum(1, keepdims=True), out=np.zeros_like(x), where=x.sum(1, keepdims=True) > 0)
        x = x.sum(0)
        if x.sum() > 0:
            x /= x.sum()
        order = np.argsort(-x, kind="stable")
        before = np.cumsum(x[order]) - x[order]
        guard = np.zeros_like(x)
        guard[order[before < 0.9]] = x[order[before < 0.9]]
        out.append(guard)
    return out


def values(stats, metric, src, tgt, by_tokens):
    runs = [r for r in stats["runs"] if src in ("-", r["src"]) and tgt in ("-", r["tgt"])]
    out = []
    for l, layer in enumerate(stats["layers"]):
        col = lambda key: np.array([r[key][l] for r in runs], dtype=np.float64)
        n = np.array([r["tokens"][layer["stack"]] for r in runs], dtype=np.float64)[:, None]
        gate = col("gate_sum")
        gate = gate.sum(0) if by_tokens else (gate / n).mean(0)
        top1, top2, mean, conf = col("top1"), col("top2"), col("mean_sum") / ONE, col("conf1_sum") / ONE
        if by_tokens:
            first = top1.sum(0)
            conf = np.divide(conf.sum(0), first, out=np.zeros_like(first), where=first > 0)
            top1, top2, mean = first / n.sum(), top2.sum(0) / n.sum(), mean.sum(0) / n.sum()
        else:
            conf = np.divide(conf, top1, out=np.zeros_like(conf), where=top1 > 0).mean(0)
            top1, top2, mean = (top1 / n).mean(0), (top2 / n).mean(0), (mean / n).mean(0)
        v = {"top1": top1, "top2": top1 + top2, "load": top1 * mean, "vanilla": top1 * conf, "importance": top1 * np.exp(conf), "gate": gate}[metric]
        out.append(v / v.sum() if v.sum() > 0 else v)
    return out


def least(n):
    return max(2, -(-n // 32))


def ranked(v, guard):
    return sorted(range(len(v)), key=lambda e: (-guard[e], -v[e], e))


def fixed(stats, vals, guard, budget):
    kept = []
    for layer, v, g in zip(stats["layers"], vals, guard):
        same = sum(x["stack"] == layer["stack"] for x in stats["layers"])
        kept.append(ranked(v, g)[:budget[layer["stack"]] // same])
    return kept


def threshold(stats, vals, guard, total, stacks):
    chosen = [(i, l) for i, l in enumerate(stats["layers"]) if l["stack"] in stacks]
    order = {i: ranked(vals[i], guard[i]) for i, _ in chosen}
    forced = {i: max(least(l["experts"]), int((guard[i] > 0).sum())) for i, l in chosen}

    def reach(theta):
        return {i: forced[i] + int((np.cumsum(vals[i][order[i]][forced[i]:]) < theta).sum()) for i, _ in chosen}

    for step in range(1, 1001):
        n = reach(step / 1000)
        if sum(n.values()) >= total:
            break
    over = sum(n.values()) - total
    floor = forced if sum(forced.values()) <= total else {i: least(l["experts"]) for i, l in chosen}
    for i, _ in reversed(chosen):
        cut = min(over, n[i] - floor[i])
        n[i] -= cut
        over -= cut
    return {i: order[i][:n[i]] for i, _ in chosen}


def choose(stats, vals, guard, algorithm, enc, dec):
    if algorithm == "fixed":
        kept = dict(enumerate(fixed(stats, vals, guard, {"encoder": enc, "decoder": dec})))
    elif algorithm == "threshold":
        kept = threshold(stats, vals, guard, enc + dec, ("encoder", "decoder"))
    else:
        kept = {**threshold(stats, vals, guard, enc, ("encoder",)), **threshold(stats, vals, guard, dec, ("decoder",))}
    first, out = 0, []
    for i, layer in enumerate(stats["layers"]):
        out += [first + int(e) for e in sorted(kept[i])]
        first += layer["experts"]
    return out


METRICS = ["top1", "top2", "load", "vanilla", "importance", "gate"]
L = ["eng_Latn", "deu_Latn", "fra_Latn"]
PAIRS = [(a, b) for a in L for b in L if a != b]
big = generate("stats.json", [(s, 4 * i + 3, 128) for s in ("encoder", "decoder") for i in range(6)], PAIRS, 1, 900)
small = generate("small.json", [("encoder", 1, 8), ("encoder", 3, 6), ("decoder", 1, 8), ("decoder", 3, 6)], PAIRS[:3], 2, 60)
for layer in range(4):  # experts 4 and 5 of the small one are alike in everything but their number
    for run in small["runs"]:
        for key in ("top1", "top2", "mean_sum", "conf1_sum", "conf2_sum", "rank_sum", "gate_sum", "eos_gate_sum"):
            x = run[key][layer]
            both = x[4] + x[5]
            x[4], x[5] = both // 2, both - both // 2
            if both % 2:  # keep the sums, and the two equal
                x[5] -= 1
                x[0] += 1
(HERE / "small.json").write_text(json.dumps(small, separators=(",", ":")) + "\n")
with open(HERE / "values.txt", "w") as out:
    for name, stats in (("stats.json", big), ("small.json", small)):
        for metric in METRICS:
            for src, tgt, by in (("-", "-", 0), ("-", "-", 1), ("eng_Latn", "-", 0), ("-", "deu_Latn", 0), ("eng_Latn", "deu_Latn", 0)):
                v = np.concatenate(values(stats, metric, src, tgt, by))
                print(name, metric, src, tgt, by, *(f"{x:.17g}" for x in v), file=out)
CASES = (("stats.json", big, ((216, 72), (240, 144), (192, 192), (384, 384), (24, 24), (768, 768))), ("small.json", small, ((8, 6), (4, 4), (14, 14))))
with open(HERE / "sets.txt", "w") as out, open(HERE / "guarded.txt", "w") as guarded:
    for name, stats, budgets in CASES:
        for metric in METRICS:
            for src, tgt in (("-", "-"), ("eng_Latn", "-"), ("eng_Latn", "deu_Latn")):
                vals = values(stats, metric, src, tgt, 0)
                none = [np.zeros_like(v) for v in vals]
                for algorithm in ("fixed", "threshold", "stacks"):
                    for enc, dec in budgets:
                        print(name, metric, src, tgt, algorithm, enc, dec, *choose(stats, vals, none, algorithm, enc, dec), file=out)
                        if metric in ("importance", "gate"):
                            print(name, metric, src, tgt, algorithm, enc, dec,
                                  *choose(stats, vals, ends(stats, src, tgt, 0), algorithm, enc, dec), file=guarded)
with open(HERE / "ends.txt", "w") as out:
    for name, stats, _ in CASES:
        for src, tgt, by in (("-", "-", 0), ("-", "-", 1), ("-", "deu_Latn", 0), ("eng_Latn", "deu_Latn", 1)):
            shares = np.concatenate(ends(stats, src, tgt, by))
            print(name, src, tgt, by, int((shares > 0).sum()), *(f"{e} {shares[e]:.17g}" for e in np.flatnonzero(shares)), file=out)
