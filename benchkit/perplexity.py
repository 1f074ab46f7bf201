"""How well a model predicts a text: perplexity as llama.cpp's own `llama-perplexity` computes it.

    perplexity("gguf:pocket-s")                                              on the text that ships with benchkit
    perplexity("gguf:pocket-s:Q4_K_M", text="mine.txt", against="gguf:pocket-s")

The text becomes tokens once and is cut into windows that do not overlap. Each window is read with an empty
memory, and only its second half is scored, so that every scored token has at least half a window before it.
The model works in a child process (`python -m benchkit.perplexity_child`), as all models do: a damaged file
can crash it, and then only the child is gone.

Perplexities can be compared only where tokenizer, text and window are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import places
from .backends import gguf, locate
from .errors import BenchkitError, ModelError
from .gguf_header import Header, read_header
from .stats import percentile
from .text import number

#: Prose that the shipped models never saw, 205 thousand of their tokens.
DEFAULT_TEXT = places.MODELS / "eval_text.txt"
SMALLEST_WINDOW = 8  # llama.cpp reads at most 256 windows at a time, and reads 2,048 tokens at a time
BLOCK_VALUES = 1 << 16  # logits that are worked on at a time: what a processor's cache holds
LARGER_TEXT = (
    "A larger text that many use is wiki.test.raw (1.3 MB), in "
    "https://huggingface.co/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip"
)

#: Told after some windows: how many are done, of how many, and the perplexity so far.
OnProgress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Divergence:
    """How far a model's predictions are from a reference's, at the same positions. KLD is in nat."""

    reference: str
    reference_perplexity: float
    kld: float
    kld_se: float
    kld_median: float
    kld_p99: float | None
    kld_max: float
    same_top_share: float
    same_top_share_se: float
    ln_ppl_difference: float
    ln_ppl_difference_se: float


@dataclass(frozen=True)
class Perplexity:
    """A perplexity with its standard error, and all that it depends on.

    `se` treats the windows as the sample: tokens of one window share its topic. `se_llama_cpp` is what llama.cpp
    prints, as if every token were on its own. `text_sha256` is of the file as it lies on the disk. `bos` says
    whether every window begins with the start token. `seconds` are those of the windows, without loading. Two models
    are compared window by window, `nll_by_window` (mean −ln p, in nat), if text, windows and vocabulary are the same.
    """

    model: str
    perplexity: float
    se: float
    se_llama_cpp: float
    n_scored: int
    n_tokens: int
    n_windows: int
    window: int
    stride: int
    bos: bool
    text: str
    text_sha256: str
    n_threads: int
    seconds: float
    against: Divergence | None = None
    vocabulary_sha256: str = ""
    nll_by_window: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what was measured against a reference stands beside the rest."""
        facts = asdict(self)
        return facts | (facts.pop("against") or {})


@dataclass(frozen=True)
class Scores:
    """What the child sends: one value for each window and scored token, all arrays of one shape; nat."""

    nll: np.ndarray
    reference_nll: np.ndarray | None
    kld: np.ndarray | None
    same_top: np.ndarray | None
    facts: dict[str, Any]  # n_tokens, bos, seconds


# ---------------------------------------------------------------- formulas


def token_nll(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How surprised a model was by each token that came: −ln softmax(logits)[target].

    `logits` has a row for each position and a column for each token of the vocabulary; one value a row, in nat.
    A block of rows at a time is computed, in float32 as llama.cpp does, so that it stays in the cache.

    >>> token_nll(np.zeros((2, 4), np.float32), np.array([0, 3])).round(4)    # ln 4: each of 4 is as likely
    array([1.3863, 1.3863])
    """
    found = np.empty(len(targets))
    step = max(1, BLOCK_VALUES // logits.shape[1])
    scratch = np.empty((min(step, len(targets)), logits.shape[1]), logits.dtype)
    for at in range(0, len(targets), step):
        rows, wanted = logits[at : at + step], targets[at : at + step]
        part = scratch[: len(rows)]
        top = rows.max(axis=1)
        np.exp(np.subtract(rows, top[:, None], out=part), out=part)
        chosen = rows[np.arange(len(rows)), wanted] - top
        found[at : at + step] = np.log(part.sum(axis=1).astype(np.float64)) - chosen
    return found


def token_kld(logits: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each prediction is from the reference's: Σ p_ref · ln(p_ref / p) over the whole vocabulary.

    Both have a row for each position. Returns the divergence of each row (nat, never below 0 but for rounding)
    and whether both hold the same token for the most likely. Source: Kullback and Leibler, 1951.

    >>> kld, same = token_kld(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]]))
    >>> kld.round(4), same                                       # ¼ ln ½ + ¾ ln 1½
    (array([0.1308]), array([False]))
    """
    kld = np.empty(len(logits))
    step = max(1, BLOCK_VALUES // logits.shape[1])
    for at in range(0, len(logits), step):
        ours, theirs = _log_softmax(logits[at : at + step]), _log_softmax(reference[at : at + step])
        ours[theirs == -np.inf] = 0.0  # what the reference rules out adds nothing
        theirs_p = np.exp(theirs)
        kld[at : at + step] = np.sum(theirs_p * (np.where(theirs_p > 0, theirs, 0.0) - ours), axis=1)
    return kld, logits.argmax(axis=1) == reference.argmax(axis=1)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def mean_by_window(values: np.ndarray) -> tuple[float, float]:
    """The mean of values that come in windows (a row each), and its standard error, clustered by window.

    The windows are of equal length, so it is the standard deviation of their means / √(number of windows), in
    the values' own unit; NaN for a single window. With few windows it is itself uncertain, by about
    1 / √(2 · windows). Source: the cluster-robust variance of a mean; Miller, Adding Error Bars to Evals, 2024.

    >>> mean_by_window(np.array([[1.0, 3.0], [3.0, 5.0]]))
    (3.0, 1.0)
    """
    means = values.mean(axis=1)
    se = means.std(ddof=1) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return float(means.mean()), float(se)


def perplexity_of(nll: np.ndarray) -> tuple[float, float, float]:
    """Perplexity, its standard error clustered by window, and the standard error that llama.cpp prints.

    `nll` is −ln p of each scored token in nat, a row for each window. Perplexity = exp(mean): as hard as choosing
    among so many equally likely tokens. It has no unit. Both errors are those of the mean times the perplexity
    (delta method). Source: Jelinek and others, 1977; llama.cpp, tools/perplexity.

    >>> ppl, se, se_llama_cpp = perplexity_of(np.log([[2.0, 8.0], [4.0, 4.0]]))
    >>> round(ppl, 6), round(se, 6), round(se_llama_cpp, 3)
    (4.0, 0.0, 1.132)
    """
    mean, se = mean_by_window(nll)
    ppl = math.exp(mean)
    alone = nll.std() / math.sqrt(nll.size - 1) if nll.size > 1 else math.nan
    return ppl, ppl * se, ppl * float(alone)


def divergence_of(scores: Scores, reference: str) -> Divergence:
    """The summary of the divergences of all positions. llama.cpp's own differs a little, and is not chased:
    it keeps the reference's log-probabilities in a file, in 16 bits, and cuts off what is below exp(−16)."""
    kld, kld_se = mean_by_window(scores.kld)
    same, same_se = mean_by_window(scores.same_top)
    difference, difference_se = mean_by_window(scores.nll - scores.reference_nll)
    return Divergence(
        reference=reference,
        reference_perplexity=perplexity_of(scores.reference_nll)[0],
        kld=kld,
        kld_se=kld_se,
        kld_median=float(np.median(scores.kld)),
        kld_p99=percentile(scores.kld.ravel(), 99).value,
        kld_max=float(scores.kld.max()),
        same_top_share=same,
        same_top_share_se=same_se,
        ln_ppl_difference=difference,
        ln_ppl_difference_se=difference_se,
    )


# ---------------------------------------------------------------- a measurement


def perplexity(
    model: str,
    text: str | os.PathLike | None = None,
    *,
    window: int = 512,
    against: str | None = None,
    n_threads: int | None = None,
    progress: bool = True,
) -> Perplexity:
    """The perplexity of a GGUF model on a text; `against` a reference also how far their predictions differ.

    `model` and `against` are names such as `gguf:pocket-s:Q4_K_M`; `text` is a UTF-8 file (default: the prose that
    ships with benchkit), one line end at its end is dropped; `window` is an even number of tokens. Both models
    must have one vocabulary. Raises `BenchkitError` for what cannot be scored and `ModelError` for a model that
    cannot be loaded, each with what to do.

    >>> found = perplexity("gguf:pocket-xs", text=places.ROOT / "LICENSE", window=64, progress=False)
    >>> found.perplexity > 100, found.window, found.bos                  # it was never shown a licence
    (True, 64, False)
    """
    path = Path(DEFAULT_TEXT if text is None else text)
    data = _read(path)
    names = [name for name in (model, against) if name is not None]
    _check(names, window, n_threads)
    paths = [locate(name) for name in names]
    headers = list(map(read_header, paths))
    _check_models(names, headers, window)
    threads = n_threads or gguf.default_threads()
    with _bar(progress) as show:
        scores = score(paths, data, window, threads, show)
    value, se, se_llama_cpp = perplexity_of(scores.nll)
    return Perplexity(
        model=model,
        perplexity=value,
        se=se,
        se_llama_cpp=se_llama_cpp,
        n_scored=scores.nll.size,
        n_windows=len(scores.nll),
        window=window,
        stride=window,
        text=str(path),
        text_sha256=hashlib.sha256(data).hexdigest(),
        n_threads=threads,
        **scores.facts,
        against=divergence_of(scores, against) if against is not None else None,
        vocabulary_sha256=_vocabulary_sha256(headers[0]),
        nll_by_window=tuple(float(f"{nll:.6g}") for nll in scores.nll.mean(axis=1)),
    )


def _vocabulary_sha256(header: Header) -> str:
    tokens = header.metadata.get("tokenizer.ggml.tokens") or []
    return hashlib.sha256("\0".join(tokens).encode("utf-8", "backslashreplace")).hexdigest()


def as_text(found: Perplexity) -> str:
    """A measurement in a few lines.

    >>> print(as_text(Perplexity("gguf:m", 2.5, 0.02, 0.01, 255, 600, 1, 512, 512, False, "a.txt", "0f", 2, 1.0)))
    gguf:m: perplexity 2.5000 ± 0.0200 (standard error over windows; ± 0.0100 as llama.cpp counts)
    255 of 600 tokens scored: windows of 512, stride 512, without BOS; a.txt, sha256 0f
    """
    lines = [
        f"{found.model}: perplexity {found.perplexity:.4f} ± {found.se:.4f} (standard error over windows; "
        f"± {found.se_llama_cpp:.4f} as llama.cpp counts)",
        f"{found.n_scored:,} of {found.n_tokens:,} tokens scored: windows of {found.window}, stride {found.stride}, "
        f"with{'' if found.bos else 'out'} BOS; {found.text}, sha256 {found.text_sha256[:16]}",
    ]
    if d := found.against:
        lines += [
            f"against {d.reference}, perplexity {d.reference_perplexity:.4f}:",
            f"  ln PPL changes by {d.ln_ppl_difference:+.5f} ± {d.ln_ppl_difference_se:.5f}, "
            f"the perplexity by {100 * math.expm1(d.ln_ppl_difference):+.2f} %",
            f"  KLD in nat: mean {number(d.kld)} ± {number(d.kld_se)}, median {number(d.kld_median)}, "
            f"p99 {number(d.kld_p99)}, maximum {number(d.kld_max)}",
            f"  same most likely token at {100 * d.same_top_share:.2f} % ± {100 * d.same_top_share_se:.2f} of the positions",
        ]
    return "\n".join(lines)


# ---------------------------------------------------------------- what is refused, and why


def _read(path: Path) -> bytes:
    """The text's bytes. llama-perplexity takes any bytes; what is not UTF-8 would be scored as damage, not as text."""
    try:
        data = path.read_bytes()
        data.decode("utf-8")
    except OSError as error:
        raise BenchkitError(f"The text {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BenchkitError(
            f"The text {path} is not UTF-8: byte {error.start} cannot be read. Save it as UTF-8 first."
        ) from None
    return data


def _check(names: list[str], window: int, n_threads: int | None) -> None:
    for name in names:
        if str(name).startswith(("ollama:", "openai:", "replay:")):
            raise ModelError(
                f"{name}: perplexity needs the probability of every token of a text, which servers and recorded "
                "runs do not give. Name the model's GGUF file: gguf:PATH."
            )
    if not isinstance(window, int) or window < SMALLEST_WINDOW or window % 2:
        raise BenchkitError(
            f"A window of {window} cannot be scored by its second half: take an even number from {SMALLEST_WINDOW} up."
        )
    if n_threads is not None and not 1 <= n_threads <= 1024:
        raise BenchkitError(f"{n_threads} threads: a number from 1 to 1,024 is allowed.")


def _check_models(names: list[str], headers: list[Header], window: int) -> None:
    for name, header in zip(names, headers):
        largest = header.n_ctx_train
        if largest is not None and window > largest:
            raise BenchkitError(
                f"{name} was trained on {largest:,} tokens at a time, a window of {window:,} is more than it can "
                f"read. The largest window is {largest - largest % 2}."
            )
    if len(headers) == 2:
        _check_vocabularies(names, *(header.metadata.get("tokenizer.ggml.tokens") or [] for header in headers))


def _check_vocabularies(names: list[str], ours: list[str], theirs: list[str]) -> None:
    if ours == theirs:
        return
    both = zip(ours, theirs)
    first = next((i for i, (a, b) in enumerate(both) if a != b), min(len(ours), len(theirs)))
    raise BenchkitError(
        f"{names[0]} has a vocabulary of {len(ours):,} tokens, {names[1]} one of {len(theirs):,}, and they differ from "
        f"token {first} on: probabilities of different tokens cannot be compared. Take a reference with the "
        "same tokenizer, usually the same model as F16."
    )


# ---------------------------------------------------------------- the child


def score(
    paths: list[Path], data: bytes, window: int, n_threads: int, on_progress: OnProgress | None = None
) -> Scores:
    """−ln p of every scored token of a text, computed by a child process. With a second path, the reference,
    also that model's, and the divergences between both."""
    for path in paths:
        gguf.check_file(path, path.stem, n_gpu_layers=0)
    text = data.removesuffix(b"\n").decode("utf-8")
    request = {"paths": list(map(str, paths)), "text": text, "window": window, "n_threads": n_threads}
    answer = _ask(request, on_progress)
    if "too_short" in answer:
        raise BenchkitError(_too_short(answer["too_short"], window))
    if "failed" in answer:
        raise ModelError(answer["failed"])
    done = answer["done"]
    arrays = {name: np.array(done[name]) if name in done else None
              for name in ("nll", "reference_nll", "kld", "same_top")}  # fmt: skip
    return Scores(**arrays, facts=done["facts"])


def _too_short(n_tokens: int, window: int) -> str:
    smaller = n_tokens // 4 * 2
    advice = f"Take a window of at most {smaller}, or a longer text. " if smaller >= SMALLEST_WINDOW else ""
    return (
        f"The text has {n_tokens:,} tokens for this model, two windows of {window} need {2 * window:,}: with fewer "
        f"the number would say little. {advice}{LARGER_TEXT}"
    )


def _ask(request: dict[str, Any], on_progress: OnProgress | None) -> dict[str, Any]:
    """The child's answer. A child that ends without one, or an interruption here, leaves nothing behind."""
    with tempfile.TemporaryFile() as words:  # its standard error, read only if it crashes
        child = subprocess.Popen(
            [sys.executable, "-m", "benchkit.perplexity_child"],
            stdin=subprocess.PIPE,  # it ends when this pipe closes, so it cannot outlive us
            stdout=subprocess.PIPE,
            stderr=words,
            env=gguf.child_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        try:
            with contextlib.suppress(OSError):  # it is dead already: reading finds that out
                child.stdin.write(json.dumps(request).encode() + b"\n")
                child.stdin.flush()
            for line in child.stdout:
                message = json.loads(line) if line.endswith(b"\n") else {"progress": None}
                if "progress" not in message:
                    return message
                if on_progress and message["progress"]:
                    on_progress(*message["progress"])
            raise ModelError(_obituary(child.wait(), words, request["paths"]))
        finally:
            child.kill()
            child.wait()
            with contextlib.suppress(OSError):
                child.stdin.close()
            child.stdout.close()


def _obituary(code: int, words: Any, paths: list[str]) -> str:
    words.seek(0)
    lines = words.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
    said = f" Its last words: {' / '.join(lines[-3:])}" if lines else ""
    return (
        f"The engine process for {' and '.join(paths)} ended {gguf.how_it_ended(code)}.{said} A file may be damaged, or "
        "memory ran out: get the file again, or take a smaller model or window."
    )


@contextlib.contextmanager
def _bar(wanted: bool) -> Iterator[OnProgress]:
    """A progress bar on standard error, shown once there is progress."""
    from tqdm import tqdm

    fast = sys.stderr.isatty()
    with tqdm(
        unit="window", file=sys.stderr, disable=not wanted, delay=0.1, dynamic_ncols=fast, mininterval=0.2 if fast else 5.0
    ) as bar:

        def show(done: int, total: int, so_far: float) -> None:
            bar.total = total
            bar.set_postfix_str(f"perplexity {so_far:.4f}", refresh=False)
            bar.update(done - bar.n)

        yield show
