"""Losses of sparsify_loss.sh as a table: by target language, and beside a baseline with a 95 % paired bootstrap.

usage: sparsify_loss.py FOLDER TEXT DENSE BASELINE NAME...

A row a model. loss: -log p a token, of all directions into a language; `more` than the dense model's. worst: the language that the
zeros cost most. The last two columns compare with the baseline: a resample draws lines with replacement, the same ones for both models and
all directions.
"""
import random
import sys

LANGUAGES = ["en", "de", "fr", "cs"]
TARGETS = [t for s in LANGUAGES for t in LANGUAGES if s != t]  # of the columns
RESAMPLES = 1000


def read(folder, name, text):
    """For each line, for each language: (-log p, tokens) over the directions into it."""
    lines = []
    for line in open(f"{folder}/{name}.{text}.losses"):
        f = [float(x) for x in line.split("\t")]
        sums = {t: [0.0, 0.0] for t in LANGUAGES}
        for i, t in enumerate(TARGETS):
            sums[t][0] -= f[2 * i]
            sums[t][1] += f[2 * i + 1]
        lines.append([tuple(sums[t]) for t in LANGUAGES])
    return lines


def losses(lines, draw):
    out = []
    for t in range(len(LANGUAGES)):
        loss = sum(lines[i][t][0] for i in draw)
        out.append(loss / sum(lines[i][t][1] for i in draw))
    return out


def mean(x):
    return sum(x) / len(x)


def worst(x, dense):
    return max(a - b for a, b in zip(x, dense))


def main():
    folder, text, dense, base, *names = sys.argv[1:]
    data = {n: read(folder, n, text) for n in [dense, base, *names]}
    n = len(data[dense])
    rng = random.Random(0)
    draws = [[rng.randrange(n) for _ in range(n)] for _ in range(RESAMPLES)]
    drawn = {k: [losses(v, d) for d in draws] for k, v in data.items()}
    at = {k: losses(v, range(n)) for k, v in data.items()}

    def interval(values):
        values = sorted(values)
        return f"[{values[RESAMPLES // 40]:+.4f}, {values[RESAMPLES - RESAMPLES // 40 - 1]:+.4f}]"

    print("| " + " | ".join(["loss a token", *LANGUAGES, "mean", "more", "worst", "mean less base", "worst less base"]) + " |")
    print("| --- " * 10 + "|")
    for k in [dense, base, *names]:
        x = at[k]
        more = [a - b for a, b in zip(x, at[dense])]
        row = [k, *(f"{v:.4f}" for v in x), f"{mean(x):.4f}"]
        if k == dense:
            row += ["", "", "", ""]
        else:
            row += [f"{mean(more):+.4f}", f"{max(more):+.4f} ({LANGUAGES[more.index(max(more))]})"]
            if k == base:
                row += ["", ""]
            else:
                row.append(f"{mean(x) - mean(at[base]):+.4f} " + interval([mean(a) - mean(b) for a, b in zip(drawn[k], drawn[base])]))
                row.append(f"{max(more) - worst(at[base], at[dense]):+.4f} " + interval([worst(a, d) - worst(b, d) for a, b, d in zip(drawn[k], drawn[base], drawn[dense])]))
        print("| " + " | ".join(row) + " |")


main()
