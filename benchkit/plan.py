"""A plan: which models, which prompts, which settings, how often. Validated before anything runs.

A plan is a YAML or JSON file, or is made from keywords with `make_plan`. Each entry under `load`
and `sampling` may be a list of values: the plan then covers their grid. One *configuration* is
one model with one choice of load and sampling settings; one *test* is one prompt and trial of it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from benchkit import places
from benchkit.errors import BenchkitError, did_you_mean
from benchkit.prompts import Prompt, PromptSet, load_prompts, repeated
from benchkit.stats import MAX_TRIALS

READY_PLANS = places.PROMPTS / "plans"

MAX_PLAN_BYTES = 1_000_000
MAX_TESTS = 1_000_000


# ---------------------------------------------------------------- records


@dataclass(frozen=True)
class Model:
    """A model as the plan names it, with what a reader of the results wants to know about it."""

    name: str
    label: str
    host: str | None = None
    family: str | None = None
    parameters: str | None = None
    type: str | None = None
    size: str | None = None
    download: str | None = None

    def to_dict(self) -> dict[str, str]:
        """The entry as a plan file holds it."""
        row = {"model": self.name, "label": self.label, "host": self.host, "family": self.family,
               "parameters": self.parameters, "type": self.type, "size": self.size, "download": self.download}  # fmt: skip
        return {key: value for key, value in row.items() if value is not None}

    def identity(self) -> dict[str, str]:
        """What decides the measurement: the model, what it is called, and on which server if the plan says so."""
        return {key: value for key, value in self.to_dict().items() if key in ("model", "label", "host")}


@dataclass(frozen=True)
class Speed:
    """The forced-length block: `repeats` prompts of about `n_prompt` tokens, `n_output` tokens each."""

    n_prompt: int = 64
    n_output: int = 128
    repeats: int = 10


@dataclass(frozen=True)
class Text:
    """The text for perplexity: a UTF-8 file (None: the prose that ships with benchkit), read in windows of tokens."""

    file: str | None = None
    window: int = 512


@dataclass(frozen=True)
class Configuration:
    """One model with one choice of settings; `label` tells it apart in every table."""

    label: str
    model: Model
    load: Mapping[str, Any]
    sampling: Mapping[str, Any]
    engine: str  # tests with equal `engine` share one loaded model


@dataclass(frozen=True)
class Test:
    """One prompt, one trial, one configuration: what becomes one artifact."""

    __test__ = False  # pytest: not a test case

    configuration: Configuration
    prompt_set: str
    prompt_set_sha256: str
    prompt: Prompt
    trial: int
    purpose: str  # "quality": stops by itself; "speed": length forced
    options: Mapping[str, Any]
    n_prompt: int | None = None  # speed only: the text is made to this length in the model's own tokens

    @cached_property
    def key(self) -> str:
        """SHA-256 over everything that decides what is measured; equal keys are never measured twice."""
        what = {
            "model": self.configuration.model.name, "label": self.configuration.label,
            "load": dict(self.configuration.load), "options": dict(self.options),
            "prompt_set": self.prompt_set_sha256, "prompt_index": self.prompt.index, "prompt": self.prompt.text,
            "trial": self.trial, "purpose": self.purpose, "n_prompt": self.n_prompt,
        }  # fmt: skip
        if self.configuration.model.host:
            what["host"] = self.configuration.model.host
        return sha256(canonical(what))


@dataclass(frozen=True)
class Plan:
    """A validated plan. Make one with `read_plan` or `make_plan`."""

    name: str
    models: tuple[Model, ...]
    prompts: tuple[str, ...]
    load: Mapping[str, tuple]
    sampling: Mapping[str, tuple]
    trials: int | str = 3
    timeout_s: float = 120.0
    cache: str = "cold"
    speed: Speed | None = None
    run_code: bool = False
    perplexity: Text | None = None
    folders: tuple[str, ...] = ()
    description: str = ""
    base: str | None = field(default=None, compare=False)  # the plan file's folder

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values; `read_plan` of it gives the same plan."""
        asked = {"perplexity": vars(self.perplexity).copy()} if self.perplexity else {}
        return {
            "name": self.name,
            "description": self.description,
            "models": [model.to_dict() for model in self.models],
            "folders": list(self.folders),
            "prompts": list(self.prompts),
            "load": {key: list(values) for key, values in self.load.items()},
            "sampling": {key: list(values) for key, values in self.sampling.items()},
            "trials": self.trials,
            "timeout_s": self.timeout_s,
            "cache": self.cache,
            "speed": vars(self.speed).copy() if self.speed else None,
            "run_code": self.run_code,
            **asked,
        }

    def identity(self) -> dict[str, Any]:
        """What decides the measurement: names, descriptions and folders do not."""
        row = self.to_dict()
        row["models"] = [model.identity() for model in self.models]
        row["prompts"] = {f"{s.name}[{i}]": s.sha256 for i, s in enumerate(self.prompt_sets())}
        return {key: value for key, value in row.items() if key not in ("name", "description", "folders")}

    @property
    def sha256(self) -> str:
        """The plan's hash: two plans with the same hash measure the same thing."""
        return sha256(canonical(self.identity()))

    def prompt_sets(self) -> list[PromptSet]:
        """The prompt sets, loaded; a relative file is looked for beside the plan first."""
        sets = [load_prompts(self._prompt_path(name)) for name in self.prompts]
        first: dict[str, str] = {}
        for name, found in zip(self.prompts, sets):
            if first.setdefault(found.sha256, name) != name:
                raise BenchkitError(
                    f"prompts: {first[found.sha256]} and {name} are the same file; name it once."
                )
        return sets

    def text_file(self) -> str | None:
        """The text for perplexity, looked for beside the plan first; None: the one that ships with benchkit."""
        file = self.perplexity.file if self.perplexity else None
        beside = Path(self.base or ".") / file if file else None
        return str(beside) if beside and beside.is_file() else file

    def _prompt_path(self, name: str) -> str:
        beside = Path(self.base or ".") / name
        return str(beside) if beside.suffix in (".txt", ".jsonl") and os.path.isfile(beside) else name

    def configurations(self) -> list[Configuration]:
        """Every model with every choice of load and sampling settings, in the plan's order."""
        found = []
        for model, load in itertools.product(self.models, grid_points(self.load)):
            engine = " ".join([model.label, *_varied(self.load, load)])
            for sampling in grid_points(self.sampling):
                label = " ".join([engine, *_varied(self.sampling, sampling)])
                found.append(Configuration(label, model, load, sampling, engine))
        return found

    def tests(self) -> list[Test]:
        """Every test of the plan, in the plan's order (with `trials: auto`, as many as there can be)."""
        sets = self.prompt_sets()
        self._refuse_too_many(sum(len(found) for found in sets))
        return [test for c in self.configurations() for test in (*self._quality(c, sets), *self._forced(c))]

    def _refuse_too_many(self, n_prompts: int) -> None:
        trials = MAX_TRIALS if self.trials == "auto" else self.trials
        each = trials * n_prompts + (self.speed.repeats if self.speed else 0)
        total = len(self.configurations()) * each
        if total > MAX_TESTS:
            raise BenchkitError(
                f"this plan has {total:,} tests, more than {MAX_TESTS:,}. Vary fewer settings, or take fewer "
                f"prompts ({n_prompts:,}) or trials ({trials:,})."
            )

    def _quality(self, configuration: Configuration, sets: list[PromptSet]) -> Iterator[Test]:
        trials = MAX_TRIALS if self.trials == "auto" else self.trials
        for trial, prompt_set in itertools.product(range(trials), sets):
            for prompt in prompt_set:
                options = self._options(configuration)
                if prompt.max_tokens:  # a prompt's own limit can only shorten a reply
                    options["max_tokens"] = min(prompt.max_tokens, options["max_tokens"])
                yield Test(
                    configuration, prompt_set.name, prompt_set.sha256, prompt, trial, "quality", options
                )

    def _forced(self, configuration: Configuration) -> Iterator[Test]:
        if self.speed is None:
            return
        size = f"{self.speed.n_prompt}+{self.speed.n_output}"
        forced = {"max_tokens": self.speed.n_output, "ignore_eos": True, "raw": True}
        for index in range(self.speed.repeats):
            prompt = Prompt(index, f"speed-{size}-{index}", "speed", "", (), None, self.speed.n_output)
            options = {**self._options(configuration), **forced}
            yield Test(configuration, "speed", sha256(size), prompt, 0, "speed", options, self.speed.n_prompt)

    def _options(self, configuration: Configuration) -> dict[str, Any]:
        return {**configuration.sampling, "timeout_s": self.timeout_s, "cache": self.cache}

    # ------------------------------------------------------------ where the models are

    def where(self, model: Model) -> str:
        """The name to connect to: a bare `gguf:FILE.gguf` is looked for in the plan's folders."""
        path = self._found(model)
        return f"gguf:{path}" if path else model.name

    def missing(self) -> dict[str, str]:
        """The models whose file is in none of the plan's folders: label → what to download, how large."""
        wanted = [m for m in self.models if self.folders and _bare_file(m.name) and not self._found(m)]
        return {m.label: self._what_to_download(m) for m in wanted}

    def _found(self, model: Model) -> Path | None:
        file = _bare_file(model.name)
        places_to_look = [Path(folder) / file for folder in self.search_folders()] if file else []
        return next((path for path in places_to_look if os.path.isfile(path)), None)

    def search_folders(self) -> list[str]:
        """The plan's folders with `~` and variables filled in; one whose variable is not set is left out."""
        expanded = [_VARIABLE.sub(_filled_in, folder) for folder in self.folders]
        # a variable may hold several folders, like PATH
        parts = [part for text in expanded for part in text.split(os.pathsep)]
        filled = [os.path.expanduser(part) for part in parts]
        return [folder for folder in filled if folder and "$" not in folder]

    def _what_to_download(self, model: Model) -> str:
        folders = " or ".join(self.folders)  # as the plan writes them: a message tells no variable's value
        how = f": {model.download}" if model.download else ""
        return f"{_bare_file(model.name)} ({model.size or 'size unknown'}) is not in {folders}{how}"


_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def _filled_in(found: re.Match) -> str:
    """The variable's value; one that is not set stays as it is written."""
    return os.environ.get(found[1] or found[2], found[0])


def _bare_file(name: str) -> str | None:
    file = name.removeprefix("gguf:")
    bare = name.startswith("gguf:") and file.endswith(".gguf") and not set(file) & set("/\\")
    return file if bare else None


def grid_points(grid: Mapping[str, tuple]) -> list[dict[str, Any]]:
    """Every choice of one value for each key.

    >>> grid_points({"n_ctx": (512, 1024), "n_threads": (2,)})
    [{'n_ctx': 512, 'n_threads': 2}, {'n_ctx': 1024, 'n_threads': 2}]
    """
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _varied(grid: Mapping[str, tuple], point: Mapping[str, Any]) -> list[str]:
    """What tells this point of the grid from the others."""
    return [f"{key}={point[key]}" for key, values in grid.items() if len(values) > 1]


def canonical(value: Any) -> str:
    """One fixed JSON text for equal values, to take a hash of.

    >>> canonical({"b": 1, "a": 2.0}) == canonical({"a": 2.0, "b": 1})
    True
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def sha256(text: str) -> str:
    """The SHA-256 of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ---------------------------------------------------------------- checks of single values

Check = Callable[[Any], Any]  # returns the value, or raises ValueError saying what is allowed


def show(value: Any) -> str:
    """A value found in a plan, short enough for a message.

    >>> show("auto"), show([1, 2]), show({})
    ("the text 'auto'", 'a list of 2', 'a table of 0')
    """
    if isinstance(value, str):
        return f"the text {value[:40]!r}" + ("…" if len(value) > 40 else "")
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a very large number"
    return str(value)[:40]


def integer(low: int, high: int, optional: bool = False) -> Check:
    """A check for a whole number in a range."""

    def check(value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}" + (", or null" if optional else ""))
        return value

    return check


def real(low: float, high: float) -> Check:
    """A check for a number in a range; NaN and infinity are in none."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def choice(*allowed: Any) -> Check:
    """A check for one of a few values (true is not 1)."""

    def check(value: Any) -> Any:
        if not any(value == a and type(value) is type(a) for a in allowed):
            raise ValueError(" or ".join(json.dumps(a).strip('"') for a in allowed))
        return value

    return check


def text(max_length: int = 500) -> Check:
    """A check for a text that is not blank and holds no control character."""

    def check(value: Any) -> str:
        if (
            not isinstance(value, str)
            or not value.strip()
            or len(value) > max_length
            or not value.isprintable()
        ):
            raise ValueError(f"a text of 1 to {max_length} printable characters")
        return value.strip()

    return check


def prose(value: Any) -> str:
    """A check for free text, over several lines if need be."""
    if not isinstance(value, str) or len(value) > 20_000:
        raise ValueError("a text")
    return value.strip()


TEXT = text(1000)
FREE_VARIABLES = re.compile("HOME|USERPROFILE|BENCHKIT_.*")


def optional_text(value: Any) -> str | None:
    """A check for a text that may be left out."""
    return None if value is None else TEXT(value)


def folder(value: Any) -> str:
    """A check for a folder: somebody else's plan must not read any variable it likes, such as a password."""
    value = TEXT(value)
    names = [found[1] or found[2] for found in _VARIABLE.finditer(value)]
    if "$" in _VARIABLE.sub("", value) or not all(map(FREE_VARIABLES.fullmatch, names)):
        raise ValueError("a folder whose only variables are ~, $HOME, $USERPROFILE and $BENCHKIT_…")
    return value


LOAD: dict[str, tuple[Any, Check]] = {
    "n_ctx": (None, integer(8, 1 << 22, optional=True)),
    "n_threads": (None, integer(1, 1024, optional=True)),
    "n_gpu_layers": (0, integer(-1, 100_000)),
}
SAMPLING: dict[str, tuple[Any, Check]] = {
    "max_tokens": (256, integer(1, 1_000_000)),
    "temperature": (0.0, real(0, 10)),
    "top_k": (40, integer(0, 1_000_000)),
    "top_p": (0.95, real(0, 1)),
    "seed": (1234, integer(0, 2**32 - 2)),
    "raw": (False, choice(False, True)),
}
SPEED: dict[str, tuple[Any, Check]] = {
    "n_prompt": (64, integer(1, 1 << 20)),
    "n_output": (128, integer(2, 1 << 20)),
    "repeats": (10, integer(1, 1000)),
}
MODEL: dict[str, Check] = {
    name: text() for name in ("model", "label", "host", "family", "parameters", "type", "size", "download")
}


def trials_check(value: Any) -> int | str:
    """A check for `trials`: a whole number, or `auto`."""
    try:
        return value if value == "auto" else integer(1, 10_000)(value)
    except ValueError as problem:
        raise ValueError(f"{problem}, or auto") from None


TOP: dict[str, tuple[Any, Check]] = {
    "name": ("plan", text(100)),
    "description": ("", prose),
    "trials": (3, trials_check),
    "timeout_s": (120.0, real(0.001, 86_400)),
    "cache": ("cold", choice("cold", "warm")),
    "run_code": (False, choice(False, True)),
}
SERVED = ("ollama:", "openai:")  # how the name of a model on a server begins
TEXT_PARTS: dict[str, tuple[Any, Check]] = {"file": (None, optional_text), "window": (512, integer(8, 1 << 16))}
PARTS = ("models", "folders", "prompts", "load", "sampling", "speed", "perplexity")


# ---------------------------------------------------------------- from values to a plan


def make_plan(
    models: str | list, prompts: str | list = "course", *, host: str | None = None, **settings: Any
) -> Plan:
    """A plan from keywords: `trials`, `timeout_s`, `cache`, `speed`, `perplexity`, any load or sampling setting.

    `host` is the server of all `ollama:` and `openai:` models.

    >>> plan = make_plan("gguf:pocket-xs,gguf:pocket-s", trials=2, max_tokens=64, n_threads=[1, 2])
    >>> [c.label for c in plan.configurations()][:2]
    ['gguf:pocket-xs n_threads=1', 'gguf:pocket-xs n_threads=2']
    """
    raw: dict[str, Any] = {"models": _split(models, "models"), "prompts": _split(prompts, "prompts")}
    if host is not None:
        raw["models"] = [_on(host, model) for model in raw["models"]]
    raw.update(load={}, sampling={})
    allowed = [*LOAD, *SAMPLING, *TOP, "folders", "speed", "perplexity"]
    for key, value in settings.items():
        if key not in allowed:
            raise BenchkitError(f"{key} is not a setting of a plan{did_you_mean(key, allowed)}. Known names: {', '.join(allowed)}.")
        part = raw["load"] if key in LOAD else raw["sampling"] if key in SAMPLING else raw
        part[key] = value
    raw.setdefault("name", _derived_name("-".join(str(p) for p in raw["prompts"])[:60]))
    return parse_plan(raw, "this plan")


def _on(host: str, model: Any) -> Any:
    """The model, on this server if it can be on one and no other is said."""
    entry = dict(model) if isinstance(model, Mapping) else {"model": model}
    served = isinstance(entry.get("model"), str) and entry["model"].startswith(SERVED)
    return {**entry, "host": entry.get("host", host)} if served else model


def _derived_name(words: str) -> str:
    """A name for a plan that gives none: what can be printed of these words, at most 100 characters."""
    return "".join(c for c in words if c.isprintable())[:100].strip() or "plan"


def _split(names: Any, part: str) -> list:
    if isinstance(names, Mapping) or not isinstance(names, (str, os.PathLike, Iterable)):
        raise BenchkitError(f"this plan: {part}: must be a name or a list of names (found {show(names)}).")
    if not isinstance(names, (str, os.PathLike)):
        return [str(name) if isinstance(name, os.PathLike) else name for name in names]
    names = os.fspath(names)
    return [names] if os.path.isfile(names) else [n.strip() for n in names.split(",") if n.strip()]


def parse_plan(raw: Any, source: str, base: str | None = None) -> Plan:
    """Validate what a plan file holds; every message names the source and the field."""
    raw = _table(raw, source, "the plan", [*TOP, *PARTS])
    for part in ("models", "prompts"):
        if not raw.get(part):
            raise BenchkitError(
                f"{source}: {part}: at least one is needed (found {show(raw.get(part))}). {HINTS[part]}"
            )
    top = {key: _one(raw.get(key, default), check, source, key) for key, (default, check) in TOP.items()}
    plan = Plan(
        models=_models(raw["models"], source),
        prompts=_texts(raw["prompts"], source, "prompts"),
        folders=_texts(raw.get("folders") or [], source, "folders", folder),
        load=_grid(raw.get("load"), LOAD, source, "load"),
        sampling=_grid(raw.get("sampling"), SAMPLING, source, "sampling"),
        speed=_part(Speed, SPEED, raw.get("speed"), source, "speed"),
        perplexity=_part(Text, TEXT_PARTS, raw.get("perplexity"), source, "perplexity"),
        base=base,
        **top,
    )
    _check_together(plan, source)
    return plan


HINTS = {
    "models": "Write for example `models: [gguf:pocket-s]`.",
    "prompts": "Write for example `prompts: [course]`, or the name of a .txt or .jsonl file.",
}


def _table(raw: Any, source: str, where: str, allowed: list[str]) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise BenchkitError(f"{source}: {where}: must be a table of `name: value` lines (found {show(raw)}).")
    for key in raw:
        if key not in allowed:
            raise BenchkitError(
                f"{source}: {where}: unknown name {show(key)}{did_you_mean(key, allowed)}. "
                f"Known names: {', '.join(allowed)}."
            )
    return dict(raw)


def _one(value: Any, check: Check, source: str, where: str) -> Any:
    try:
        return check(value)
    except ValueError as problem:
        raise BenchkitError(f"{source}: {where}: must be {problem} (found {show(value)}).") from None


def _grid(raw: Any, known: dict[str, tuple[Any, Check]], source: str, part: str) -> dict[str, tuple]:
    raw = _table({} if raw is None else raw, source, part, list(known))
    return {
        key: _values(raw.get(key, default), check, source, f"{part}.{key}")
        for key, (default, check) in known.items()
    }


def _values(value: Any, check: Check, source: str, where: str) -> tuple:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise BenchkitError(
            f"{source}: {where}: the list is empty; give at least one value, or leave it out."
        )
    checked = [
        _one(v, check, source, f"{where}[{i}]" if len(values) > 1 else where) for i, v in enumerate(values)
    ]
    if len(set(checked)) < len(checked):
        raise BenchkitError(
            f"{source}: {where}: a value is listed twice; list each once (repeats are `trials`)."
        )
    return tuple(checked)


def _texts(raw: Any, source: str, where: str, check: Check = TEXT) -> tuple[str, ...]:
    if not raw:
        return ()
    return _values([raw] if isinstance(raw, str) else _list(raw, source, where), check, source, where)


def _list(raw: Any, source: str, where: str) -> list:
    if not isinstance(raw, (list, tuple)):
        raise BenchkitError(f"{source}: {where}: must be a list (found {show(raw)}).")
    return list(raw)


def _models(raw: Any, source: str) -> tuple[Model, ...]:
    entries = [raw] if isinstance(raw, str) else _list(raw, source, "models")
    models = tuple(_model(entry, source, f"models[{i}]") for i, entry in enumerate(entries))
    labels = [model.label for model in models]
    for label in labels:
        if labels.count(label) > 1:
            raise BenchkitError(
                f"{source}: models: {label!r} is listed {labels.count(label)} times. To measure a model against "
                f"itself, give each its own label: {{model: {label}, label: first}}, {{model: {label}, label: second}}."
            )
    return models


def _model(raw: Any, source: str, where: str) -> Model:
    raw = {"model": raw} if isinstance(raw, str) else _table(raw, source, where, list(MODEL))
    if "model" not in raw:
        raise BenchkitError(
            f"{source}: {where}: the name `model` is missing (write for example `model: gguf:pocket-s`)."
        )
    checked = {key: _one(value, MODEL[key], source, f"{where}.{key}") for key, value in raw.items()}
    name = checked.pop("model")
    if "host" in checked and not name.startswith(SERVED):
        raise BenchkitError(
            f"{source}: {where}.host: only ollama: and openai: models are on a server; {show(name)} is not."
        )
    return Model(name=name, label=checked.pop("label", name), **checked)


def _part(kind: Any, known: dict[str, tuple[Any, Check]], raw: Any, source: str, where: str) -> Any:
    """A part that may be left out (or false), be true for its defaults, or a table."""
    if raw is None or raw is False:
        return None
    raw = _table({} if raw is True else raw, source, where, list(known))
    return kind(**{key: _one(raw.get(key, d), check, source, f"{where}.{key}") for key, (d, check) in known.items()})


def _check_together(plan: Plan, source: str) -> None:
    sizes = [n for n in plan.load["n_ctx"] if n is not None]
    if plan.speed and sizes and plan.speed.n_prompt + plan.speed.n_output > min(sizes):
        raise BenchkitError(
            f"{source}: speed: n_prompt + n_output is {plan.speed.n_prompt + plan.speed.n_output} tokens, more than "
            f"load.n_ctx = {min(sizes)} can hold. Make n_ctx larger or the block shorter."
        )
    trials = MAX_TRIALS if plan.trials == "auto" else plan.trials
    points = math.prod(len(v) for grid in (plan.load, plan.sampling) for v in grid.values())
    if points * len(plan.models) * trials > MAX_TESTS:
        raise BenchkitError(
            f"{source}: the grid has {points} points: more than {MAX_TESTS} tests. Vary fewer settings."
        )


# ---------------------------------------------------------------- from files to values


def read_plan(plan: str | os.PathLike | Mapping[str, Any] | Plan) -> Plan:
    """Read and validate a plan: a YAML or JSON file, the name of a ready plan, or a dict.

    >>> read_plan({"models": ["gguf:pocket-s"], "prompts": "course", "trials": 0})
    Traceback (most recent call last):
    benchkit.errors.BenchkitError: this plan: trials: must be a whole number from 1 to 10000, or auto (found 0).
    """
    if isinstance(plan, Plan):
        return plan
    if isinstance(plan, Mapping):
        return parse_plan(plan, "this plan")
    path = _plan_path(os.fspath(plan))
    raw = _parse_json(path) if path.suffix.lower() == ".json" else _parse_yaml(path)
    if isinstance(raw, dict):
        raw.setdefault("name", _derived_name(path.stem))
    return parse_plan(raw, str(path), base=str(path.resolve().parent))


def ready_plans() -> list[str]:
    """The names of the plans that come with the toolkit."""
    return sorted(path.stem for path in READY_PLANS.glob("*.yaml"))


def _plan_path(name: str) -> Path:
    ready = READY_PLANS / f"{name}.yaml"
    if name in ready_plans() and not os.path.isfile(name):
        return ready
    if os.path.isfile(name):
        return Path(name)
    guess = did_you_mean(Path(name).stem, ready_plans())
    raise BenchkitError(f"there is no plan file {name!r}{guess}. Ready plans: {', '.join(ready_plans())}.")


def _text_of(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_PLAN_BYTES + 1)
        if len(data) > MAX_PLAN_BYTES:
            raise BenchkitError(f"{path}: a plan is at most {MAX_PLAN_BYTES:,} bytes (this file has more).")
        return data.decode("utf-8-sig")
    except OSError as problem:
        raise BenchkitError(f"{path}: cannot be read: {problem.strerror}.") from None
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise BenchkitError(f"{path}: line {line} is not UTF-8 text. Save the file as UTF-8.") from None


def _parse_json(path: Path) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = repeated(name for name, _ in items)
        if twice is not None:
            raise BenchkitError(f"{path}: {show(twice)} is given twice in one table; keep one.")
        return dict(items)

    try:
        return json.loads(_text_of(path), object_pairs_hook=pairs)
    except json.JSONDecodeError as problem:
        raise BenchkitError(f"{path}: line {problem.lineno}: not valid JSON: {problem.msg}.") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets
        raise BenchkitError(f"{path}: not a plan: a number too large or brackets too deep.") from None


def _parse_yaml(path: Path) -> Any:
    content = _text_of(path)
    try:
        return yaml.load(content, Loader=_PlanLoader)  # a SafeLoader, made stricter
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        what = getattr(problem, "problem", None) or "it cannot be read"
        tab = " YAML does not allow tabs: indent with spaces." if "'\\t'" in str(problem) else ""
        raise BenchkitError(f"{path}:{where} not valid YAML: {what}.{tab}") from None
    except (ValueError, OverflowError, RecursionError, TypeError):
        raise BenchkitError(
            f"{path}: not a plan: an impossible number or date, or brackets too deep."
        ) from None


class _PlanLoader(yaml.SafeLoader):
    """YAML without surprises: no name twice, no aliases (a few lines can fill the memory), no 010 that is 8."""

    def construct_number(self, node: Any) -> int | float:
        if re.fullmatch("[-+]?0[0-7_]+|.*:.*", node.value):  # octal, or base 60
            what = f"{node.value} is not a decimal number to YAML: write it in decimal"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()
            raise yaml.constructor.ConstructorError(
                None, None, f"the alias *{event.anchor}: write the value out instead", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{show(key)} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


for kind in ("int", "float"):
    _PlanLoader.add_constructor(f"tag:yaml.org,2002:{kind}", _PlanLoader.construct_number)
