"""The report of load runs: what many requests at once found, in one HTML file, and how far to trust it.

The model's name, the host and a server's error messages are untrusted words: see `pages`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchkit import load, pages, places, runs, stats, weigh
from benchkit.backends.base import Options
from benchkit.pages import Term
from benchkit.schedule import PROFILES
from benchkit.text import counted, number, one_line
from benchkit.traffic import GAUGE_PERIOD_MS, SHOWN, Gauge, Request

PERCENTILES = {f"p{q}": stats.percentile_needs(q) for q in (90, 95, 99)}  # how many requests each takes

LATENCY_TERMS = tuple(
    Term(name, *SHOWN[name], "", formula)
    for name, formula in (
        ("ttft_ms", "t_first − t_sent: time to first token, as the server alone makes it"),
        ("ttft_from_schedule_ms", "t_first − t_scheduled: time to first token, as a user waits for it"),
        ("tpot_ms", "(t_last − t_first) / (n − k₁): once the reply runs, the first token excluded"),
        ("latency_s", "t_end − t_sent: the whole reply; what the server took for it"),
        ("response_time_s", "t_end − t_scheduled: the whole reply, waiting for its turn to be sent included"),
        ("dispatch_delay_ms", "t_sent − t_scheduled: how late this client itself was"),
    )
)


@dataclass(frozen=True)
class Rate:
    """One line of the table of rates: its term, its value in a summary, and what is to be said beside it."""

    term: Term
    value: Callable[[Mapping[str, Any]], float | None]
    remark: Callable[[Mapping[str, Any]], str] = lambda found: ""


RATES = (
    Rate(Term("due", "requests that became due", "requests/s", "",
              "requests of an open loop that became due in the window / its span"),
         lambda f: f["due_per_s"], lambda f: "" if f["due_per_s"] is not None else "a closed loop: nothing is due by the clock"),
    Rate(Term("completed", "completed", "requests/s", "",
              "requests completed in the window / its span, in a closed loop each by the share of its time inside; failed ones do "
              "not count"),
         lambda f: f["requests_per_s"]),
    Rate(Term("output", "output", "tokens/s", "",
              "tokens of completed requests that came in the window / its span: all users together"),
         lambda f: f["output_tokens_per_s"],
         lambda f: "" if f["n_output_tokens"]["p50"] is None else f"replies of {f['n_output_tokens']['p50']:g} tokens (median)"),
    Rate(Term("asked", "in flight, asked for", "requests", "",
              "how many requests at a time a closed loop keeps under way; nothing limits an open loop"),
         lambda f: f["concurrency"]["asked"], lambda f: "" if f["concurrency"]["asked"] else "an open loop: nothing limits it"),
    Rate(Term("achieved", "in flight, on average", "requests", "",
              f"mean over the window of a counter of requests under way, read every {GAUGE_PERIOD_MS} ms"),
         lambda f: f["concurrency"]["achieved"],
         lambda f: f"{number(f['concurrency']['waiting'])} waiting for their first token, "
                   f"{number(f['concurrency']['answering'])} getting text; at most {f['concurrency']['peak']} at once"),
    Rate(Term("little", "Little's law, gap", "%", "",
              "|L − λ·W| / L: L from the counter of requests in flight, λ the requests that ended in the window a second "
              "and W the time each spent in it, both from their stamps. More than 5 % and what reading the counter seldom "
              "explains: the instrument contradicts itself"),
         lambda f: f["littles_law_gap"], lambda f: _law_told(f["littles_law"])),
    Rate(Term("goodput_percent", "goodput, share", "%", "",
              "requests of the window that keep every limit / all its requests, failed ones included"),
         lambda f: (f["goodput"] or {}).get("percent"), lambda f: _limits_told(f["goodput"])),
    Rate(Term("goodput_rate", "goodput, rate", "requests/s", "", "requests that keep every limit / the window's span"),
         lambda f: (f["goodput"] or {}).get("requests_per_s")),
    Rate(Term("cached", "prompts from the server's cache", "%", "", "Σ cached prompt tokens / Σ prompt tokens"),
         lambda f: f["cached_percent"], lambda f: "" if f["cached_percent"] is not None else "the server does not say"),
    Rate(Term("cpu", "processor time of the client", "% of a core", "",
              "user and system time of this process / time; one event loop cannot use more than one core"),
         lambda f: None if f["client"].get("cpu_share") is None else 100 * f["client"]["cpu_share"],
         lambda f: "; ".join(f["client"]["reasons"])),
)  # fmt: skip

OTHER_TERMS = (
    Term("window", "window", "s", "", "the part of a run that counts: without warm-up and cool-down, chosen by the order of "
         "sending and never by results"),
    Term("percentile", "p50, p90, p95, p99", "", "", "the value that so many percent of the window's requests stay below; "
         + ", ".join(f"{name} from {n} requests" for name, n in PERCENTILES.items()) + ": with fewer not even an upper bound "
         "on it is known"),
    Term("failed", "failed", "requests", "", "ended in an error, a timeout or a broken stream; they have no latency, and "
         "stand beside every latency instead"),
    Term("saturated", "saturated", "", "", "open loop: requests pile up, the last third of the window against the one before. "
         "Closed loop: the first token comes more than twice as late as for a request alone, and more requests wait for it "
         "than get text"),
    Term("knee", "knee", "requests/s", "", "the highest rate of a sweep up to which requests did not pile up and as many "
         "ended as became due"),
    Term("verdict", "verdict", "", "", "INVALID: nothing was completed, most requests failed, or the instrument contradicts "
         "itself. INCONCLUSIVE: something else than the server could have made the numbers. VALID: neither"),
)  # fmt: skip

TERMS = (*LATENCY_TERMS, *(rate.term for rate in RATES), *OTHER_TERMS)


# ---------------------------------------------------------------- what is in the folders


@dataclass(frozen=True)
class Measured:
    """A load run, or a sweep of several: its summary, and of its last run the manifest and the schedule."""

    name: str
    folder: Path
    found: Mapping[str, Any]
    about: Mapping[str, Any]
    schedule: Mapping[str, Any]
    requests: Sequence[Request] = ()
    gauge: Gauge = ()

    @property
    def is_sweep(self) -> bool:
        """Whether this is a sweep: several load runs, one for each rate."""
        return self.found["profile"] == "sweep"

    @property
    def begin_ns(self) -> int:
        """From when its times count: the first reading of the gauge, or when the first request was due."""
        return min([t for t, _ in self.gauge[:1]] + [r.recording.t_scheduled_ns for r in self.requests[:1]], default=0)


def read(folder: str | os.PathLike, name: str) -> Measured:
    """Everything that the page says of one folder."""
    folder, found = Path(folder), load.read_summary(folder)
    is_sweep = found["profile"] == "sweep"
    last = folder / Path(found["points"][-1]["folder"]).name if is_sweep else folder
    about, schedule = (runs.read_json(last / f"{what}.json", {}) for what in ("manifest", "schedule"))
    if is_sweep:
        return Measured(name, folder, found, about, schedule)
    return Measured(name, folder, found, about, schedule, load.read_requests(folder), load.read_gauge(folder))


# ---------------------------------------------------------------- the page


def report_html(folders: Sequence[str | os.PathLike]) -> str:
    """The report of one or more load runs as text: the same folders give the same text."""
    found = [read(folder, name) for folder, name in zip(folders, load.short_names(folders), strict=True)]
    shown = [_run(f"run-{i}", one) for i, one in enumerate(found, 1)]
    rest = (("limits", "Limitations"), ("machine", "Machine and settings"), ("again", "How to reproduce it"),
            ("terms", "Formulas"))  # fmt: skip
    first = [("comparison", "Side by side")] if len(found) > 1 else []
    return pages.render("load_report.html.j2", {
        "title": f"Load on {' and '.join(dict.fromkeys(one.found['model'] for one in found))}",
        "subtitle": _subtitle(found),
        "contents": [*first, *((run["id"], run["name"]) for run in shown), *rest],
        "comparison": _comparison_table(found) if len(found) > 1 else None,
        "runs": shown,
        "limitations": limitations(found),
        "not_measured": not_measured(found),
        "manifests": [{"run": one.name, "parts": _record(one.about, open=len(found) == 1)} for one in found],
        "terms": [term.shown() for term in TERMS],
    })  # fmt: skip


def _subtitle(found: Sequence[Measured]) -> str:
    machines = dict.fromkeys(str(one.about.get("machine", {}).get("cpu", "machine not recorded")) for one in found)
    days = sorted({str(one.about["created"])[:10] for one in found if one.about.get("created")})
    return " · ".join([counted(len(found), "load run"), *machines, *([f"measured {' and '.join(days)}"] if days else [])])


def _run(id: str, one: Measured) -> dict[str, Any]:
    """One run's, or one sweep's, section of the page."""
    found = one.found
    verdict = pages.verdict(one.name, found["verdict"], found["reasons"], found.get("notes", ()))
    head = {"id": id, "name": one.name, "verdict": verdict, "command": command(one)}
    return head | (_sweep_parts(one) if one.is_sweep else _load_parts(one))


def _load_parts(one: Measured) -> dict[str, Any]:
    return {"facts": _facts(one), "points": None, "latencies": _latencies(one.found), "rates": _rates(one.found),
            "figures": _figures(one), "instrument": _instrument(one.found), **_errors(one)}  # fmt: skip


def _facts(one: Measured) -> list[tuple[str, str]]:
    found, window = one.found, one.found["window"]
    asked = found["asked"]
    return [
        ("model", found["model"]),
        ("server", found["host"]),
        ("profile", f"{found['profile']}: {found['meaning'].replace('`', '')}"),
        ("asked for", f"{asked_for(found)}, {_until(asked)}"),
        ("prompts, replies", f"the prompts of the set “{asked['prompts']}” take turns; replies of at most {asked['max_tokens']} tokens"),
        ("sent", f"{counted(found['n_requests'], 'request')}, {found['n_completed']} completed"),
        ("window", f"{counted(window['n'], 'request')} in {number(window['span_s'])} s; {window['rule']}"),
        ("saturated", f"{_yes_no(found['saturation']['saturated'])}: {found['saturation']['why']}"),
    ]


def asked_for(found: Mapping[str, Any]) -> str:
    """How much load a run was to make; of a sweep, the rate at its knee.

    >>> asked_for({"profile": "poisson", "asked": {"rate": 4.0, "concurrency": None}})
    '4.00 requests/s'
    """
    if found["profile"] == "sweep":
        return f"knee: {number(found['knee']['requests_per_s'])} requests/s"
    if found["asked"]["rate"] is not None:
        return f"{number(found['asked']['rate'])} requests/s"
    return "all at once" if found["profile"] == "throughput" else f"{found['asked']['concurrency']} at a time"


def _until(asked: Mapping[str, Any]) -> str:
    ends = [counted(asked["requests"], "request")] if asked["requests"] is not None else []
    ends += [f"{number(asked['duration_s'])} s"] if asked["duration_s"] is not None else []
    return " or ".join(ends)


def _yes_no(known: bool | None) -> str:
    return {True: "yes", False: "no", None: "not known"}[known]


# ---------------------------------------------------------------- its tables


def head(name: str, unit: str = "") -> dict[str, str]:
    """The head of a column."""
    return {"name": name, "unit": unit}


def _latencies(found: Mapping[str, Any]) -> dict[str, Any]:
    """One row a kind of latency; a percentile of too few requests is withheld."""
    columns = ("mean", "p50", *PERCENTILES, "max", "n", "n_failed")
    rows = [{"term": term.column, "name": term.name, "unit": term.unit,
             "cells": [_quantile(found[term.column], column) for column in columns]} for term in LATENCY_TERMS]  # fmt: skip
    heads = [head("measure and unit"), *(head(name) for name in columns[:-1]), head("failed")]
    note = found["ttft_ms"]["note"]
    return {"label": "Latencies", "heads": heads, "rows": rows,
            "caption": "Of the completed requests in the window; – means not measured." + (f" {note}." if note else "")}  # fmt: skip


def _quantile(values: Mapping[str, Any], column: str) -> str:
    value = values[column]
    if column in PERCENTILES and value is None and values["n"]:
        return "n too small"
    return _plain(value)


def _rates(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The table of rates; what a run does not have, such as goodput without limits, has no line."""
    chosen = [r for r in RATES if found["goodput"] or not r.term.column.startswith("goodput")]
    return [{"term": r.term.column, "name": r.term.name, "unit": r.term.unit, "value": _plain(r.value(found)),
             "remark": r.remark(found)} for r in chosen]  # fmt: skip


def _plain(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _law_told(law: Mapping[str, Any]) -> str:
    if law["holds"] is None:
        return "could not be checked: the run or its requests were too short for the gauge"
    return f"allowed: {number(law['allowed'])} %; {'holds' if law['holds'] else 'does not hold'}"


def _limits_told(good: Mapping[str, Any] | None) -> str:
    limits = (good or {"slo": {}})["slo"].items()
    return ", ".join(f"{SHOWN[name][0]} ≤ {number(limit)} {SHOWN[name][1]}" for name, limit in limits)


def comparison(found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Load runs side by side as columns: what it is, its unit, and a value for each run; of a sweep, those at its knee."""
    rows = [_compared(name, one) for name, one in zip(names, found, strict=True)]
    return [(name, unit, *(row[i] for row in rows)) for i, (name, unit) in enumerate(COMPARED)]


COMPARED = (
    ("load run", ""), ("profile", ""), ("asked for", ""), ("completed", "requests/s"), ("output", "tokens/s"),
    ("TTFT p50", "ms"), ("TTFT p95", "ms"), ("resp. p50", "s"), ("resp. p95", "s"), ("in flight", "mean"),
    ("failed", "requests"), ("verdict", ""),
)  # fmt: skip
COMPARED_NOTE = ("TTFT counts from the send, response time from the schedule; – means not measured, or too few requests "
                 "for that percentile. A sweep is shown at its knee.")  # fmt: skip


def _compared(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    from benchkit.load_figures import knee_point

    what = (name, found["profile"], asked_for(found))
    if found["profile"] == "sweep":
        found = {**(knee_point(found) or NO_POINT), "verdict": found["verdict"]}
        n_failed, n = found["ttft_ms"]["n_failed"], found["ttft_ms"]["n"] + found["ttft_ms"]["n_failed"]
        in_flight = found["concurrency"]
    else:
        n_failed, n = found["n_requests"] - found["n_completed"], found["n_requests"]
        in_flight = found["concurrency"]["achieved"]
    waits = [found[of][q] for of in ("ttft_ms", "response_time_s") for q in ("p50", "p95")]
    numbers = (found["requests_per_s"], found["output_tokens_per_s"], *waits, in_flight)
    return (*what, *map(number, numbers), f"{n_failed} of {n}", found["verdict"])


#: Stands for the knee of a sweep that has none.
NO_POINT: dict[str, Any] = {
    **dict.fromkeys(("requests_per_s", "output_tokens_per_s", "concurrency")),
    **dict.fromkeys(("ttft_ms", "response_time_s"), {"p50": None, "p95": None, "n": 0, "n_failed": 0}),
}


def _comparison_table(found: Sequence[Measured]) -> dict[str, Any]:
    columns = comparison([one.found for one in found], [one.name for one in found])
    rows = [{"term": "", "name": name, "unit": "", "cells": cells} for name, *cells in zip(*(c[2:] for c in columns))]
    return {"label": "Load runs side by side", "heads": [head(*column[:2]) for column in columns], "rows": rows,
            "caption": COMPARED_NOTE}


# ---------------------------------------------------------------- figures, errors, the instrument


def _figures(one: Measured) -> list[dict[str, Any]]:
    from benchkit import load_figures

    drawn = (("Requests in flight", load_figures.in_flight_figure(one.gauge, one.found, one.begin_ns)),
             ("Response times", load_figures.waits_figure(one.requests, one.found, one.begin_ns)))  # fmt: skip
    return [pages.picture(f"{title}, {one.name}", fig, alt) for title, (fig, alt) in drawn]


def _errors(one: Measured) -> dict[str, Any]:
    """How many requests failed in which way, and what the first of each kind said."""
    found = one.found
    first = {r.failure: r.recording.error for r in reversed(one.requests)}
    rows = [{"kind": kind, "n": n, "text": one_line(first.get(kind) or "–", 400)} for kind, n in found["errors"].items()]
    return {"errors": rows, "errors_heads": ("kind", "requests", "what happened, first time"),
            "errors_note": _errors_told(sum(found["errors"].values()), found["n_requests"])}  # fmt: skip


def _errors_told(n_failed: int, n: int) -> str:
    said = counted(n, "request")
    return f"{n_failed} of {said} failed, warm-up and cool-down included." if n_failed else f"None of {said} failed."


def _instrument(found: Mapping[str, Any]) -> str:
    """What is known of the instrument's own error at this load, or the command that finds it out."""
    weighing = found["weighing"]
    if weighing is not None:
        return f"{weigh.reading(weighing)} Weighed on {weighing['created'][:10]}, on {weighing['machine']['cpu']}."
    unweighed = (reason for reason in found["reasons"] if reason.startswith("scale not weighed"))
    return next(unweighed, "scale not weighed").capitalize() + "."


# ---------------------------------------------------------------- a sweep


def _sweep_parts(one: Measured) -> dict[str, Any]:
    from benchkit import load_figures

    found, points = one.found, one.found["points"]
    errors = [{"kind": _point_name(p), "n": n, "text": kind} for p in points for kind, n in p["errors"].items()]
    facts = [("model", found["model"]), ("server", one.about.get("host", "not recorded")),
             ("profile", "sweep: one request at a time, then everything at once, then rates between the two"),
             ("knee", load_figures.knee_told(found).removeprefix("Knee: "))]  # fmt: skip
    return {
        "facts": facts, "points": _points(points), "latencies": None, "rates": None,
        "figures": [pages.picture(f"Sweep, {one.name}", *load_figures.sweep_figure(found))],
        "errors": errors, "errors_heads": ("run", "requests", "kind"),
        "errors_note": "These requests failed:" if errors else "No request failed.",
        "instrument": "Each run of a sweep has its own number of streams and is weighed by itself: `benchkit report` on a "
                      "folder inside this one shows how far its times are from the truth.",
    }  # fmt: skip


def _point_name(p: Mapping[str, Any]) -> str:
    return p["profile"] + ("" if p["rate"] is None else f", {number(p['rate'])}/s")


POINT_HEADS = (("run", ""), ("became due", "requests/s"), ("completed", "requests/s"), ("output", "tokens/s"),
               ("TTFT p50", "ms"), ("TTFT p95", "ms"), ("resp. p50", "s"), ("resp. p95", "s"), ("in flight", "mean"),
               ("n", ""), ("failed", ""), ("kept up", ""), ("verdict", ""))  # fmt: skip


def _points(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [{"term": "", "name": _point_name(p), "unit": "", "cells": _point_cells(p)} for p in points]
    return {"label": "Runs of the sweep", "heads": [head(*names) for names in POINT_HEADS], "rows": rows,
            "caption": "TTFT counts from the send, response time from the schedule; – means not measured, or too few requests "
                       "for that percentile. The verdict above is that of the runs that kept up."}  # fmt: skip


def _point_cells(p: Mapping[str, Any]) -> list[str]:
    waits = [p[of][q] for of in ("ttft_ms", "response_time_s") for q in ("p50", "p95")]
    numbers = (p["due_per_s"], p["requests_per_s"], p["output_tokens_per_s"], *waits, p["concurrency"])
    kept = {True: "yes", False: "no", None: "–"}[p["kept_up"]]
    return [*map(number, numbers), str(p["ttft_ms"]["n"]), str(p["ttft_ms"]["n_failed"]), kept, p["verdict"]]


# ---------------------------------------------------------------- limits, settings, reproduction


def _loops(found: Iterable[Measured]) -> set[str]:
    return {PROFILES[one.found["profile"]].loop for one in found if not one.is_sweep}


def _is_local(one: Measured) -> bool:
    return places.is_loopback(urlsplit(str(one.about.get("host", ""))).hostname)


def limitations(found: Sequence[Measured]) -> list[str]:
    """What a reader must know before trusting the numbers."""
    said = ["One server, one machine, one version of everything: the numbers hold for these, not for others.",
            "Requests that are under way together share the server, so they are no independent samples, and nothing here "
            "has an interval: whether two runs differ, only measuring both again tells."]  # fmt: skip
    if any(_is_local(one) for one in found):
        said.append("Client and server shared one computer, and its processors: each can slow the other.")
    if "closed" in _loops(found):
        said.append("In a closed loop a slow server is asked less. Users who know nothing of one another are an open "
                    "loop: constant or poisson.")  # fmt: skip
    if not all(one.about.get("options", {}).get("ignore_eos") for one in found):
        said.append("Replies stop by themselves: their lengths differ between models, and tokens a second with them.")
    said.append("The prompts are those of one set: longer ones take longer to read, and a server does fewer of them a second.")
    if any(one.found["verdict"] != "VALID" for one in found):
        said.append("Not every verdict above is VALID: read the reasons before using any number.")
    return said


def not_measured(found: Sequence[Measured]) -> list[str]:
    """What is missing from this report, and why."""
    n = max((one.found["ttft_ms"]["n"] for one in found if not one.is_sweep), default=0)
    said = [f"{name}: it needs {need} requests in the window, and there are at most {n}."
            for name, need in PERCENTILES.items() if n < need and not all(one.is_sweep for one in found)]  # fmt: skip
    if not all(one.about.get("slo") for one in found):
        said.append("Goodput, where no limits were set: `--slo ttft_ms=200` sets one.")
    if any(_is_local(one) for one in found):
        said.append("A network: client and server were on one computer.")
    return [*said, "The quality of the replies.", "Memory, GPU and energy of the server."]


def _record(about: Mapping[str, Any], open: bool) -> list[dict[str, Any]]:
    """What the manifest says, in parts that unfold; the reply of the request alone is no setting."""
    named = {"machine": "Machine", "options": "Options", "prompt_set": "Prompt set", "server": "The server's own record",
             "client": "Client", "health": "Disturbances"}  # fmt: skip
    parts = [pages.part(name, about[key], open=open and key == "machine") for key, name in named.items() if about.get(key)]
    rest = {key: value for key, value in about.items() if key not in (*named, "alone")}
    return parts + ([pages.part("Run", rest)] if rest else [])


def command(one: Measured) -> str:
    """The command that measures the same again, quoted for a shell."""
    about, schedule = one.about, one.schedule
    options, usual = about.get("options", {}), Options()
    given = {"--host": about.get("host"), "--profile": one.found["profile"], "--requests": schedule.get("requests")}
    if not one.is_sweep:
        closed = one.found["profile"] == "concurrent"
        given |= {"--concurrency": schedule["concurrency"] if closed else None, "--rate": schedule["rate"],
                  "--duration": schedule["duration_s"]}  # fmt: skip
    given |= {"--seed": schedule.get("seed"), "--prompts": about.get("prompt_set", {}).get("name"),
              "--max-tokens": options.get("max_tokens"), "--timeout": options.get("timeout_s", usual.timeout_s)}  # fmt: skip
    words = [word for name, value in given.items() if value is not None for word in (name, _word(value))]
    words += ["--ignore-eos"] if options.get("ignore_eos") else []
    words += [word for name, limit in about.get("slo", {}).items() for word in ("--slo", f"{name}={_word(limit)}")]
    return shlex.join(["benchkit", "load", one.found["model"], *words])


def _word(value: Any) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
