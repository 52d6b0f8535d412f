#!/usr/bin/env python3
"""Writes the golden data of BLEU and chrF++: hostile pairs of lines and what sacreBLEU counts in each.

usage: make.py        (needs sacrebleu 2.6; writes beside itself)

hyp.txt, ref.txt    line by line
counts.txt          of each line: tokens of both, then matches of 1- to 4-grams, then n-grams of the hypothesis; then
                    (hypothesis, reference, matches) of chrF++'s six character and two word orders
scores.txt          corpus scores of the first N lines: N BLEU chrF++
"""
import random
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF

HERE = Path(__file__).resolve().parent
RNG = random.Random(7)
SPACES = [" ", " ", " ", "  ", "\t", "\u00a0", "\u2003", "\u3000", "\u1680", "\u0085", "\u2028", "\u202f", "\u205f", "\x1c", "\x0b"]
WORDS = ["a", "dog", "runs", "the", "Straße", "ö", "é", "日本", "x-ray", "1,000.50", "3.14", "U.S.A.", "don't", "&quot;", "&amp;lt;",
         "&lt;b&gt;", "<skipped>", "10-20", "2010-", "-5", "…", "“so”", "(yes)", "[no]", "{x}", "a/b", "e@x.org", "50%", "$3", "a.b", "..", "...,",
         ",", ".", ".5", "5.", "!", "?!", "'s", "_", "~", "^", "`", "🙂", "👩‍👩‍👧", "ﷺ", "a\u0301", "#1", "+", "=", "|", "\\", "\"q\"", "und", "der", "Hund"]


def line():
    return "".join(RNG.choice(WORDS) + RNG.choice(SPACES + [""]) for _ in range(RNG.randrange(0, 25)))


def change(words):
    out = list(words)
    for _ in range(RNG.randrange(0, 4)):
        if out:
            at = RNG.randrange(len(out))
            out[at:at + RNG.randrange(0, 2)] = [RNG.choice(WORDS)] * RNG.randrange(0, 2)
    return out


pairs = [("", ""), ("", "a dog runs"), ("a dog runs", ""), (" ", "\u00a0"), ("x", "x"), (".", "."), ("a b c d", "a b c d")]
while len(pairs) < 600:
    ref = line()
    hyp = line() if RNG.random() < 0.2 else " ".join(change(ref.split(" ")))
    pairs.append((hyp, ref))
hyps, refs = [p[0] for p in pairs], [p[1] for p in pairs]
bleu, chrf = BLEU(), CHRF(word_order=2)
b = bleu._extract_corpus_statistics(hyps, [refs])
c = chrf._extract_corpus_statistics(hyps, [refs])
(HERE / "hyp.txt").write_text("".join(h + "\n" for h in hyps), encoding="utf-8", newline="")
(HERE / "ref.txt").write_text("".join(r + "\n" for r in refs), encoding="utf-8", newline="")
(HERE / "counts.txt").write_text("".join(" ".join(map(str, list(x) + list(y))) + "\n" for x, y in zip(b, c)))
with open(HERE / "scores.txt", "w") as out:
    for n in (1, 2, 3, 7, 20, 100, len(pairs)):
        print(n, repr(bleu.corpus_score(hyps[:n], [refs[:n]]).score), repr(chrf.corpus_score(hyps[:n], [refs[:n]]).score), file=out)
