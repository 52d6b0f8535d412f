"""safetensors_check.py SOURCE QUANTISED - see safetensors.sh."""

import json
import os
import sys

import ml_dtypes
import numpy as np
from safetensors import safe_open


def tensors(folder):
    """Name -> raw array; numpy has no bf16 of its own, so files are read by their headers where it is needed."""
    path = os.path.join(folder, "model.safetensors")
    with safe_open(path, framework="np") as f:  # checks offsets, holes, shapes
        names, metadata = set(f.keys()), f.metadata()
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(size))
        data = f.read()
    types = {"F32": np.float32, "BF16": ml_dtypes.bfloat16, "F16": np.float16, "I8": np.int8, "U8": np.uint8}
    out = {}
    for name in names:
        t = header[name]
        begin, end = t["data_offsets"]
        out[name] = np.frombuffer(data[begin:end], types[t["dtype"]]).reshape(t["shape"])
    return out, metadata


def matrix(q, scale, k, group):
    """[out, in] from panels."""
    if q.dtype == np.int8:
        w = q.transpose(0, 2, 1, 3).reshape(q.shape[0] * 16, -1).astype(np.float32)
    else:
        nibbles = np.concatenate([q & 15, q >> 4], axis=3).astype(np.float32) - 8
        w = nibbles.transpose(0, 2, 1, 3).reshape(q.shape[0] * 16, -1)
    s = scale.transpose(0, 2, 1).reshape(q.shape[0] * 16, -1)
    return w[:, :k] * np.repeat(s, group or k, axis=1)[:, :k]


def main(source, quantised):
    src, _ = tensors(source)
    new, metadata = tensors(quantised)
    with open(os.path.join(quantised, "config.json")) as f:
        weights = json.load(f)["dragoman"]["weights"]
    bound = {"int8": 0.01, "int4": 0.2}[weights["experts"]]
    checked = wrong = 0
    for name, q in new.items():
        assert name.startswith("pad.") or len(metadata[name]) == 16, name
        if not name.endswith(".q") or ".expert_" not in name:
            continue
        stem = name[: -len(".q")]
        want = src.get(stem, src.get("model." + stem)).astype(np.float32)
        n, k = want.shape
        got = matrix(q, new[stem + ".scale"], k, weights["group"])
        assert not got[n:].any(), f"{name}: padding is not zero"
        error = np.sqrt(((got[:n] - want) ** 2).sum() / (want**2).sum())
        checked += 1
        wrong += error > bound
    print(f"experts {weights['experts']}, group {weights['group']}: {checked} matrices, {wrong} beyond {bound}")
    return 1 if wrong or not checked else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
