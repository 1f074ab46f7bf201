"""Train one pocket model, or go on where a run was stopped.

    python models/train.py pocket-s          (add --fresh to begin again)

Needs `pip install .[train]`. Runs on a GPU if there is one, otherwise on the CPU; a checkpoint is written every minute.
"""

import argparse
import os
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from config import CHECKPOINTS, CONTEXT, FAMILY, TOKENIZER, Config
from corpus import PROMPT_WEIGHT, documents
from model import Llama
from tokenizers import Tokenizer

SEED = 0
CHECKPOINT_EVERY_S = 60
SHORT = 128  # tokens in a window at first


def token_stream(n_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """The corpus as token ids and, for each, whether it counts in full; generated once, then read from disk."""
    path = CHECKPOINTS / f"stream-{n_tokens}.npz"
    if not path.exists():
        print(f"generating {n_tokens:,} tokens of corpus, about a minute", flush=True)
        tokenizer, stream = Tokenizer.from_file(str(TOKENIZER)), documents(SEED)
        ids, full = [], []
        while len(ids) < n_tokens:
            segments = [segment for document in islice(stream, 2000) for segment in document]
            for (_, weight), encoding in zip(segments, tokenizer.encode_batch([text for text, _ in segments])):
                ids += encoding.ids
                full += [weight == 1.0] * len(encoding.ids)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, ids=np.array(ids, dtype=np.uint16), full=np.array(full))
        os.replace(partial, path)
    data = np.load(path)
    return data["ids"], data["full"]


def windows(ids: np.ndarray, length: int) -> np.ndarray:
    """Where each window begins: every `length` tokens, moved back to a document's beginning if one is near."""
    documents_begin = np.concatenate([[0], np.flatnonzero(ids == 0) + 1])
    starts = np.arange(0, len(ids) - length - 1, length)
    nearest = documents_begin[np.searchsorted(documents_begin, starts, side="right") - 1]
    return np.where(starts - nearest < length // 4, nearest, starts)


def steps(ids: np.ndarray, c: Config) -> list[tuple[int, np.ndarray]]:
    """Each step's window length and window starts: the same number of tokens a step, in short windows at first.

    In a short window there is little to look at, so a model finds out much sooner where a copied word comes from.
    """
    tokens_a_step, begin, plan = c.batch * CONTEXT, c.skip, []
    for length, end in ((SHORT, c.skip + int(c.short * c.tokens)), (CONTEXT, c.skip + c.tokens)):
        starts, per_step = begin + windows(ids[begin:end], length), tokens_a_step // length
        plan += [(length, starts[i:i + per_step]) for i in range(0, len(starts) - per_step + 1, per_step)]
        begin = end
    return plan


def learning_rate_share(step: int, n_steps: int, c: Config) -> float:
    """1 in the middle, rising from 0 at the beginning, falling to 0 at the end."""
    return min(1.0, (step + 1) / (c.warm_up * n_steps), (n_steps - step) / (c.decay * n_steps))


def optimizers(model: Llama, c: Config) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings and norms."""
    matrices = [p for p in model.blk.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if all(p is not m for m in matrices)]
    return [torch.optim.Muon(matrices, lr=c.matrix_lr, weight_decay=0.01, momentum=0.95, ns_steps=3),
            torch.optim.AdamW(others, lr=c.other_lr, weight_decay=0.0, betas=(0.9, 0.98))]


@torch.no_grad()
def grow(model: Llama, small: dict[str, torch.Tensor]) -> None:
    """Begin where a smaller model ended: its blocks, wider by units that do nothing yet, and between them blocks that
    do nothing yet. The larger model then says what the smaller one says, and goes on learning with more room."""
    n_small = 1 + max(int(name.split(".")[1]) for name in small if name.startswith("blk."))
    apart = len(model.blk) // n_small
    own = model.state_dict()
    for name, tensor in small.items():
        if name.startswith("blk."):
            _, i, rest = name.split(".", 2)
            name = f"blk.{int(i) * apart}.{rest}"
            if rest == "ffn_down.weight":
                own[name].zero_()
        own[name][tuple(slice(0, n) for n in tensor.shape)] = tensor


def save(state: dict, path: Path) -> None:
    """Write a checkpoint in one step: a run killed while writing keeps its last one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def train(c: Config, fresh: bool = False, stop_at: int | None = None) -> None:
    """Train to the end, or to a step at which to stop for now."""
    CHECKPOINTS.mkdir(exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    model = Llama(c)
    path, step, seconds = CHECKPOINTS / f"{c.name}.pt", 0, 0.0
    again = path.exists() and not fresh
    if c.grown_from and not again:
        smaller = CHECKPOINTS / f"{c.grown_from}.pt"
        if not smaller.exists():
            raise SystemExit(f"{c.name} begins as {c.grown_from}: first run  python models/train.py {c.grown_from}")
        grow(model, torch.load(smaller, map_location="cpu")["model"])
    model.to(device)
    opts = optimizers(model, c)
    if again:
        state = torch.load(path, map_location=device)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"]):
            opt.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]

    ids, full = token_stream(max(member.skip + member.tokens for member in FAMILY.values()) + CONTEXT)
    plan = steps(ids, c)
    n_steps = len(plan)
    print(f"{c.name}: {c.n_parameters:,} parameters, {n_steps} steps of {c.batch * CONTEXT} tokens on {device}, from step {step}", flush=True)

    @torch.compile
    def loss_of(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(x)
        losses = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none")
        return (losses * weight.flatten()).sum() / weight.sum()

    began, saved_at, running = time.time() - seconds, time.time(), None
    while step < min(n_steps, stop_at or n_steps):
        length, starts = plan[step]
        rows = starts[:, None] + np.arange(length + 1)
        window = torch.from_numpy(ids[rows].astype(np.int64)).to(device)
        weight = torch.from_numpy(np.where(full[rows[:, 1:]], 1.0, PROMPT_WEIGHT).astype(np.float32)).to(device)
        for opt, top in zip(opts, (c.matrix_lr, c.other_lr)):
            for group in opt.param_groups:
                group["lr"] = top * learning_rate_share(step, n_steps, c)
        loss = loss_of(window[:, :-1], window[:, 1:], weight)
        loss.backward()
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        step += 1
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if step % 20 == 0 or step == n_steps:
            elapsed = time.time() - began
            print(f"step {step}/{n_steps}  loss {running:.3f}  {elapsed / 60:.1f} min, about {elapsed / step * (n_steps - step) / 60:.1f} to go", flush=True)
        if time.time() - saved_at > CHECKPOINT_EVERY_S or step in (n_steps, stop_at):
            saved_at = time.time()
            save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in opts], "step": step,
                  "n_steps": n_steps, "seconds": time.time() - began, "loss": running}, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=list(FAMILY))
    parser.add_argument("--fresh", action="store_true", help="begin again, whatever checkpoint there is")
    arguments = parser.parse_args()
    train(FAMILY[arguments.model], arguments.fresh)
