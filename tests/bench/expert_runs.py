"""Runs of expert_findings.py: statistics, keep files, translations and their scores, each kept in a folder once it is made.

A configuration is a name and a way to make its keep file. Its result, `scores/NAME.json` and `scores/NAME.npz`, is renamed into
place when whole, so an interrupted run goes on with the next one that is missing.
"""
import gzip
import json
import random
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

CODES = {"en": "eng_Latn", "de": "deu_Latn", "fr": "fra_Latn", "cs": "ces_Latn"}
LANGS = list(CODES)
PAIRS = [(s, t) for s in LANGS for t in LANGS if s != t]
STACKS = ("encoder", "decoder")
GREEDY_LINES = 250  # of val, in each direction
LAYERS, EXPERTS = 2, 32  # of a stack, of a layer
MOE_LAYERS = ("1", "3")  # numbers of those layers
BUDGETS = ((24, 24), (16, 16), (8, 8), (6, 6), (9, 3))  # experts of 32 that stay in each layer: 25, 50, 75, 81.25, 81.25 % go


@dataclass(frozen=True)
class Choice:
    """What `dragoman prune` is asked for: enc and dec experts a layer, on average where the algorithm varies them."""

    enc: int
    dec: int
    granularity: str = "language"
    metric: str = "importance"
    algorithm: str = "fixed"
    mode: str = "beam"

    @property
    def name(self):
        return "-".join(str(x) for x in (self.metric, self.algorithm, self.granularity, self.mode, self.enc, self.dec))

    def options(self):
        return ["--metric", self.metric, "--algorithm", self.algorithm, "--granularity", self.granularity, "--stats-mode",
                self.mode, "--keep-total", str(LAYERS * (self.enc + self.dec)), "--keep-encoder", str(LAYERS * self.enc)]


@dataclass(frozen=True)
class Random:
    """Experts drawn for each language: the same number in each layer of a stack."""

    enc: int
    dec: int
    seed: int

    @property
    def name(self):
        return f"random-{self.enc}-{self.dec}-{self.seed}"


@dataclass(frozen=True)
class Greedy:
    """Backward removal by validation loss, one expert after another."""

    enc: int
    dec: int

    @property
    def name(self):
        return f"greedy-{self.enc}-{self.dec}"


@dataclass(frozen=True)
class Whole:
    """Nothing removed."""

    name: str = "whole"


MAIN = [Choice(*b, granularity=g) for b in ((16, 16), (8, 8), (9, 3)) for g in ("language", "all")] + [Choice(6, 6)]


class Scorer:
    """sacreBLEU with the references of one text in one language."""

    def __init__(self, path):
        self.path = path
        self.refs = path.read_text(encoding="utf-8").split("\n")[:-1]
        self.metrics = {"chrf": CHRF(word_order=2, references=[self.refs]), "bleu": BLEU(references=[self.refs])}

    def counts(self, text):
        """-> [lines, 24 + 10]: the n-gram counts from which both scores follow, for any choice of sentences"""
        return np.hstack([m._extract_corpus_statistics(text, None) for m in self.metrics.values()])

    def check(self, text, scores):
        for key, metric in self.metrics.items():
            theirs = metric.corpus_score(text, None).score
            if abs(theirs - scores[key]) > 1e-6:
                sys.exit(f"{self.path}: {key} {scores[key]}, but sacreBLEU has {theirs}")


class Bench:
    def __init__(self, model, out, lines, fewer_lines, texts):
        self.model, self.out, self.lines, self.fewer_lines = model, Path(out), lines, min(lines, fewer_lines)
        self.program = str(self.out / "dragoman")
        for folder in ("text", "stats", "keep", "scores", "work"):
            (self.out / folder).mkdir(exist_ok=True)
        self._same_settings()
        for text in ("val", "test_2016_flickr"):
            for lang in LANGS:
                with gzip.open(f"{texts}/{text}.{lang}.gz", "rt", encoding="utf-8", newline="\n") as f:
                    rows = [row for _, row in zip(range(lines), f)]
                self._write_text(text, lang, rows)
                if text == "val":
                    self._write_text("val.greedy", lang, rows[:GREEDY_LINES])
                else:
                    self._write_text("fewer", lang, rows[:self.fewer_lines])
                for half in (0, 1) if text == "val" else ():
                    self._write_text(f"{text}.half{half}", lang, rows[half::2])
        self.scorers = {text: {t: Scorer(self._text(text, t)) for t in LANGS} for text in ("test_2016_flickr", "fewer")}
        self.memory = {}

    def _same_settings(self):
        settings = {"model": str(Path(self.model).resolve()), "lines": self.lines, "fewer_lines": self.fewer_lines}
        path = self.out / "settings.json"
        if path.exists() and json.loads(path.read_text()) != settings:
            sys.exit(f"{self.out} holds results of {path.read_text().strip()}, not of {json.dumps(settings)}: want another -o")
        path.write_text(json.dumps(settings) + "\n")

    def _text(self, name, lang):
        return self.out / "text" / f"{name}.{lang}"

    def _write_text(self, name, lang, rows):
        path = self._text(name, lang)
        if not path.exists():
            part = path.with_suffix(path.suffix + ".part")
            part.write_text("".join(rows), encoding="utf-8", newline="\n")
            part.rename(path)

    def run(self, *args):
        """Exit code 1 says that lines were cut: that is a result here."""
        done = subprocess.run([self.program, *map(str, args)], capture_output=True, text=True, check=False)
        if done.returncode > 1:
            sys.exit(f"dragoman {' '.join(map(str, args))}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def is_main(self, c):
        """Main configurations translate all lines of test, the others fewer."""
        return isinstance(c, Whole) or c in MAIN

    def lines_of(self, c):
        return self.lines if self.is_main(c) else self.fewer_lines

    # ---- statistics ----

    def stats(self, mode="beam", text="val"):
        """-> file: all directions, of the best hypotheses (beam) or of the references (forced)."""
        whole = self.out / "stats" / f"{text}.{mode}.json"
        if whole.exists():
            return whole
        parts = []
        for s, t in PAIRS:
            parts.append(self.out / "stats" / f"{text}.{mode}.{s}-{t}.json")
            reference = ["--reference", self._text(text, t)] if mode == "forced" else []
            if not parts[-1].exists():
                self.run("stats", "-m", self.model, "-s", s, "-t", t, "-i", self._text(text, s), "-o", parts[-1], *reference)
        self.run("stats", "-m", self.model, "--merge", *parts, "-o", whole)
        return whole

    # ---- keep files ----

    def keep(self, c, text="val"):
        path = self.out / "keep" / f"{c.name}{'' if text == 'val' else '-' + text}.json"
        if path.exists():
            return path
        part = path.with_suffix(".part")
        if isinstance(c, Choice):
            self.run("prune", "-m", self.model, "--stats", self.stats(c.mode, text), "-k", part, *c.options())
        elif isinstance(c, Greedy):
            self._greedy(c, part)
        else:
            self._draw(c, part)
        self.run("inspect", self.model, "--keep", part, "--json")  # refuses what is no keep file of this model
        part.rename(path)
        return path

    def _draw(self, c, path):
        rng = random.Random(c.seed)
        model = json.loads(self.stats().read_text())["model"]
        sets = {stack: {CODES[lang]: {layer: sorted(rng.sample(range(EXPERTS), n)) for layer in MOE_LAYERS} for lang in LANGS}
                for stack, n in zip(STACKS, (c.enc, c.dec))}
        origin = {"options": {"metric": "random", "seed": c.seed}, "statistics": []}
        path.write_text(json.dumps({"format": 1, "model": model, **origin, **sets}))

    def can_choose_by_loss(self):
        return "loss-stacks" in self.run("prune", "--help")

    def _greedy(self, c, path):
        """In two steps from 20 + 20 experts of importance: those that go first cost next to nothing, and half the time."""
        first = c == Greedy(10, 10)
        start = self.keep(Choice(20, 20) if first else Greedy(10, 10))
        options = ["--algorithm", "loss-stacks", "--from", start, *Choice(c.enc, c.dec).options()[-4:]]
        for s, t in PAIRS:
            options += ["-s", s, "-t", t, "-i", self._text("val.greedy", s), "--reference", self._text("val.greedy", t)]
        self.run("prune", "-m", self.model, "-k", path, *options)

    def sets(self, keep):
        """-> stack -> set's name -> layer -> experts"""
        whole = json.loads(Path(keep).read_text())
        return {k: {name: {l: frozenset(e) for l, e in layers.items()} for name, layers in whole[k].items()} for k in STACKS}

    # ---- translations ----

    def is_known(self, c):
        return (self.out / "scores" / f"{c.name}.json").exists()

    def result(self, c):
        """-> (facts, counts): a dictionary for each direction, and the sentences' n-gram counts [12, lines, 24 + 10]."""
        if c.name in self.memory:
            return self.memory[c.name]
        facts, counts = self.out / "scores" / f"{c.name}.json", self.out / "scores" / f"{c.name}.npz"
        if not facts.exists():
            self._translate(c, facts, counts)
        with np.load(counts) as z:
            self.memory[c.name] = json.loads(facts.read_text()), z["counts"].astype(np.float64)
        return self.memory[c.name]

    def _translate(self, c, facts, counts):
        keep = [] if isinstance(c, Whole) else ["--keep", self.keep(c)]
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        rows = [self._direction("test_2016_flickr" if self.is_main(c) else "fewer", s, t, keep) for s, t in PAIRS]
        seconds = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
        print(f"{c.name}: {seconds:.0f} s of processor time", file=sys.stderr, flush=True)
        with open(self.out / "work" / "counts.npz", "wb") as f:
            np.savez_compressed(f, counts=np.array([row[1] for row in rows], dtype=np.uint16))
        (self.out / "work" / "facts.json").write_text(json.dumps({"seconds": seconds, "directions": [row[0] for row in rows]}))
        (self.out / "work" / "counts.npz").rename(counts)
        (self.out / "work" / "facts.json").rename(facts)

    def _direction(self, text, s, t, keep):
        hyp, report, scorer = self.out / "work" / "hyp", self.out / "work" / "report", self.scorers[text][t]
        for old in self.out.glob("work/*"):  # of a run that was interrupted
            old.unlink()
        self.run("translate", "-m", self.model, "-s", s, "-t", t, "-i", self._text(text, s), "-o", hyp, "--report", report,
                 "--beam-size", 4, *keep)
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        scores = json.loads(self.run("score-text", "-m", self.model, "--json", hyp, scorer.path))
        words = hyp.read_text(encoding="utf-8").split("\n")[:-1]
        if not len(words) == len(lines) == len(scorer.refs):
            sys.exit(f"{s}-{t}: {len(words)} lines, {len(lines)} in the report, want {len(scorer.refs)}")
        facts = {"pair": f"{s}-{t}", "chrf": scores["chrf++"], "bleu": scores["bleu"], "spbleu": scores["spbleu"],
                 "length": scores["length_ratio"], "mass": float(np.mean([x["absent_mass"] or 0 for x in lines])),
                 "empty": sum(line == "" for line in words)}
        for status in ("truncated", "looped"):
            facts[status] = sum(x["status"] == status for x in lines)
        scorer.check(words, facts)
        return facts, scorer.counts(words)
