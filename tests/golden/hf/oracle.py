"""What Hugging Face transformers does with one sentence, with the margin by which it decided.

The oracle is transformers 4.55.4 unmodified: fp32, eager attention, one sentence a batch, no padding. Hooks
only read. Used by make.py here and by ../random128/make.py.
"""
import gzip
import math
import struct

import torch
import transformers
from transformers import AutoConfig, AutoModelForSeq2SeqLM, NllbTokenizer

WANT = "4.55.4"
EOS = 2
START = 2
FAR = 9.0  # margins are capped here: larger ones excuse nothing


def open_model(path):
    """-> (model, tokenizer). The slow tokenizer: source [code] pieces </s>."""
    if transformers.__version__ != WANT:
        raise SystemExit(f"transformers: want {WANT}, found {transformers.__version__}, which computes other values")
    torch.set_num_threads(1)
    config = AutoConfig.from_pretrained(path)
    model = AutoModelForSeq2SeqLM.from_pretrained(
        path, config=config, torch_dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tok = NllbTokenizer.from_pretrained(path)
    return model, tok


class Margins:
    """Reads how close each decision was: router calls and the steps of greedy and beam search."""

    def __init__(self, model):
        self.router, self.search = [], []
        for name, module in model.named_modules():
            if name.endswith("router.classifier"):
                module.register_forward_hook(self._route)
        self._top, self._hits, self._beam = None, None, 1
        for name in ("_get_top_k_continuations", "_get_running_beams_for_next_iteration",
                     "_update_finished_beams", "_check_early_stop_heuristic"):
            self._wrap(model, name, getattr(self, name))

    def clear(self):
        self.router, self.search = [], []

    @staticmethod
    def _wrap(model, name, look):
        inner = getattr(model, name)

        def outer(**kw):
            out = inner(**kw)
            look(kw, out)
            return out
        setattr(model, name, outer)

    def _route(self, _module, _args, logits):
        """Smallest gap between the 2nd and 3rd logit over the call's tokens, relative to max |logit|."""
        top = logits.topk(3, -1).values
        self.router.append(((top[:, 1] - top[:, 2]) / logits.abs().amax(-1)).min().item())

    # One decoder step calls the four below in this order. Everything is in units of summed log p.
    def _get_top_k_continuations(self, kw, _out):
        self._beam = kw["num_beams"]
        self._top = kw["accumulated_log_probs"][0].topk(2 * self._beam + 1).values.tolist()

    def _get_running_beams_for_next_iteration(self, kw, _out):
        """Which candidates go on: the beam-th best that does not end against the next one. And an ending
        candidate is final only among the first `beam` ranks: how far is it from that border?"""
        k, hits = self._beam, kw["next_token_hits_stopping_criteria"][0].tolist()
        gap = FAR
        go = [s for s, h in zip(self._top, hits + [False]) if not h]
        if len(go) > k:
            gap = min(gap, go[k - 1] - go[k])
        if any(hits) and not all(hits):
            inside = [s for s, h in zip(self._top[:k], hits[:k]) if h]
            outside = [s for s, h in zip(self._top[k:], hits[k:]) if h]
            gap = min([gap] + [s - self._top[k] for s in inside] + [self._top[k - 1] - s for s in outside])
        self._gap = gap

    def _update_finished_beams(self, kw, _out):
        """Which final hypotheses stay, and their order."""
        n = (kw["cur_len"] + 1 - kw["decoder_prompt_len"]) ** kw["length_penalty"]
        new = kw["topk_log_probs"][0] / n
        new = new[(kw["next_token_hits_stopping_criteria"][0] & kw["top_num_beam_mask"])]
        old = kw["beam_scores"][0][kw["is_sent_finished"][0]]
        all_ = sorted(new.tolist() + old.tolist(), reverse=True)[: self._beam + 1]
        for a, b in zip(all_, all_[1:]):
            self._gap = min(self._gap, (a - b) * n)

    def _check_early_stop_heuristic(self, kw, _out):
        """Stop or go on: the best running hypothesis against the worst final one."""
        if bool(kw["is_sent_finished"].all()):
            n = (kw["cur_len"] - kw["decoder_prompt_len"]) ** kw["length_penalty"]
            best = kw["running_beam_scores"][0, 0].item() / n
            if best > -1e8:
                self._gap = min(self._gap, abs(best - kw["beam_scores"][0].min().item()) * n)
        self.search.append(min(FAR, max(0.0, self._gap)))


def encode(tok, text, code):
    """Text -> [code, pieces, </s>]."""
    tok.src_lang = code
    return tok(text).input_ids


def pieces(tok, text):
    return tok(text, add_special_tokens=False).input_ids


def code_id(tok, code):
    return tok.convert_tokens_to_ids(code)


def generate(model, margins, source, code, beam, options):
    """One sentence through generate(). -> list of hypotheses (best first) and the margins.

    options: rep (repetition_penalty), ngram (no_repeat_ngram_size), min, max (lengths, start token counted),
    lp (length_penalty), early (early_stopping), prefix (target ids after the code), n_best.
    """
    margins.clear()
    prefix = options.get("prefix")
    kw = dict(
        input_ids=torch.tensor([source]),
        attention_mask=torch.ones(1, len(source), dtype=torch.long),
        num_beams=beam,
        do_sample=False,
        max_length=options.get("max", 200),
        repetition_penalty=options.get("rep", 1.0),
        no_repeat_ngram_size=options.get("ngram", 0),
        min_length=options.get("min", 0),
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
    )
    if beam > 1:
        kw.update(length_penalty=options.get("lp", 1.0), early_stopping=bool(options.get("early", 0)),
                  num_return_sequences=options.get("n_best", 1))
    if prefix:  # the prompt is [start, code, prefix]: it counts in the length, not in the score
        kw["decoder_input_ids"] = torch.tensor([[START, code] + prefix])
    else:
        kw["forced_bos_token_id"] = code
    with torch.no_grad():
        out = model.generate(**kw)
    n_layers = len(model.get_encoder().layers)
    moe_enc = sum(1 for l in model.get_encoder().layers if getattr(l, "is_sparse", False))
    moe_dec = sum(1 for l in model.get_decoder().layers if getattr(l, "is_sparse", False))
    assert n_layers and len(margins.router) == moe_enc + moe_dec * len(out.scores)
    enc = min(margins.router[:moe_enc], default=FAR)
    dec = [min(margins.router[moe_enc + i * moe_dec: moe_enc + (i + 1) * moe_dec], default=FAR)
           for i in range(len(out.scores))]
    if beam == 1:
        return _greedy(out, code, prefix, enc, dec)
    hyps = []
    for ids, score in zip(out.sequences.tolist(), out.sequences_scores.tolist()):
        ids = ids[1:]
        while ids[-1] == 1:  # shorter ones are padded to the longest
            ids.pop()
        hyps.append((score, ids))
    return dict(hyps=hyps, steps=margins.search, enc=enc, dec=dec)


def _greedy(out, code, prefix, enc, dec):
    """Score: sum of log p (of the model's own logits) / n; n counts the code unless the prompt gave it."""
    ids = out.sequences[0].tolist()[1:]
    first = 1 + len(prefix) if prefix else 0
    total, steps = 0.0, []
    for step, (raw, done) in enumerate(zip(out.logits, out.scores)):
        token = ids[first + step]
        forced = step == 0 and not prefix
        if not forced:
            total += torch.log_softmax(raw[0], -1)[token].item()
        top = done[0].topk(2).values
        steps.append(FAR if forced else min(FAR, (top[0] - top[1]).item()))
    n = len(ids) - first
    return dict(hyps=[(total / n, ids)], steps=steps, enc=enc, dec=dec)


def force(model, source, target):
    """Teacher forcing. target: [code, pieces, </s>] -> (logits [n, vocab] of what follows the code, encoder output)."""
    with torch.no_grad():
        out = model(input_ids=torch.tensor([source]), attention_mask=torch.ones(1, len(source), dtype=torch.long),
                    decoder_input_ids=torch.tensor([[START] + target[:-1]]), use_cache=False)
    return out.logits[0, 1:], out.encoder_last_hidden_state[0]


def log_p(logits, target):
    lp = torch.log_softmax(logits, -1)
    return [lp[i, t].item() for i, t in enumerate(target[1:])]


# ---- files ------------------------------------------------------------------------------------------------

def ints(xs):
    return " ".join(map(str, xs)) if xs else "-"


def margin(x):
    """Three digits are enough: it is only compared with a limit. Rounded down: the limits are powers
    of ten, which that never crosses."""
    if x >= 1:
        return "1"
    if x <= 0:
        return "0"
    e = math.floor(math.log10(x)) - 1
    return f"{math.floor(x / 10 ** e) * 10.0 ** e:.1e}"


def margins_text(xs):
    return " ".join(margin(x) for x in xs) if xs else "-"


ROW = ("# source, target, line, repetition_penalty, no_repeat_ngram_size, min_length, max_length, length_penalty, "
       "early_stopping, prefix ids, rank, score, ids after the start token, "
       "margin of each step, router margin of the encoder, router margin of each decoder step\n")
HEAD = {"greedy": ROW, "beam4": ROW, "sources": "# language, line, ids with code and </s>\n",
        "forced": "# source, target, line, ids after the start token, log p of those after the code\n"}


def row(where, o, rank, score, ids, r):
    """One hypothesis. where: source, target, line. The margins stand with the best one only."""
    cells = [where, o.get("rep", 1), o.get("ngram", 0), o.get("min", 0), o.get("max", 200), o.get("lp", 1),
             o.get("early", 0), ints(o.get("prefix", [])), rank, f"{score:.7g}", ints(ids)]
    if rank == 0:
        cells += [margins_text(r["steps"]), margin(r["enc"]), margins_text(r["dec"])]
    else:
        cells += ["-", "-", "-"]
    return "\t".join(map(str, cells)) + "\n"


def forced_row(model, tok, where, text, reference):
    """log p of each token of a given target."""
    src, tgt = where.split("\t")[:2]
    target = [code_id(tok, tgt)] + pieces(tok, reference) + [EOS]
    logits, _ = force(model, encode(tok, text, src), target)
    return f"{where}\t{ints(target)}\t" + " ".join(f"{x:.7g}" for x in log_p(logits, target)) + "\n"


def write_gz(path, data):
    """Same data, same bytes: no name and no time in the gzip header."""
    data = data.encode() if isinstance(data, str) else data
    with open(path, "wb") as f, gzip.GzipFile(filename="", mode="wb", fileobj=f, mtime=0, compresslevel=9) as z:
        z.write(data)


class Tensors:
    """Named f32 matrices: an index of `name rows cols` lines and one flat little-endian file, gzip."""

    def __init__(self):
        self.index, self.parts = [], []

    def add(self, name, t):
        t = t.detach().to(torch.float32).contiguous()
        self.index.append(f"{name}\t{t.shape[0]}\t{t.shape[1]}\n")
        self.parts.append(struct.pack(f"<{t.numel()}f", *t.flatten().tolist()))

    def write(self, stem):
        head = "# kind, source, target, line, step, rows, columns of the matrices one after another in tensors.f32.gz\n"
        write_gz(stem + ".tsv.gz", head + "".join(self.index))
        write_gz(stem + ".f32.gz", b"".join(self.parts))
