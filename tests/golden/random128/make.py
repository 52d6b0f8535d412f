#!/usr/bin/env python3
"""Writes two small random models and what Hugging Face transformers 4.55.4 decodes with them (README.md).

usage: make.py [--models]     in an environment with: torch transformers==4.55.4 sentencepiece protobuf safetensors
                              --models writes the models again; without it only the golden data

moe128: nllb-moe with the switches of facebook/nllb-moe-54b, 128 experts, 8+8 layers of which 2+2 are sparse, names
without the `model.` prefix, BF16 and F32 mixed, two shards. dense: m2m_100 as facebook/nllb-200-distilled-600M, F16.
Every width is odd on purpose: no dimension but the vocabulary's embedding is a multiple of a vector.
"""
import argparse
import gzip
import json
import os
import sys

import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../hf")
import oracle  # noqa: E402

ROOT = os.path.normpath(f"{HERE}/../../..")
TOKENIZER = "../../../../models/multi30k-token"  # as the models' folders see it
VOCAB = 6206
COMMON = dict(
    vocab_size=VOCAB, max_position_embeddings=1024, activation_function="relu", scale_embedding=True, init_std=0.02,
    dropout=0.1, attention_dropout=0.1, activation_dropout=0.0, encoder_layerdrop=0, decoder_layerdrop=0,
    pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, is_encoder_decoder=True, use_cache=True,
)
MOE = dict(
    architectures=["NllbMoeModel"], model_type="nllb-moe", d_model=32, encoder_layers=8, decoder_layers=8,
    encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=40, num_hidden_layers=8,
    num_experts=128, encoder_sparse_step=4, decoder_sparse_step=4, expert_capacity=64,
    moe_eval_capacity_token_fraction=1.0, moe_token_dropout=0.2, second_expert_policy="all", normalize_router_prob_before_dropping=False,
    batch_prioritized_routing=False, router_dtype="float32", router_bias=False, router_ignore_padding_tokens=False,
    router_z_loss_coef=0.001, router_aux_loss_coef=0.001, output_router_logits=False, torch_dtype="float32", **COMMON,
)
DENSE = dict(
    architectures=["M2M100ForConditionalGeneration"], model_type="m2m_100", d_model=36, encoder_layers=3,
    decoder_layers=2, encoder_attention_heads=3, decoder_attention_heads=3, encoder_ffn_dim=52, decoder_ffn_dim=52,
    num_hidden_layers=3, max_length=200, tokenizer_class="NllbTokenizer", torch_dtype="float16", **COMMON,
)
GENERATION = dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, max_length=200)


class Draw:
    """Tensors of a random model whose layers matter: each adds about as much as what passes by."""

    def __init__(self, seed):
        self.rng, self.t = torch.Generator().manual_seed(seed), {}

    def normal(self, *shape, std):
        return torch.empty(*shape).normal_(0, std, generator=self.rng)

    def linear(self, name, n, k, gain=1.0):
        self.t[f"{name}.weight"] = self.normal(n, k, std=gain * k ** -0.5)
        self.t[f"{name}.bias"] = self.normal(n, std=0.1)

    def norm(self, name, d, gain=1.0):
        self.t[f"{name}.weight"] = gain * (1 + self.normal(d, std=0.1))
        self.t[f"{name}.bias"] = self.normal(d, std=0.1)

    def attention(self, name, d):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.linear(f"{name}.{part}", d, d, 1.5)

    def ffn(self, name, d, f):
        self.linear(f"{name}fc1", f, d, 1.5)
        self.linear(f"{name}fc2", d, f, 1.5)


def draw(c, seed):
    """All tensors of config c, by the names of its model type, without the `model.` prefix."""
    w, d, moe = Draw(seed), c["d_model"], c["model_type"] == "nllb-moe"
    w.t["shared.weight"] = w.normal(VOCAB, d, std=d ** -0.5)
    w.t["shared.weight"][1] = 0
    for s in ("encoder", "decoder"):
        for i in range(c[f"{s}_layers"]):
            name, f = f"{s}.layers.{i}", c[f"{s}_ffn_dim"]
            w.attention(f"{name}.self_attn", d)
            w.norm(f"{name}.self_attn_layer_norm", d)
            if s == "decoder":
                cross = "cross_attention" if moe else "encoder_attn"
                w.attention(f"{name}.{cross}", d)
                w.norm(f"{name}.{cross}_layer_norm", d)
            w.norm(f"{name}.{'ff' if moe else 'final'}_layer_norm", d)
            if not moe:
                w.ffn(f"{name}.", d, f)
            elif (i + 1) % c[f"{s}_sparse_step"]:
                w.ffn(f"{name}.ffn.", d, f)
            else:
                w.t[f"{name}.ffn.router.classifier.weight"] = w.normal(c["num_experts"], d, std=2 * d ** -0.5)
                for e in range(c["num_experts"]):
                    w.ffn(f"{name}.ffn.experts.expert_{e}.", d, f)
        w.norm(f"{s}.layer_norm", d, 2.5 if s == "decoder" else 1.0)
    # Without help a random model never ends: this raises the logit of </s> by about c["eos"].
    end = w.t["shared.weight"][2]
    w.t["decoder.layer_norm.bias"] += c["eos"] * end / end.dot(end)
    return w.t


def write_config(path, c):
    os.makedirs(path, exist_ok=True)
    for name, value in (("config.json", c), ("generation_config.json", GENERATION)):
        with open(f"{path}/{name}", "w") as f:
            json.dump({k: v for k, v in value.items() if k != "eos"}, f, indent=2)
            f.write("\n")
    for name in ("sentencepiece.bpe.model", "tokenizer_config.json"):
        if not os.path.lexists(f"{path}/{name}"):
            os.symlink(f"{TOKENIZER}/{name}", f"{path}/{name}")


def write_moe(path, c):
    """BF16, but routers and norms F32; the second shard begins in the middle of a layer's experts."""
    t = {n: v if "router" in n or "layer_norm" in n else v.to(torch.bfloat16) for n, v in draw(c, 20240611).items()}
    write_config(path, c)
    names = list(t)
    cut = names.index("decoder.layers.3.ffn.experts.expert_70.fc1.weight")
    files = {"model-00001-of-00002.safetensors": names[:cut], "model-00002-of-00002.safetensors": names[cut:]}
    for file, part in files.items():
        save_file({n: t[n] for n in part}, f"{path}/{file}", metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(v.numel() * v.element_size() for v in t.values())},
             "weight_map": {n: f for f, part in files.items() for n in sorted(part)}}
    with open(f"{path}/model.safetensors.index.json", "w") as f:
        json.dump(index, f, separators=(",\n", ":"))
        f.write("\n")


def write_dense(path, c):
    t = {f"model.{n}": v.to(torch.float16) for n, v in draw(c, 20220711).items()}
    write_config(path, c)
    save_file(t, f"{path}/model.safetensors", metadata={"format": "pt"})


PAIRS = [("en", "eng_Latn", "deu_Latn"), ("fr", "fra_Latn", "jpn_Jpan"), ("cs", "ces_Latn", "arb_Arab"),
         ("de", "deu_Latn", "zul_Latn")]
PER_PAIR = 10


def text(lang):
    with gzip.open(f"{ROOT}/tests/data/multi30k/test_2016_flickr.{lang}.gz", "rt", encoding="utf-8") as f:
        return f.read().split("\n")


def options(i, beam):
    """Golden sentence i (README.md has the table): a random model repeats itself, so the processors have work, and
    many translations are cut by the length."""
    o = {"max": 48}
    o.update({0: {"max": 200}, 1: {"rep": 1.2}, 2: {"ngram": 3}, 3: {"rep": 1.2, "ngram": 3}, 4: {"max": 12},
              5: {"min": 20}, 8: {"ngram": 1}}.get(i, {}))
    if beam > 1:
        o.update({6: {"lp": 0.5}, 7: {"early": 1}, 9: {"n_best": 4, "lp": 2.0}}.get(i, {}))
    return o


def golden(path, model_path):
    model, tok = oracle.open_model(model_path)
    margins, t = oracle.Margins(model), oracle.Tensors()
    out = {k: [oracle.HEAD[k]] for k in oracle.HEAD}
    for lang, src, tgt in PAIRS:
        lines, code = text(lang), oracle.code_id(tok, tgt)
        for i in range(PER_PAIR):
            line = 7 + 97 * i
            where, source = f"{src}\t{tgt}\t{line}", oracle.encode(tok, lines[line - 1], src)
            out["sources"].append(f"{src}\t{line}\t{oracle.ints(source)}\n")
            out["forced"].append(oracle.forced_row(model, tok, where, lines[line - 1], lines[line]))
            for kind, beam in (("greedy", 1), ("beam4", 4)):
                o = options(i, beam)
                r = oracle.generate(model, margins, source, code, beam, o)
                out[kind] += [oracle.row(where, o, rank, s, ids, r) for rank, (s, ids) in enumerate(r["hyps"])]
                print(where, kind, len(r["hyps"][0][1]), "ids; margins", min(r["steps"]), r["enc"], min(r["dec"]),
                      flush=True)
            if i == 0:
                target = [code] + oracle.pieces(tok, lines[line]) + [oracle.EOS]
                logits, encoded = oracle.force(model, source, target)
                t.add(f"encoder\t{where}\t0", encoded)
                for step in (0, 3):
                    t.add(f"logits\t{where}\t{step}", logits[step: step + 1])
    for kind, rows in out.items():
        oracle.write_gz(f"{path}/{kind}.tsv.gz", "".join(rows))
    t.write(f"{path}/tensors")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--models", action="store_true")
    a = p.parse_args()
    if a.models:
        write_moe(f"{HERE}/moe128", dict(MOE, eos=8.5))
        write_dense(f"{HERE}/dense", dict(DENSE, eos=8.5))
    for name in ("moe128", "dense"):
        os.makedirs(f"{HERE}/{name}-golden", exist_ok=True)
        golden(f"{HERE}/{name}-golden", f"{HERE}/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
