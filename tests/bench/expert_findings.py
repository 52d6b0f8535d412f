"""The tables of docs/expert-findings.md (expert_findings.sh): which configurations each needs, and how it is printed."""
import argparse
import json
import sys

import numpy as np

import expert_math as em
from expert_runs import BUDGETS, CODES, EXPERTS, LANGS, LAYERS, MOE_LAYERS, PAIRS, STACKS, Bench, Choice, Greedy, Random, Whole

SEED = 2212
SEEDS = {(9, 3): range(10), (8, 8): range(5)}  # of random experts
METRICS = ("top1", "top2", "load", "vanilla", "importance")
GRANULARITIES = {"language": "per language", "pair": "per pair", "all": "global"}
DEFAULT = Choice(9, 3)


class Findings:
    def __init__(self, bench, only_known):
        self.bench, self.only_known = bench, only_known
        self.boot = em.Bootstrap(SEED)

    # ---- numbers ----

    def facts(self, c, key):
        return np.array([d[key] for d in self.bench.result(c)[0]["directions"]], dtype=np.float64)

    def lines(self, *configs):
        """Configurations are compared on the lines that all of them translated."""
        return min(self.bench.lines_of(c) for c in configs)

    def scores(self, c, metric="chrf", lines=None):
        return self.boot.scores(c.name, self.bench.result(c)[1], lines or self.lines(c), metric)

    def mean_scores(self, configs, metric="chrf", lines=None):
        return np.mean([self.scores(c, metric, lines) for c in configs], axis=0)

    def lost(self, c, metric="chrf"):
        return self.scores(Whole(), metric, self.lines(c)) - self.scores(c, metric)

    def losses(self, c, metric="chrf"):
        """Of each direction. spBLEU is known of whole texts only."""
        if metric == "spbleu":
            return self.facts(Whole(), metric) - self.facts(c, metric)
        whole, mine = (em.SCORES[metric](self.bench.result(x)[1][:, :self.lines(c)].sum(1)) for x in (Whole(), c))
        return whole - mine

    def per_mille(self, c, key):
        return f"{1000 * self.facts(c, key).sum() / len(PAIRS) / self.lines(c):.1f}"

    def wanted(self, configs):
        """Those that are printed: all, or, in a view of an unfinished run, what has been translated."""
        return [c for c in configs if self.bench.is_known(c)] if self.only_known else list(configs)

    # ---- printing ----

    HEAD = ("kept a layer", "lines", "chrF++ lost", "95 %", "worst direction", "BLEU lost", "worst direction", "spBLEU lost",
            "length ratio", "cut, in 1000", "looped", "lost mass")

    def worst(self, losses):
        return f"{losses.max():.2f} ({'-'.join(PAIRS[int(np.argmax(losses))])})"

    def cells(self, c):
        lost, low, high = em.interval(self.lost(c))
        bleu, lines = self.losses(c, "bleu"), self.lines(c)
        spbleu = f"{self.losses(c, 'spbleu').mean():.2f}" if lines == self.bench.lines else ""
        return [f"{c.enc} + {c.dec}", f"{lines}", f"{lost:.2f}", f"{low:.2f} to {high:.2f}", self.worst(self.losses(c)),
                f"{bleu.mean():.2f}", self.worst(bleu), spbleu, f"{self.facts(c, 'length').mean():.3f}",
                self.per_mille(c, "truncated"), self.per_mille(c, "looped"), f"{self.facts(c, 'mass').mean():.3f}"]

    def table(self, head, rows):
        print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
        for row in rows:
            print("| " + " | ".join(row) + " |")
        print(flush=True)

    def configs(self, label, rows):
        """rows: (label, configuration)"""
        self.table((label, *self.HEAD), [(text, *self.cells(c)) for text, c in rows if self.wanted([c])])

    def differences(self, rows):
        """rows: (what, scores of one, scores of the other) by metric"""
        out = []
        for what, one, other in rows:
            if len(self.wanted([*one, *other])) < len(one) + len(other):
                continue
            cells, lines = [], self.lines(*one, *other)
            for metric in ("chrf", "bleu"):
                d, low, high = em.interval(self.mean_scores(one, metric, lines) - self.mean_scores(other, metric, lines))
                cells += [f"{d:+.2f}", f"{low:+.2f} to {high:+.2f}"]
            out.append((what, *cells))
        self.table(("difference", "chrF++", "95 %", "BLEU", "95 %"), out)

    # ---- parts ----

    def granularity(self):
        self.configs("sets", [(text, Choice(*b, granularity=g)) for b in BUDGETS for g, text in GRANULARITIES.items()])
        self.differences([(f"{b[0]} + {b[1]}: per language minus {GRANULARITIES[g]}", [Choice(*b)], [Choice(*b, granularity=g)])
                          for b in BUDGETS for g in ("all", "pair")])

    RATIOS = {"50": {"1:2": (10, 22), "1:1": (16, 16), "2:1": (21, 11), "3:1": (24, 8)},
              "75": {"1:2": (5, 11), "1:1": (8, 8), "2:1": (10, 6), "3:1": (12, 4)},
              "81.25": {"1:2": (4, 8), "1:1": (6, 6), "2:1": (8, 4), "3:1": (9, 3)}}

    def ratio(self):
        self.configs("removed, ratio", [(f"{f} %, {r}", Choice(*b)) for f, of in self.RATIOS.items() for r, b in of.items()])
        self.differences([(f"{f} %: {r} minus 1:1", [Choice(*of[r])], [Choice(*of["1:1"])])
                          for f, of in self.RATIOS.items() for r in of if r != "1:1"])

    def metrics(self):
        budgets = ((8, 8), (9, 3))
        self.configs("metric", [(m, Choice(*b, metric=m)) for b in budgets for m in METRICS])
        self.differences([(f"{b[0]} + {b[1]}: importance minus {m}", [Choice(*b)], [Choice(*b, metric=m)])
                          for b in budgets for m in METRICS[:-1]])

    def algorithms(self):
        rows = [Choice(*b, granularity=g, algorithm=a) for g, b in (("language", (8, 8)), ("language", (9, 3)), ("pair", (8, 8)))
                for a in ("fixed", "stack-thresholds", "threshold")]
        self.configs("algorithm", [(f"{c.algorithm}, {GRANULARITIES[c.granularity]}", c) for c in rows])
        self.differences([(f"{c.enc} + {c.dec}, {GRANULARITIES[c.granularity]}: {c.algorithm} minus fixed", [c],
                           [Choice(c.enc, c.dec, c.granularity)]) for c in rows if c.algorithm != "fixed"])
        print("Experts kept in each layer, mean over directions (encoder, then decoder), least and most:")
        self.table(("algorithm", "budget", *(f"{k} {l}" for k in STACKS for l in MOE_LAYERS), "encoder of all"),
                   [(f"{c.algorithm}, {GRANULARITIES[c.granularity]}", f"{LAYERS * (c.enc + c.dec)}", *self.layers(c))
                    for c in rows if c.algorithm != "fixed"])

    def layers(self, c):
        sets = self.bench.sets(self.bench.keep(c))
        counts = []
        for s, t in PAIRS:
            pair = f"{CODES[s]}-{CODES[t]}"
            names = (pair, pair) if c.granularity == "pair" else (CODES[s], CODES[t])
            counts.append([len(sets[k][name][l]) for k, name in zip(STACKS, names) for l in MOE_LAYERS])
        n = np.array(counts)
        return [f"{n[:, i].mean():.1f} ({n[:, i].min()} to {n[:, i].max()})" for i in range(n.shape[1])] + [
            f"{n[:, :LAYERS].sum() / n.sum():.2f}"]

    def random(self):
        n = self.bench.fewer_lines
        for b, seeds in SEEDS.items():
            drawn = self.wanted(Random(*b, seed) for seed in seeds)
            if not drawn:
                continue
            print(f"{b[0]} + {b[1]}, the first {n} lines:")
            self.table(("experts", "chrF++", "BLEU", "length ratio", "cut, in 1000", "lost mass"),
                       [("all", *self.on_lines(Whole(), n), "", ""), ("importance", *self.on_lines(Choice(*b), n), "", ""),
                        *((f"seed {c.seed}", *self.on_lines(c, n), self.per_mille(c, "truncated"),
                           f"{self.facts(c, 'mass').mean():.3f}") for c in drawn)])
            self.differences([(f"{b[0]} + {b[1]}: importance minus the mean of {len(drawn)} seeds", [Choice(*b)], drawn),
                              (f"{b[0]} + {b[1]}: importance minus the best seed", [Choice(*b)],
                               [max(drawn, key=lambda c: self.scores(c)[0])]),
                              (f"{b[0]} + {b[1]}: global importance minus the mean of {len(drawn)} seeds", [Choice(*b, "all")], drawn)])
            self.over_seeds(b, drawn)

    def on_lines(self, c, n):
        counts = self.bench.result(c)[1][:, :n].sum(1)
        length = (counts[:, 24] / counts[:, 25]).mean()
        return [f"{self.scores(c, m, n)[0]:.2f}" for m in ("chrf", "bleu")] + [f"{length:.3f}"]

    def over_seeds(self, b, drawn):
        """The interval that also counts that ten draws are few: a resample draws sentences and seeds."""
        all_of_them = np.array([self.scores(c) for c in drawn])
        who = np.random.default_rng(SEED + 1).integers(len(drawn), size=(len(drawn), em.RESAMPLES))
        mean = np.concatenate([[all_of_them[:, 0].mean()], np.take_along_axis(all_of_them[:, 1:], who, 0).mean(0)])
        d, low, high = em.interval(self.scores(Choice(*b), lines=self.bench.fewer_lines) - mean)
        print(f"{b[0]} + {b[1]}, seeds resampled too: {d:+.2f} chrF++ ({low:+.2f} to {high:+.2f})")

    def greedy(self):
        budgets = ((8, 8), (6, 6), (9, 3))
        if not self.only_known and not self.bench.can_choose_by_loss():
            print("This program does not choose by validation loss.")
            return
        self.configs("chosen by", [(text, c) for b in budgets for text, c in (("importance", Choice(*b)), ("loss", Greedy(*b)))])
        self.differences([(f"{b[0]} + {b[1]}: loss minus importance", [Greedy(*b)], [Choice(*b)]) for b in budgets])

    # ---- similarity ----

    def overlaps(self, sets):
        names = list(sets)
        return names, np.array([[em.jaccard(sets[a], sets[b]) for b in names] for a in names])

    def spread(self, values):
        return f"{np.mean(values):.2f} ({np.min(values):.2f} to {np.max(values):.2f})" if len(values) else ""

    def similarity(self):
        c = Choice(8, 8, "pair", algorithm="stack-thresholds")
        sets = self.bench.sets(self.bench.keep(c))
        rows = []
        for stack in STACKS:
            names, j = self.overlaps(sets[stack])
            ends = [name.split("-") for name in names]
            kinds = {"same source": [], "same target": [], "neither": []}
            for a in range(len(names)):
                for b in range(a):
                    kind = [k for k, i in (("same source", 0), ("same target", 1)) if ends[a][i] == ends[b][i]]
                    kinds[kind[0] if kind else "neither"].append(j[a, b])
            by_target = em.permutation(j, [t for _, t in ends])
            by_source = em.permutation(j, [s for s, _ in ends])
            apart = em.permutation(j, [s for s, _ in ends] if stack == "decoder" else [t for _, t in ends],
                                   lambda g, own=1 if stack == "decoder" else 0: len({ends[i][own] for i in g}) == len(g))
            rows.append((stack, *(self.spread(v) for v in kinds.values()),
                         *(f"{p:.5f} of {n}" for p, n in (by_source, by_target, apart))))
        self.table(("sets", *kinds, "p, by source", "p, by target", "p, the other language"), rows)
        self.halves()

    def halves(self):
        """Sets of one language from two halves of val (every second line): what sampling alone makes of a set."""
        rows = []
        c = Choice(8, 8, algorithm="stack-thresholds")
        half = [self.bench.sets(self.bench.keep(c, f"val.half{h}")) for h in (0, 1)]
        for stack in STACKS:
            sets = {(lang, h): half[h][stack][CODES[lang]] for lang in LANGS for h in (0, 1)}
            names, j = self.overlaps(sets)
            same = [j[a, b] for a in range(8) for b in range(a) if names[a][0] == names[b][0]]
            other = [j[a, b] for a in range(8) for b in range(a) if names[a][0] != names[b][0]]
            p, n = em.permutation(j, [lang for lang, _ in names])
            rows.append((stack, self.spread(same), self.spread(other), f"{p:.4f} of {n}"))
        self.table(("sets of halves of val", "same language", "different", "p"), rows)
        sets = self.bench.sets(self.bench.keep(c))
        alike = lambda stack, a, b: f"{em.jaccard(sets[stack][CODES[a]], sets[stack][CODES[b]]):.2f}"
        pairs = [(a, b) for i, a in enumerate(LANGS) for b in LANGS[i + 1:]]
        self.table(("sets of languages", *("-".join(p) for p in pairs)), [(k, *(alike(k, *p) for p in pairs)) for k in STACKS])

    def forced(self):
        budgets = ((8, 8), (9, 3))
        rows = []
        for b in budgets:
            one, other = (self.bench.sets(self.bench.keep(Choice(*b, mode=m))) for m in ("beam", "forced"))
            rows += [(f"{b[0]} + {b[1]}", stack, self.spread([em.jaccard(one[stack][x], other[stack][x]) for x in CODES.values()]))
                     for stack in STACKS]
        self.table(("kept a layer", "stack", "Jaccard, beam and forced"), rows)
        self.configs("statistics", [(m, Choice(*b, mode=m)) for b in budgets for m in ("beam", "forced")])
        self.differences([(f"{b[0]} + {b[1]}: forced minus beam", [Choice(*b, mode="forced")], [Choice(*b)]) for b in budgets])

    # ---- into which language ----

    def directions(self):
        for c in (DEFAULT, Choice(6, 6), Choice(8, 8)):
            rows = []
            for lang in LANGS:
                into = [i for i, (_, t) in enumerate(PAIRS) if t == lang]
                mean = lambda key, of=c, at=into: self.facts(of, key)[at].mean()
                rows.append((f"X-{lang}", *(f"{self.losses(c, k)[into].mean():.2f}" for k in ("chrf", "spbleu", "bleu")),
                             f"{mean('length', Whole()):.3f}", f"{mean('length'):.3f}", f"{self.facts(c, 'truncated')[into].sum():.0f}",
                             f"{self.facts(c, 'empty')[into].sum():.0f}", f"{mean('mass'):.3f}"))
            print(f"{c.enc} + {c.dec}, per language:")
            self.table(("into", "chrF++ lost", "spBLEU lost", "BLEU lost", "length, whole", "length", "cut", "empty", "lost mass"), rows)
            self.table(("direction", "chrF++", "lost", "spBLEU lost", "length", "cut", "lost mass"), [
                ("-".join(p), f"{self.facts(c, 'chrf')[i]:.2f}", f"{self.losses(c)[i]:.2f}", f"{self.losses(c, 'spbleu')[i]:.2f}",
                 f"{self.facts(c, 'length')[i]:.3f}", f"{self.facts(c, 'truncated')[i]:.0f}", f"{self.facts(c, 'mass')[i]:.3f}")
                for i, p in enumerate(PAIRS)])

    # ---- lost mass ----

    def outside(self, c):
        """What the statistics of val know without translating anything: the share of first places outside the sets, by stack."""
        stats = json.loads(self.bench.stats().read_text())
        sets = self.bench.sets(self.bench.keep(c))
        lost = {k: [] for k in STACKS}
        for run in stats["runs"]:
            for i, layer in enumerate(stats["layers"]):
                k = layer["stack"]
                own = run["src" if k == "encoder" else "tgt"]
                name = next(n for n in (f"{run['src']}-{run['tgt']}", own, "*") if n in sets[k])
                kept = sets[k][name][str(layer["index"])]
                lost[k].append(1 - sum(run["top1"][i][e] for e in kept) / run["tokens"][k])
        return [float(np.mean(lost[k])) for k in STACKS]

    def mass(self):
        """Over every configuration that has been translated by now."""
        done = [c for c in self.known() if self.bench.is_known(c)]
        groups = {"all": done, "without random": [c for c in done if not isinstance(c, Random)],
                  "9 + 3 alone": [c for c in done if (c.enc, c.dec) == (9, 3)],
                  "8 + 8 alone": [c for c in done if (c.enc, c.dec) == (8, 8)]}
        rows = []
        for text, group in groups.items():
            if len(group) < 4:
                continue
            mass = [self.facts(c, "mass").mean() for c in group]
            first = np.array([self.outside(c) for c in group])
            for what, x in (("lost mass, test", mass), ("first places outside, val", first.mean(1))):
                rows.append((text, str(len(group)), what, *(f"{v:.2f}" for key in ("chrf", "bleu") for v in
                                                            em.correlations(x, [self.lost(c, key)[0] for c in group]))))
        head = [f"{m}, {what}" for m in ("chrF++", "BLEU") for what in ("Pearson", "Spearman", "order")]
        self.table(("configurations", "n", "predictor", *head), rows)
        rows = []
        for text, c in (("16 + 16", Choice(16, 16)), ("8 + 8", Choice(8, 8)), ("6 + 6", Choice(6, 6)), ("9 + 3", DEFAULT)):
            rows.append((text, *(f"{v:.2f}" for key in ("chrf", "bleu") for v in em.correlations(self.facts(c, "mass"), self.losses(c, key)))))
        self.table(("the 12 directions of", *head), rows)
        self.table(("configuration", "lost mass", "first outside, encoder", "decoder", "chrF++ lost", "BLEU lost", "length ratio"), [
            (c.name, f"{self.facts(c, 'mass').mean():.3f}", *(f"{v:.3f}" for v in self.outside(c)),
             *(f"{self.lost(c, k)[0]:.2f}" for k in ("chrf", "bleu")), f"{self.facts(c, 'length').mean():.3f}")
            for c in sorted(done, key=lambda c: self.facts(c, "mass").mean())])

    def known(self):
        """Every configuration of the other parts."""
        out = [Choice(*b, granularity=g) for b in BUDGETS for g in GRANULARITIES]
        out += [Choice(*b) for of in self.RATIOS.values() for b in of.values()]
        out += [Choice(*b, metric=m) for b in ((8, 8), (9, 3)) for m in METRICS]
        out += [Choice(*b, granularity=g, algorithm=a) for g, b in (("language", (8, 8)), ("language", (9, 3)), ("pair", (8, 8)))
                for a in ("stack-thresholds", "threshold")]
        out += [Choice(*b, mode="forced") for b in ((8, 8), (9, 3))] + [Greedy(*b) for b in ((8, 8), (6, 6), (9, 3))]
        out += [Random(*b, seed) for b, seeds in SEEDS.items() for seed in seeds]
        return list(dict.fromkeys(out))


PARTS = ("granularity", "ratio", "metrics", "algorithms", "random", "greedy", "similarity", "forced", "directions", "mass")


def main():
    args = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "out", "texts", "parts"):
        args.add_argument(f"--{name}", required=True)
    args.add_argument("--only-known", action="store_true")
    for name in ("lines", "fewer-lines"):
        args.add_argument(f"--{name}", type=int, required=True)
    a = args.parse_args()
    parts = a.parts.split(",") if a.parts else PARTS
    if not set(parts) <= set(PARTS):
        sys.exit(f"-p: want {' '.join(PARTS)}, found {a.parts}")
    f = Findings(Bench(a.model, a.out, a.lines, a.fewer_lines, a.texts), a.only_known)
    whole = {k: f.facts(Whole(), k) for k in ("chrf", "spbleu", "bleu", "length", "truncated")}
    print(f"{a.lines} lines ({f.bench.fewer_lines} of them where nothing else is said), {em.RESAMPLES} resamples, seed {SEED}; {EXPERTS} + {EXPERTS}: chrF++ {whole['chrf'].mean():.2f}, "
          f"spBLEU {whole['spbleu'].mean():.2f}, BLEU {whole['bleu'].mean():.2f}, length ratio {whole['length'].mean():.3f}, "
          f"cut {whole['truncated'].sum():.0f}")
    for part in parts:
        print(f"\n## {part}", flush=True)
        getattr(f, part)()


main()
