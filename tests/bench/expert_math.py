"""Arithmetic of expert_findings.py: scores of resampled sentences, overlaps of sets, permutation tests, correlations."""
import itertools

import numpy as np

RESAMPLES = 1000
CHRF_ORDERS = 8  # 6 of characters, 2 of words; BETA as chrF2++ has it
BETA2 = 4.0


def chrf(sums):
    """[..., 24] counts (hypothesis, reference, match of each order) -> chrF++ as sacreBLEU has it."""
    hyp, ref, match = (sums[..., k:3 * CHRF_ORDERS:3] for k in range(3))
    counts = (hyp > 0) & (ref > 0)
    orders = np.maximum(counts.sum(-1), 1)
    p = np.where(counts, match / np.maximum(hyp, 1), 0).sum(-1) / orders
    r = np.where(counts, match / np.maximum(ref, 1), 0).sum(-1) / orders
    below = BETA2 * p + r
    return np.where(below > 0, 100 * (1 + BETA2) * p * r / np.where(below > 0, below, 1), 0)


def bleu(sums):
    """[..., 10] counts (lengths, then matches and totals of 4 orders) -> BLEU, smooth exp."""
    hyp, ref, match, total = sums[..., 0], sums[..., 1], sums[..., 2:6], np.maximum(sums[..., 6:10], 1)
    halvings = np.cumsum(match == 0, axis=-1)
    precision = np.where(match > 0, match / total, 1 / (2.0**halvings * total))
    brevity = np.where(hyp < ref, np.exp(1 - ref / np.maximum(hyp, 1)), 1)
    return np.where(match.sum(-1) > 0, 100 * brevity * np.exp(np.log(precision).mean(-1)), 0)


SCORES = {"chrf": lambda s: chrf(s[..., :24]), "bleu": lambda s: bleu(s[..., 24:])}


class Bootstrap:
    """The same sentences are drawn for every configuration and direction: a test sentence is one picture in all languages."""

    def __init__(self, seed):
        self.seed = seed
        self.memory = {}

    def draws(self, lines):
        if lines not in self.memory:
            rng = np.random.default_rng(self.seed)
            self.memory[lines] = rng.multinomial(lines, np.full(lines, 1 / lines), size=RESAMPLES).astype(np.float64)
        return self.memory[lines]

    def scores(self, name, counts, lines, metric):
        """Of the first `lines` sentences: -> [1 + RESAMPLES] means over directions; the first of the sentences as they are."""
        if (name, lines, metric) not in self.memory:
            counts = counts[:, :lines]
            sums = np.concatenate([counts.sum(1)[None], np.einsum("rl,dlc->rdc", self.draws(lines), counts, optimize=True)])
            for key, score in SCORES.items():
                self.memory[name, lines, key] = score(sums).mean(1)
        return self.memory[name, lines, metric]


def interval(samples):
    """Difference, and the interval that holds 95 % of its resamples."""
    low, high = np.percentile(samples[1:], (2.5, 97.5))
    return samples[0], low, high


def jaccard(a, b):
    """Of two sets: layer -> experts."""
    both = sum(len(a[l] & b[l]) for l in a)
    return both / sum(len(a[l] | b[l]) for l in a)


def groupings(items, size):
    """Every way to divide a list into groups of `size`."""
    if not items:
        yield []
        return
    for rest in itertools.combinations(items[1:], size - 1):
        left = [x for x in items[1:] if x not in rest]
        for others in groupings(left, size):
            yield [(items[0], *rest), *others]


def within(matrix, groups):
    """Mean of a symmetric matrix over the pairs inside groups."""
    return np.mean([matrix[a, b] for g in groups for a, b in itertools.combinations(g, 2)])


def permutation(matrix, labels, allowed=lambda group: True):
    """Exact test of whether sets of one label are more alike than labels dealt out anew would be: every division of the sets
    into groups of that size whose groups are `allowed`. -> (p, divisions)"""
    names = sorted(set(labels))
    groups = [tuple(i for i, x in enumerate(labels) if x == name) for name in names]
    seen = within(matrix, groups)
    all_of_them = [within(matrix, g) for g in groupings(list(range(len(labels))), len(groups[0])) if all(map(allowed, g))]
    return np.mean(np.array(all_of_them) >= seen - 1e-12), len(all_of_them)


def ranks(x):
    x = np.asarray(x)
    return np.array([(x < v).sum() + ((x == v).sum() - 1) / 2 for v in x])


def correlations(x, y):
    """-> Pearson, Spearman, and the share of pairs that both put in the same order."""
    pairs = [(x[i] - x[j]) * (y[i] - y[j]) for i, j in itertools.combinations(range(len(x)), 2)]
    return np.corrcoef(x, y)[0, 1], np.corrcoef(ranks(x), ranks(y))[0, 1], np.mean(np.array(pairs) > 0)
