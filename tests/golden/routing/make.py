#!/usr/bin/env python3
"""Writes small models of every routing kind, and what they decode (README.md).

usage: make.py [--models]     in an environment with: torch transformers==4.55.4 sentencepiece protobuf safetensors
                              --models writes the models again; without it only the golden data

Hugging Face runs token routing alone, so its routers are replaced: by a table for tasks, by the mean of a sentence's rows,
by experts given by hand (arXiv 2110.03742, section 3.1). All else is transformers 4.55.4 as it is.
"""
import argparse
import json
import os
import sys

import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [f"{HERE}/../random128", f"{HERE}/../hf"]
import oracle  # noqa: E402
sys.path.pop(1)
from make import MOE, draw, text, write_config  # noqa: E402 (of random128)

PAIRS = [("en", "eng_Latn", "deu_Latn"), ("fr", "fra_Latn", "ces_Latn"), ("cs", "ces_Latn", "eng_Latn"), ("de", "deu_Latn", "fra_Latn")]
TARGETS = ["ces_Latn", "deu_Latn", "eng_Latn", "fra_Latn"]
DIRECTIONS = [f"{s}-{t}" for _, s, t in PAIRS]
SMALL = dict(MOE, d_model=16, encoder_layers=4, decoder_layers=4, num_hidden_layers=4, encoder_attention_heads=2, decoder_attention_heads=2,
             encoder_ffn_dim=20, decoder_ffn_dim=20, num_experts=8, encoder_sparse_step=2, decoder_sparse_step=2)
# Two tasks share an expert, one has one alone, and some experts belong to nobody.
BY_HAND = {"deu_Latn": [[3, 1], [6, 5]], "ces_Latn": [[1, 0], [2]], "eng_Latn": [[7], [0, 5]], "fra_Latn": [[4, 2], [1, 3]]}
MODELS = {
    "sentence-pair": dict(SMALL, encoder_routing="sentence", decoder_routing="task", routing_task="pair", routing_tasks=DIRECTIONS),
    "task-static": dict(SMALL, encoder_routing="task", decoder_routing="static", routing_task="target", routing_tasks=TARGETS,
                        routing_static={"decoder": BY_HAND}),
    "token-sentence": dict(SMALL, encoder_routing="token", decoder_routing="sentence"),
}
PER_PAIR = 5


def write(name, c):
    t = draw(dict(c, eos=8.5), 20211004)
    gen = torch.Generator().manual_seed(7)
    for key in [k for k in t if "router" in k]:
        by = c[f"{key.split('.')[0]}_routing"]
        if by in ("task", "static"):
            del t[key]
        if by == "task":
            table = torch.empty(len(c["routing_tasks"]), c["num_experts"]).normal_(0, 1, generator=gen)
            t[key.replace("classifier", "task")] = table
    write_config(f"{HERE}/{name}", c)
    t = {n: v if "router" in n or "layer_norm" in n else v.to(torch.bfloat16) for n, v in t.items()}
    save_file({n: v.contiguous() for n, v in t.items()}, f"{HERE}/{name}/model.safetensors", metadata={"format": "pt"})


class Gate(torch.nn.Module):
    """In the place of router.classifier: rows [n, d] of one sentence -> logits [n, experts]."""
    task, mean = None, None  # of the sentence at hand: direction, mean of the encoder's output

    def __init__(self, kind, stack, layer, inner, table, c):
        super().__init__()
        self.kind, self.stack, self.layer, self.inner, self.table, self.c = kind, stack, layer, inner, table, c
        self.weight = inner.weight  # looked at for its type

    def row(self):
        name = Gate.task if self.c["routing_task"] == "pair" else Gate.task.split("-")[1]
        if self.kind == "task":
            return self.table[self.c["routing_tasks"].index(name)]
        out = torch.full((self.c["num_experts"],), -1e4)
        out[self.c["routing_static"][self.stack][name][self.layer]] = 0
        return out

    def forward(self, x):
        if self.kind == "token":
            return self.inner(x)
        if self.kind == "sentence":
            return self.inner((in_order(x) if self.stack == "encoder" else Gate.mean).expand(x.shape))
        return self.row().expand(len(x), -1).clone()


def in_order(x):
    total = x[0].clone()
    for r in x[1:]:
        total += r
    return total / len(x)


def keep_mean(_module, _args, out):
    Gate.mean = in_order(out[0][0])


def patch(model, c, path):
    from safetensors import safe_open
    with safe_open(f"{path}/model.safetensors", "pt") as f:
        tables = {k.replace("model.", ""): f.get_tensor(k).float() for k in f.keys() if "router.task" in k}
    for stack in ("encoder", "decoder"):
        part, n = getattr(model.model, stack), 0
        for i, layer in enumerate(part.layers):
            if layer.is_sparse:
                r = layer.ffn.router
                r.classifier = Gate(c.get(f"{stack}_routing", "token"), stack, n, r.classifier,
                                    tables.get(f"{stack}.layers.{i}.ffn.router.task.weight"), c)
                n += 1
    model.model.encoder.register_forward_hook(keep_mean)


def golden(path, model_path, per_pair):
    model, tok = oracle.open_model(model_path)
    patch(model, json.load(open(f"{model_path}/config.json")), model_path)
    margins, t = oracle.Margins(model), oracle.Tensors()
    out = {k: [oracle.HEAD[k]] for k in oracle.HEAD}
    for lang, src, tgt in PAIRS:
        lines, refs, code = text(lang), text({"deu": "de", "ces": "cs", "eng": "en", "fra": "fr"}[tgt[:3]]), oracle.code_id(tok, tgt)
        Gate.task = f"{src}-{tgt}"
        for i in range(per_pair):
            line = 11 + 83 * i
            where, source = f"{src}\t{tgt}\t{line}", oracle.encode(tok, lines[line - 1], src)
            out["sources"].append(f"{src}\t{line}\t{oracle.ints(source)}\n")
            out["forced"].append(oracle.forced_row(model, tok, where, lines[line - 1], refs[line - 1]))
            for kind, beam in (("greedy", 1), ("beam4", 4)):
                o = {"max": 48}
                r = oracle.generate(model, margins, source, code, beam, o)
                out[kind] += [oracle.row(where, o, rank, s, ids, r) for rank, (s, ids) in enumerate(r["hyps"])]
            if i == 0:
                target = [code] + oracle.pieces(tok, refs[line - 1]) + [oracle.EOS]
                logits, encoded = oracle.force(model, source, target)
                t.add(f"encoder\t{where}\t0", encoded)
                for step in (0, 3):
                    t.add(f"logits\t{where}\t{step}", logits[step: step + 1])
    for kind, rows in out.items():
        oracle.write_gz(f"{path}/{kind}.tsv.gz", "".join(rows))
    t.write(f"{path}/tensors")
    print(path, flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--models", action="store_true")
    a = p.parse_args()
    for name, c in MODELS.items():
        if a.models:
            write(name, c)
        os.makedirs(f"{HERE}/{name}-golden", exist_ok=True)
        golden(f"{HERE}/{name}-golden", f"{HERE}/{name}", PER_PAIR)
    os.makedirs(f"{HERE}/multi30k-task-golden", exist_ok=True)
    golden(f"{HERE}/multi30k-task-golden", f"{HERE}/../../../models/multi30k-task", PER_PAIR)
    return 0


if __name__ == "__main__":
    sys.exit(main())
