"""Figures of a load run. Each function returns `(fig, alt)`: alt is the sentence that says what the figure shows.

    show(*waits_figure(load.read_requests(folder), found, begin_ns))

`found` is the run's summary; `begin_ns` is the moment from which its times are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchkit import metrics
from benchkit.canvas import COLOURS, GREY, INK, FigureAndAlt, beside, canvas, nothing, styled
from benchkit.metrics import S
from benchkit.text import counted, number, visible
from benchkit.traffic import GAUGE_PERIOD_MS, Gauge, Request

GROUND = "#e9eef4"  # under the part of a run that counts


def _shade(ax: Any, found: Mapping[str, Any], begin_ns: int) -> None:
    """Mark the window: the part of the run that its numbers are of."""
    start, end = ((found["window"][edge] - begin_ns) / S for edge in ("start_ns", "end_ns"))
    ax.axvspan(start, end, color=GROUND, lw=0, zorder=0)
    for edge in (start, end):
        ax.axvline(edge, color=GREY, lw=1, ls=(0, (4, 2)), zorder=1)
    ax.annotate("window", (start, 0.985), xycoords=("data", "axes fraction"), xytext=(4, 0),
                textcoords="offset points", va="top", fontsize=9, color=GREY)  # fmt: skip


def _window_told(found: Mapping[str, Any], begin_ns: int) -> str:
    start, end = ((found["window"][edge] - begin_ns) / S for edge in ("start_ns", "end_ns"))
    return f"the window that counts is from {number(start)} to {number(end)} s"


@styled
def in_flight_figure(gauge: Gauge, found: Mapping[str, Any], begin_ns: int) -> FigureAndAlt:
    """How many requests were under way at each moment, and which part of the run counts."""
    title = "Requests in flight"
    if len(gauge) < 2:
        return nothing(title, "the gauge was not kept, for the run did not come to its end")
    at_once = found["concurrency"]
    said = f"{number(at_once['achieved'])} on average in the window, {at_once['peak']} at most"
    fig, ax = canvas(title, f"{said}.", 3.3, f"Read every {GAUGE_PERIOD_MS} ms by a counter that knows nothing of the "
                     "requests' stamps. Grey ground: the window that latencies and rates are of.")  # fmt: skip
    ax.plot([(t - begin_ns) / S for t, _ in gauge], [n for _, n in gauge], color=COLOURS[0], lw=1.4,
            drawstyle="steps-post")  # fmt: skip
    _shade(ax, found, begin_ns)
    if at_once["asked"] is not None:
        ax.axhline(at_once["asked"], color=COLOURS[1], lw=1.4, ls=(0, (2, 2)), zorder=1)
        beside(ax, at_once["asked"], f"{at_once['asked']} asked", color=COLOURS[1])
    ax.set(xlabel="Time since the start (s)", ylabel="Requests in flight")
    ax.set_ylim(0, 1.18 * max(at_once["asked"] or 0, *(n for _, n in gauge), 1))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    asked = "" if at_once["asked"] is None else f" ({at_once['asked']} asked for)"
    return fig, visible(f"{title} over time: {said}{asked}; {_window_told(found, begin_ns)}.")


# ---------------------------------------------------------------- every request


@styled
def waits_figure(requests: Sequence[Request], found: Mapping[str, Any], begin_ns: int) -> FigureAndAlt:
    """What each request took, by when it was due: clocks that start at the schedule, and at the send."""
    title = "Response time by when the request was due"
    if not requests:
        return nothing(title, "no request was sent")
    at_once = found["profile"] == "throughput"
    places = list(range(1, len(requests) + 1)) if at_once else [(_due_ns(r) - begin_ns) / S for r in requests]
    fig, ax = canvas(title, _waits_subtitle(requests, at_once), 4.2, "A stall shows as a slope: whoever was due during it "
                     "waited for its end. Where the marks part, the client sent late.")  # fmt: skip
    _waits(ax, places, requests)
    if not at_once:
        _shade(ax, found, begin_ns)
    ax.set(xlabel="Request, in the order of sending" if at_once else "When the request was due (s since the start)",
           ylabel="Time taken (s)")  # fmt: skip
    ax.set_ylim(0, 1.1 * max(_response_s(r) for r in requests))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)  # above the axes: a stall may be anywhere in them
    return fig, visible(_waits_told(title, places, requests, at_once))


def _due_ns(request: Request) -> int:
    due = request.recording.t_scheduled_ns
    return request.recording.t_sent_ns if due is None else due


def _response_s(request: Request) -> float:
    return (request.recording.t_end_ns - _due_ns(request)) / S


def _waits_subtitle(requests: Sequence[Request], at_once: bool) -> str:
    n_failed = sum(r.failure is not None for r in requests)
    failed = f", {n_failed} of them failed" if n_failed else ""
    due = "; all were due at the start, so they stand in the order of sending" if at_once else ""
    return f"{counted(len(requests), 'request')}{failed}, warm-up and cool-down included{due}."


def _waits(ax: Any, places: Sequence[float], requests: Sequence[Request]) -> None:
    """Two marks for each completed request, one for a failed one."""
    done = [(x, r) for x, r in zip(places, requests) if r.failure is None]
    failed = [(x, r) for x, r in zip(places, requests) if r.failure is not None]
    style = {"ls": "", "clip_on": False}
    ax.plot([x for x, _ in done], [_response_s(r) for _, r in done], marker="o", ms=6, mfc="none", mec=COLOURS[1],
            mew=1.2, label="response time, from the schedule", **style)  # fmt: skip
    ax.plot([x for x, _ in done], [metrics.latency_s(r.recording) for _, r in done], marker=".", ms=5,
            color=COLOURS[0], label="latency, from the send", **style)  # fmt: skip
    if failed:
        ax.plot([x for x, _ in failed], [_response_s(r) for _, r in failed], marker="X", ms=8, mfc=INK, mec="white",
                label="failed, from the schedule", zorder=4, **style)  # fmt: skip


def _waits_told(title: str, places: Sequence[float], requests: Sequence[Request], at_once: bool) -> str:
    done = [r for r in requests if r.failure is None]
    failed = f"; {len(requests) - len(done)} failed, marked with a cross" if len(done) < len(requests) else ""
    if not done:
        return f"{title}: none of {counted(len(requests), 'request')} was completed{failed}."
    slowest = max(done, key=_response_s)
    place = number(places[requests.index(slowest)])
    where = f"sent as number {place}" if at_once else f"due at {place} s"
    return (f"{title}: median {number(median(map(_response_s, done)))} s from the schedule and "
            f"{number(median(metrics.latency_s(r.recording) for r in done))} s from the send (n = {len(done)} requests); "
            f"the longest, {where}, took {number(_response_s(slowest))} s{failed}.")  # fmt: skip


# ---------------------------------------------------------------- a sweep


@styled
def sweep_figure(found: Mapping[str, Any]) -> FigureAndAlt:
    """What a server makes of more and more requests a second, and the rate up to which it keeps up."""
    title = "From few requests a second to too many"
    points = [p for p in found["points"] if p["due_per_s"] is not None]
    if not points:
        return nothing(title, "no run of this sweep had a rate")
    n = max(p["response_time_s"]["n"] for p in points)
    fig, axes = canvas(title, f"Each mark is one load run of up to {counted(n, 'request')} in its window. {knee_told(found)}", 7.0,
                       "Round: the server kept up. Cross: it did not, and its latencies depend on how long the run "
                       "was.", nrows=3, sharex=True)  # fmt: skip
    shown = (("Response time,\nmedian (s)", lambda p: p["response_time_s"]["p50"]),
             ("TTFT,\nmedian (ms)", lambda p: p["ttft_ms"]["p50"]),
             ("Completed\n(requests/s)", lambda p: p["requests_per_s"]))  # fmt: skip
    for ax, (name, value) in zip(axes, shown):
        _curve(ax, [(p["due_per_s"], value(p), p["kept_up"]) for p in points])
        ax.set_ylabel(name)
        _mark_knee(ax, found)
    _name_lines(axes, found, points)
    axes[-1].set(xlabel="Requests that became due (requests/s)")
    axes[-1].set_xlim(0, 1.05 * max(p["due_per_s"] for p in points))
    return fig, visible(f"{title}: " + "; ".join(map(_point_told, points)) + f". {knee_told(found)}")


def knee_told(found: Mapping[str, Any]) -> str:
    """The knee of a sweep as a sentence.

    >>> knee_told({"knee": {"requests_per_s": 4.0, "not_at": None}})
    'Knee: the server kept up with 4.00 requests/s, and with every rate that was tried.'
    """
    kept, not_at = found["knee"]["requests_per_s"], found["knee"]["not_at"]
    if kept is None:
        return "The knee is not among these rates: the server did not keep up with the lowest one."
    more = "and with every rate that was tried" if not_at is None else f"not with {number(not_at)}"
    return f"Knee: the server kept up with {number(kept)} requests/s, {more}."


def knee_point(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The run of a sweep with the highest rate that the server kept up with; None: there is none."""
    kept = found["knee"]["requests_per_s"]
    return next((p for p in found["points"] if kept is not None and p["rate"] == kept), None)


def _curve(ax: Any, points: Sequence[tuple[float, float | None, bool | None]]) -> None:
    known = [(x, y, kept) for x, y, kept in points if y is not None]
    ax.plot([x for x, _, _ in known], [y for _, y, _ in known], color=COLOURS[0], lw=1.4, zorder=2)
    for x, y, kept in known:
        ax.plot(x, y, ls="", marker="o" if kept else "X", ms=8 if kept else 9, mfc=COLOURS[0] if kept else COLOURS[1],
                mec="white", zorder=3)  # fmt: skip
    ax.set_ylim(0, 1.12 * max((y for _, y, _ in known), default=1))


def _mark_knee(ax: Any, found: Mapping[str, Any]) -> None:
    point = knee_point(found)
    if point is not None:
        ax.axvline(point["due_per_s"], color=INK, lw=1.2, ls=(0, (4, 2)), zorder=1)


def _name_lines(axes: Sequence[Any], found: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
    """What the lines are: the knee in the first panel, in the last as many as became due."""
    point = knee_point(found)
    if point is not None:
        axes[0].annotate("knee", (point["due_per_s"], 0.96), xycoords=("data", "axes fraction"), xytext=(-5, 0),
                         textcoords="offset points", va="top", ha="right", fontsize=9.5)  # fmt: skip
    due = [0, max(p["due_per_s"] for p in points)]
    axes[-1].plot(due, due, color=GREY, lw=1.1, ls=(0, (2, 2)), zorder=1)
    axes[-1].set_ylim(0, 1.12 * max(due[1], *(p["requests_per_s"] or 0 for p in points)))
    axes[-1].legend([Line2D([], [], color=GREY, lw=1.1, ls=(0, (2, 2)))], ["all that became due"], loc="lower right")


def _point_told(p: Mapping[str, Any]) -> str:
    kept = {True: "kept up", False: "not kept up", None: "not known whether kept up"}[p["kept_up"]]
    return (f"at {number(p['due_per_s'])} requests/s {number(p['requests_per_s'])} were completed a second, median "
            f"response time {number(p['response_time_s']['p50'])} s, TTFT {number(p['ttft_ms']['p50'])} ms, {kept}")  # fmt: skip
