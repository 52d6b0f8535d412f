#!/usr/bin/env python3
"""Writes gates.json: router statistics of 40 forced translations, from Hugging Face's model, as a statistics file.

usage: make_gates.py        (needs transformers 4.55.4, torch; run in the repository's root)

The text is the first 40 lines of test_2016_flickr, English to German, and back. The softmax over all experts is taken from the
outputs of each layer's router, since transformers returns it masked to the two chosen experts only.
"""
import gzip
import json
import sys
from pathlib import Path

import torch
from transformers import NllbMoeForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tokenizer"))
from transformers import NllbTokenizer  # noqa: E402

HERE = Path(__file__).resolve().parent
MODEL = "models/multi30k-token"
ONE = 2.0**32
tok = NllbTokenizer.from_pretrained(MODEL)
model = NllbMoeForConditionalGeneration.from_pretrained(MODEL, torch_dtype=torch.float32, attn_implementation="eager").eval()
routers = [(stack, i, layer.ffn.router) for stack, layers in (("encoder", model.model.encoder.layers), ("decoder", model.model.decoder.layers))
           for i, layer in enumerate(layers) if layer.is_sparse]
logits = {}
for n, (_, _, router) in enumerate(routers):
    router.classifier.register_forward_hook(lambda m, i, o, n=n: logits.__setitem__(n, o.detach().reshape(-1, o.shape[-1])))


def lines(lang):
    return gzip.open(f"tests/data/multi30k/test_2016_flickr.{lang}.gz", "rt", encoding="utf-8").read().split("\n")[:40]


def pieces(text):
    return tok.convert_tokens_to_ids(tok.tokenize(text))


runs = []
for src, tgt, a, b in (("eng_Latn", "deu_Latn", "en", "de"), ("deu_Latn", "eng_Latn", "de", "en")):
    sums = [{k: torch.zeros(len(r.classifier.weight), dtype=torch.float64) for k in ("top1", "top2", "mean_sum", "conf1_sum", "conf2_sum", "rank_sum",
                                                                                  "gate_sum", "eos_gate_sum")}
            for _, _, r in routers]
    tokens = {"encoder": 0, "decoder": 0}
    for s, t in zip(lines(a), lines(b)):
        ids = [tok.convert_tokens_to_ids(src)] + pieces(s) + [2]
        dec = [2, tok.convert_tokens_to_ids(tgt)] + pieces(t)
        with torch.no_grad():
            model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([dec]))
        tokens["encoder"] += len(ids)
        tokens["decoder"] += len(dec)
        for n in range(len(routers)):
            p = torch.softmax(logits[n].double(), dim=-1)
            rank = torch.argsort(torch.argsort(-logits[n], dim=-1, stable=True), dim=-1) + 1
            x = sums[n]
            x["top1"] += (rank == 1).sum(0)
            x["top2"] += (rank == 2).sum(0)
            x["mean_sum"] += p.sum(0)
            x["conf1_sum"] += (p * (rank == 1)).sum(0)
            x["conf2_sum"] += (p * (rank == 2)).sum(0)
            x["rank_sum"] += rank.sum(0)
            two = p * (rank <= 2)
            gate = two / two.sum(1, keepdim=True)
            x["gate_sum"] += gate.sum(0)
            if routers[n][0] == "decoder":  # the last position predicts </s>
                x["eos_gate_sum"] += gate[-1]
    whole = {k: ONE if k.endswith("_sum") and k != "rank_sum" else 1 for k in sums[0]}
    runs.append({"src": src, "tgt": tgt, "mode": "forced", "corpus": "0" * 16, "tokens": tokens,
                 **{k: [[round(float(v) * whole[k]) for v in x[k]] for x in sums] for k in sums[0]}})
stats = {"format": 1, "model": "0" * 16, "top_k": 2, "layers": [{"stack": s, "index": i, "experts": len(r.classifier.weight)} for s, i, r in routers], "runs": runs}
(HERE / "gates.json").write_text(json.dumps(stats, separators=(",", ":")) + "\n")
