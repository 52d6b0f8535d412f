#!/usr/bin/env python3
"""Writes the files of this folder as torch.save and Hugging Face write them (README.md).

usage: make.py     in an environment with: torch transformers==4.55.4 safetensors
"""
import os
import shutil
import zipfile
from collections import OrderedDict

import torch
from transformers import NllbMoeConfig, NllbMoeModel

HERE = os.path.dirname(os.path.abspath(__file__))


def tensors():
    """Types, shapes, tied names and views of one storage."""
    base = torch.arange(24, dtype=torch.float32) / 8
    f16 = (torch.arange(6) - 2.5).to(torch.float16)
    return OrderedDict(
        f32=torch.arange(12, dtype=torch.float32).reshape(3, 4) / 4, f16=f16, tied=f16, bf16=torch.ones(2, 3, dtype=torch.bfloat16),
        i64=torch.tensor([1, -1]), scalar=torch.tensor(0.5), empty=torch.zeros(0, 7), four=torch.zeros(2, 1, 3, 1),
        whole=base.reshape(4, 6), rows=base.reshape(4, 6)[2:], last=base[23:])


class Shell(torch.nn.Module):
    """A module, so that its state has versions of modules beside its tensors."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)
        self.inner.weight.data = torch.arange(6, dtype=torch.float32).reshape(2, 3)
        self.inner.bias.data = torch.arange(2, dtype=torch.float32)


class Call:
    """What a hostile file does: asks its reader to call something."""

    def __reduce__(self):
        return os.system, ("touch /tmp/dragoman-was-here",)


def zip64(name):
    """tensors.bin again, with all sizes and places in fields of 64 bits, as in files of more than 4 GB."""
    zipfile.ZIP64_LIMIT = 0
    with zipfile.ZipFile(f"{HERE}/tensors.bin") as old, zipfile.ZipFile(f"{HERE}/{name}", "w", zipfile.ZIP_STORED) as new:
        for entry in old.namelist():
            new.writestr(zipfile.ZipInfo(entry), old.read(entry))


def files():
    torch.save(tensors(), f"{HERE}/tensors.bin")
    zip64("zip64.bin")
    torch.save(Shell().state_dict(), f"{HERE}/module.bin")
    torch.save({"a": torch.zeros(2, 3).t()}, f"{HERE}/transposed.bin")
    torch.save({"a": torch.zeros(4)[::2]}, f"{HERE}/strided.bin")
    torch.save({"a": torch.zeros(2), "epoch": 3}, f"{HERE}/number.bin")
    torch.save({"model": {"a": torch.zeros(2)}}, f"{HERE}/nested.bin")
    torch.save([torch.zeros(2)], f"{HERE}/list.bin")
    torch.save(torch.zeros(2), f"{HERE}/bare.bin")
    torch.save({"a": Call()}, f"{HERE}/call.bin")
    torch.save({"a": torch.nn.Parameter(torch.zeros(2))}, f"{HERE}/parameter.bin")
    torch.save({"a": torch.zeros(2)}, f"{HERE}/legacy.bin", _use_new_zipfile_serialization=False)


def models():
    """One small model three times: as safetensors, as one .bin, as shards of .bin with their index."""
    torch.manual_seed(1)
    config = NllbMoeConfig(
        vocab_size=23, d_model=8, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=12, decoder_ffn_dim=12, num_experts=2, encoder_sparse_step=2, decoder_sparse_step=2, expert_capacity=64,
        max_position_embeddings=16, moe_eval_capacity_token_fraction=1.0, moe_token_dropout=0.2, router_dtype="float32")
    model = NllbMoeModel(config).to(torch.bfloat16)
    for name, options in (("safetensors", dict(safe_serialization=True)), ("one", dict(safe_serialization=False)),
                          ("shards", dict(safe_serialization=False, max_shard_size="4KB"))):
        shutil.rmtree(f"{HERE}/{name}", ignore_errors=True)
        model.save_pretrained(f"{HERE}/{name}", **options)


if __name__ == "__main__":
    files()
    models()
