#!/usr/bin/env python3
"""Writes search.txt and sampling.txt: what Hugging Face transformers 4.55.4 decodes.

    pip install torch transformers==4.55.4 && tests/golden/search/make.py

The model is a hash: the logits of the next token are a function of all tokens so far, the same few
lines here (logits_of) and in tests/runtime/test_search_golden.c. Everything else is generate() as it
is released, beam search, greedy and sampling, so a case that agrees does so for the decoding alone.

A case in which two things that are compared lie closer than GAP is drawn again: a difference there
would be one of rounding (the order of a sum), not of meaning. README.md describes the files.
"""
import pathlib
import random
import warnings

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation import LogitsProcessor, LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

GAP = 1e-5
EOS, CODE, PAD = 2, 5, 99999  # PAD is no id of the vocabulary, so it only ever marks the end
HERE = pathlib.Path(__file__).parent
U64 = np.uint64


def mix(x):
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = np.bitwise_xor(x, x >> U64(30)) * U64(0xBF58476D1CE4E5B9)
    x = np.bitwise_xor(x, x >> U64(27)) * U64(0x94D049BB133111EB)
    return np.bitwise_xor(x, x >> U64(31))


def logits_of(history, vocab, spread, bonus, seed):
    with np.errstate(over="ignore"):
        h = U64(seed)
        for token in history:
            h = mix(h + U64(token + 1) * U64(0x9E3779B97F4A7C15))
        u = mix(h + np.arange(1, vocab + 1, dtype=U64) * U64(0x9E3779B97F4A7C15)) >> U64(40)
    x = u.astype(np.float32) * np.float32(spread * 2.0**-24) - np.float32(spread / 2)
    x[EOS] += np.float32(bonus)
    return x


class HashConfig(PretrainedConfig):
    model_type = "hash"


class Encoder(torch.nn.Module):
    main_input_name = "input_ids"

    def forward(self, input_ids=None, **_):
        return BaseModelOutput(last_hidden_state=torch.zeros(*input_ids.shape, 1))


class HashModel(PreTrainedModel, GenerationMixin):
    """generate() unchanged, but for looking at what it compares."""

    config_class = HashConfig
    main_input_name = "input_ids"

    def __init__(self, vocab, spread, bonus, seed):
        super().__init__(HashConfig(vocab_size=vocab, is_encoder_decoder=True))
        self.hash = (vocab, spread, bonus, seed)
        self.dummy, self.encoder = torch.nn.Parameter(torch.zeros(1)), Encoder()
        self.gap, self.shortage = float("inf"), False

    def get_encoder(self):
        return self.encoder

    def prepare_inputs_for_generation(self, input_ids, encoder_outputs=None, **_):
        return {"decoder_input_ids": input_ids, "encoder_outputs": encoder_outputs}

    def forward(self, input_ids=None, decoder_input_ids=None, **_):
        rows = [logits_of(r, *self.hash) for r in decoder_input_ids.tolist()]
        return Seq2SeqLMOutput(logits=torch.from_numpy(np.stack(rows))[:, None, :])

    def see(self, values):
        """Values that are ordered: remember the smallest difference (of real ones)."""
        v = values[values > -1e8].double().sort().values
        if len(v) > 1:
            self.gap = min(self.gap, (v[1:] - v[:-1]).min().item())

    def _get_top_k_continuations(self, accumulated_log_probs, cur_len, beams_to_keep, **kw):
        if cur_len > 1:
            top = accumulated_log_probs.topk(beams_to_keep + 1).values[0]
            self.see(top)
            self.shortage |= bool(top[:beams_to_keep].min() < -1e8)
        return super()._get_top_k_continuations(
            accumulated_log_probs=accumulated_log_probs, cur_len=cur_len, beams_to_keep=beams_to_keep, **kw
        )

    def _update_finished_beams(self, **kw):
        out = super()._update_finished_beams(**kw)
        self.see(out[1][0])
        return out

    def _check_early_stop_heuristic(self, **kw):
        if kw["is_sent_finished"].all():
            n = (kw["cur_len"] - kw["decoder_prompt_len"]) ** kw["length_penalty"]
            self.see(torch.stack([kw["running_beam_scores"][0, 0] / n, kw["beam_scores"][0].min()]))
        return super()._check_early_stop_heuristic(**kw)


class SkipSpecial(LogitsProcessor):
    """Repetition penalty that leaves out the start token, the code and </s>. (Order is no matter: a
    banned token stays at -inf.)"""

    def __init__(self, penalty):
        self.penalty = penalty

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        for row, history in zip(scores, input_ids.tolist()):
            ids = sorted(set(history) - {EOS, CODE})
            row[ids] = torch.where(row[ids] < 0, row[ids] * self.penalty, row[ids] / self.penalty)
        return scores


def generate(model, c, **kw):
    skip = c["skip"] and c["penalty"] != 1
    config = GenerationConfig(
        num_beams=c["beam"], num_return_sequences=c["n_best"], max_length=c["max_length"],
        min_length=c["min_length"], no_repeat_ngram_size=c["ngram"], early_stopping=bool(c["early"]),
        length_penalty=c["length_penalty"], repetition_penalty=1.0 if skip else c["penalty"],
        forced_bos_token_id=CODE, decoder_start_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD,
        bos_token_id=0, use_cache=False, return_dict_in_generate=True, output_scores=True, output_logits=True, **kw,
    )
    prompt = torch.tensor([[EOS] if len(c["prompt"]) == 2 else c["prompt"]])
    return model.generate(
        torch.tensor([[7, 8, 2]]), decoder_input_ids=prompt, generation_config=config,
        logits_processor=LogitsProcessorList([SkipSpecial(c["penalty"])] if skip else []),
    )


def trim(ids, n_prompt):
    """Without the start token and what follows the end."""
    ids = [t for t in ids if t != PAD]
    for i in range(n_prompt, len(ids)):
        if ids[i] == EOS:
            return ids[1 : i + 1]
    return ids[1:]


def results_of(model, c):
    out = generate(model, c)
    n_prompt = len(c["prompt"])
    if c["beam"] > 1:
        found = zip(out.sequences_scores.tolist(), out.sequences.tolist())
        return [(score, trim(ids, n_prompt)) for score, ids in found if score > -1e8]
    # Greedy has no score there; ours is the mean log p of what was generated.
    for scores in out.scores[1 if n_prompt == 2 else 0 :]:
        model.see(scores[0].topk(2).values)
    logp = [torch.log_softmax(x[0].double(), -1) for x in out.logits]
    ids = trim(out.sequences[0].tolist(), n_prompt)
    if n_prompt == 2:
        total, n = sum(p[t].item() for p, t in zip(logp[1:], ids[1:])), len(ids)
    else:
        new = ids[n_prompt - 1 :]
        total, n = sum(p[t].item() for p, t in zip(logp, new)), len(new)
    return [(total / n, ids)]


def draw_case(rng):
    beam = rng.choice([1, 1, 2, 3, 4, 4, 5, 8, 16])
    vocab = rng.randint(max(20, 2 * beam + 10), 60)
    prefix = [rng.randrange(3, vocab) for _ in range(rng.choice([0, 0, 0, 1, 2, 4]))]
    prompt = [EOS, CODE] + prefix
    longest = rng.choice([2, 3, 4, 6, 8, 10, 14, 19, 19, 19])  # not 20: that is its default, to which it adds 1
    return {
        "beam": beam, "n_best": rng.choice([1, beam, rng.randint(1, beam)]),
        "max_length": max(longest, len(prompt) + (1 if prefix else 0)),
        "min_length": rng.choice([0, 0, 0, 4, 7, 30]), "ngram": rng.choice([0, 0, 0, 1, 2, 3]),
        "early": rng.choice([0, 0, 1]), "length_penalty": rng.choice([1.0, 1.0, 0.0, 0.5, 2.0, -1.0]),
        "penalty": rng.choice([1.0, 1.0, 1.2, 0.8]), "skip": rng.choice([0, 0, 1]),
        "vocab": vocab, "spread": rng.choice([4, 8, 16]), "bonus": rng.choice([0.0, 2.0, 4.0, 6.0, 8.0]),
        "seed": rng.getrandbits(48), "prompt": prompt,
    }


NUMBERS = ["beam", "n_best", "max_length", "min_length", "ngram", "early", "length_penalty", "penalty", "skip"]
MODEL = ["vocab", "spread", "bonus", "seed"]


def head(c, names):
    prompt = [len(c["prompt"])] + c["prompt"]
    return " ".join(f"{c[k]:g}" if isinstance(c[k], float) else str(c[k]) for k in names) + "  " + " ".join(
        map(str, prompt)
    )


def write_search(n_cases):
    rng, lines, drawn = random.Random(1), [], 0
    while len(lines) < n_cases:
        c = draw_case(rng)
        drawn += 1
        model = HashModel(*(c[k] for k in MODEL))
        results = results_of(model, c)
        if model.gap < GAP or model.shortage:
            continue
        tail = [f"  {score:.8g} {len(ids)} " + " ".join(map(str, ids)) for score, ids in results]
        lines.append(head(c, NUMBERS + MODEL) + f"  {len(results)}" + "".join(tail))
    (HERE / "search.txt").write_text("\n".join(lines) + "\n")
    print(f"search: {n_cases} cases of {drawn} drawn")


def write_sampling(n_cases):
    rng, lines = random.Random(2), []
    while len(lines) < n_cases:
        c = draw_case(rng) | {"beam": 1, "n_best": 1, "early": 0, "length_penalty": 1.0, "skip": 0}
        history = [EOS, CODE] + [rng.randrange(c["vocab"]) for _ in range(rng.randint(1, 8))]
        c |= {"prompt": history, "max_length": len(history) + 1, "min_length": rng.choice([0, 30]),
              "top_k": rng.choice([0, 1, 3, 10]), "top_p": rng.choice([1.0, 0.9, 0.5, 0.1]),
              "temperature": rng.choice([1.0, 0.5, 2.0])}
        model = HashModel(*(c[k] for k in MODEL))
        warped = generate(model, c, do_sample=True, top_k=c["top_k"], top_p=c["top_p"],
                          temperature=c["temperature"]).scores[0][0].double()
        whole = generate(model, c, do_sample=True, top_k=c["top_k"], top_p=1.0,
                         temperature=c["temperature"]).scores[0][0].double()
        model.see(whole)
        edge = (torch.softmax(whole, -1).sort(descending=True).values.cumsum(-1) - c["top_p"]).abs().min()
        if model.gap < GAP or (c["top_p"] < 1 and edge < GAP):
            continue
        p = torch.softmax(warped, -1).tolist()
        kept = [i for i in range(c["vocab"]) if p[i] > 0]
        names = ["ngram", "min_length", "penalty", "top_k", "top_p", "temperature"]
        lines.append(head(c, names + MODEL) + f"  {len(kept)}  " + " ".join(f"{i} {p[i]:.6g}" for i in kept))
    (HERE / "sampling.txt").write_text("\n".join(lines) + "\n")
    print(f"sampling: {n_cases} cases")


if __name__ == "__main__":
    assert transformers.__version__ == "4.55.4", transformers.__version__
    warnings.simplefilter("ignore")  # minimum lengths that cannot be had are cases, too
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    write_search(1000)
    write_sampling(80)
