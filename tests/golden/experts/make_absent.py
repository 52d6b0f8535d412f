#!/usr/bin/env python3
"""Writes absent.json, a keep file, and absent.txt: what pruned translations lose of their gates, by Hugging Face's model.

usage: make_absent.py DRAGOMAN        (needs transformers 4.55.4, torch; run in the repository's root)

Five lines of test_2016_flickr, English to German, are translated by dragoman with the experts of absent.json; the translations go through Hugging
Face's model with the same experts masked. For each token and layer, what the two gates without the mask give to experts outside it: mean and
most of a line, and the layer with the greatest mean.
"""
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import torch
from transformers import NllbMoeForConditionalGeneration, NllbTokenizer

HERE = Path(__file__).resolve().parent
MODEL = "models/multi30k-token"
RNG = random.Random(3)
tok = NllbTokenizer.from_pretrained(MODEL)
model = NllbMoeForConditionalGeneration.from_pretrained(MODEL, torch_dtype=torch.float32, attn_implementation="eager").eval()
keep = {"format": 1, "model": None, "options": {}, "statistics": []}
seen = []
for stack, layers, lang in (("encoder", model.model.encoder.layers, "eng_Latn"), ("decoder", model.model.decoder.layers, "deu_Latn")):
    keep[stack] = {lang: {}}
    for i, layer in enumerate(layers):
        if not layer.is_sparse:
            continue
        ids = sorted(RNG.sample(range(32), 20))
        keep[stack][lang][str(i)] = ids
        mask = torch.zeros(32, dtype=torch.bool)
        mask[ids] = True

        def hook(module, inputs, out, mask=mask, name=f"{stack} {i}"):
            best = out.reshape(-1, 32).topk(2)
            seen.append((name, (best.values.softmax(-1) * ~mask[best.indices]).sum(-1)))
            return out.masked_fill(~mask, float("-inf"))

        layer.ffn.router.classifier.register_forward_hook(hook)
(HERE / "absent.json").write_text(json.dumps(keep, separators=(",", ":")) + "\n")
text = gzip.open("tests/data/multi30k/test_2016_flickr.en.gz", "rt", encoding="utf-8").read().split("\n")[:5]
out = subprocess.run([sys.argv[1], "translate", "-m", MODEL, "-s", "en", "-t", "de", "-k", str(HERE / "absent.json")], check=True,
                     input="\n".join(text) + "\n", capture_output=True, encoding="utf-8").stdout.split("\n")
with open(HERE / "absent.txt", "w") as f:
    for s, t in zip(text, out):
        pieces = lambda x: tok.convert_tokens_to_ids(tok.tokenize(x))
        seen.clear()
        with torch.no_grad():
            model(input_ids=torch.tensor([[tok.convert_tokens_to_ids("eng_Latn")] + pieces(s) + [2]]),
                  decoder_input_ids=torch.tensor([[2, tok.convert_tokens_to_ids("deu_Latn")] + pieces(t)]))
        values = torch.cat([v for _, v in seen])
        print(f"{values.mean():.6f} {values.max():.6f} {max(seen, key=lambda x: x[1].mean())[0]}", file=f)
