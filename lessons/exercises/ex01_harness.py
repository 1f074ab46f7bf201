# %% [markdown]
# # Exercise 1 · Write the harness yourself
#
# **About 50 minutes.** You write the four functions that every benchmark of a local model has: ask, warm up, run,
# analyse. At the end they stand in a script of your own. It helps to have read
# [lesson 01](../01_first_tokens.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. The checks ask a small server inside this notebook that answers as Ollama does: no network is needed.

# %%
import json
import os
import statistics
import time

import requests

from benchkit.exercise_server import stand_in
from benchkit.exercises import called, passed

os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # this computer is asked directly

# %% [markdown]
# ## What Ollama sends
#
# A *streamed* reply comes line by line. Each line is a JSON object with a piece of text, which may be empty;
# the last one says `"done": true` and how many tokens the model generated, `eval_count`. Pieces are not
# tokens: here are two pieces with text, and five tokens. Watch when each line arrives.

# %%
with stand_in(["Hello", " there."], n_tokens=5, first_s=0.06, rest_s=0.03) as server:
    start = time.perf_counter()
    asked = {"model": "tiny", "prompt": "Say hello."}
    with requests.post(f"{server.url}/api/generate", json=asked, stream=True, timeout=60) as answer:
        for raw in answer.iter_lines():
            row = json.loads(raw)
            shown = {key: row[key] for key in ("response", "done", "eval_count") if key in row}
            print(f"{time.perf_counter() - start:.2f} s", shown)

# %% [markdown]
# ## Ask once
#
# Send `prompt` to `model` with `POST {host}/api/generate` and read the reply as it streams. (`/api/chat` is
# allowed too: it takes `messages` and sends its text in `message`, under `content`.) Put `"options":
# {"temperature": 0}` into the body. For an HTTP error, such as 404 for an unknown model, call
# `raise_for_status()`: it raises `requests.HTTPError`. Return a dictionary with four keys:
#
# | key | value |
# |---|---|
# | `response` | the whole text |
# | `ttft_s` | seconds from the send to the first text that is **not empty**; `None` if there is none |
# | `latency_s` | seconds from the send to the end of the reply, after the last line |
# | `eval_count` | the tokens generated, as the last line says |
#
# For the reply above: `{"response": "Hello there.", "ttft_s": 0.06…, "latency_s": 0.09…, "eval_count": 5}`.
# Take all times from `time.perf_counter()`, a clock that is never set forward or back, and start just before the
# request. (Give the request a `timeout`, or a server that hangs will hang your benchmark.)

# %% nbgrader={"grade": false, "grade_id": "call_ollama", "locked": false, "schema_version": 3, "solution": true, "task": false}
def call_ollama(model, prompt, host):
    """One streamed reply: its text, its two times in seconds, its number of tokens."""
    ### BEGIN SOLUTION
    body = {"model": model, "prompt": prompt, "options": {"temperature": 0}}
    pieces, ttft_s = [], None
    t_sent = time.perf_counter()
    with requests.post(f"{host}/api/generate", json=body, stream=True, timeout=120) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines():
            part = json.loads(line)
            if part["response"] and ttft_s is None:
                ttft_s = time.perf_counter() - t_sent
            pieces.append(part["response"])
    latency_s = time.perf_counter() - t_sent
    counts = {"eval_count": part["eval_count"]}
    return {"response": "".join(pieces), "ttft_s": ttft_s, "latency_s": latency_s, **counts}
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_call_ollama", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
with stand_in(["Sa", "m", "."], n_tokens=7, first_s=0.1, rest_s=0.4) as server:
    reply = called("call_ollama", "tiny", "Who wrote this?", server.url)
    reply.part("response").gives("Sam.", because="the pieces were 'Sa', 'm' and '.'",
        hints={".": "you kept the last piece only: join all of them",
        "Sam": "the last piece is missing",
        "Sa m .": "join the pieces as they are, with nothing between"})
    reply.satisfies(lambda _: server.prompts == ["Who wrote this?"],
        f"one request with the prompt; it sent {server.prompts}",
        hint="the prompt stands in the body as `prompt`; for /api/chat in `messages`")
    reply.satisfies(lambda _: server.asked[0]["options"]["temperature"] == 0,
        f"a body with the options; it sent {server.asked[:1]}",
        hint='Ollama reads the temperature only inside `options`: "options": {"temperature": 0}')
    reply.part("eval_count").gives(7, because="the last line says so",
        hints={3: "these are the pieces; one piece may hold several tokens, or half of one",
        5: "these are the lines; one line may hold several tokens, or none"})
    reply.part("latency_s").satisfies(lambda t: 0.49 <= t <= server.open_s, "0.5 s or a little more",
        because="the server paused for 0.1 s and for 0.4 s",
        hint="in seconds, from just before the request to after the last line")
    reply.part("ttft_s").satisfies(lambda t: t >= 0.09, "0.1 s or a little more",
        because="the first line came at once, but its text is empty",
        hint="stop at the first text that is not empty, counted from just before the request")
    reply.satisfies(lambda r: r["ttft_s"] < r["latency_s"] - 0.05, "a ttft_s well below the latency_s",
        because="the rest came 0.4 s after the first text",
        hint="read while it streams (`stream=True` in `requests.post`, then `iter_lines()`), and keep the time of "
             "the first text, not of the last")
### BEGIN HIDDEN TESTS
with stand_in(["Grüße ", "", "aus 東京"], n_tokens=12) as server:
    reply = called("call_ollama", "tiny", "Gruß?", server.url)
    reply.part("response").gives("Grüße aus 東京", because="text may hold any character")
    reply.part("eval_count").gives(12, because="the last line says so")
    reply.satisfies(lambda _: server.prompts == ["Gruß?"], "the prompt as it was given")
with stand_in([], n_tokens=1) as server:
    reply = called("call_ollama", "tiny", "Say nothing.", server.url)
    reply.part("response").gives("", because="no piece had text")
    reply.part("ttft_s").gives(None, because="no text ever came")
    reply.part("latency_s").satisfies(lambda t: 0 < t <= server.open_s, "the seconds that it took")
with stand_in(models=["other"]) as server:
    called("call_ollama", "tiny", "Who?", server.url).raises(requests.HTTPError,
        because="there is no model 'tiny'")
    called("call_ollama", "other", "Who?", server.url).part("response").gives("Hello!")
### END HIDDEN TESTS
passed("call_ollama")

# %% [markdown]
# ## Warm up
#
# The first replies of a fresh model are slower, and would spoil the average. So ask it `n` times before the
# measurement, with any short prompt, and throw the replies away: return nothing. The prompt must not be
# empty, for then Ollama loads the model but generates nothing. Use your `call_ollama`.

# %% nbgrader={"grade": false, "grade_id": "warmup_model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def warmup_model(model, host, n=2):
    """Ask the model n times, and keep nothing."""
    ### BEGIN SOLUTION
    for _ in range(n):
        call_ollama(model, "Say hello.", host)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_warmup_model", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
with stand_in() as server:
    called("call_ollama", "tiny", "Is the first answer ready?", server.url).part("response").gives("Hello!")
with stand_in(models=["small"]) as server:
    warmup = called("warmup_model", "small", server.url, 3)
    warmup.gives(None, because="a warm-up is not part of the results",
        hint="throw the replies away: no `return`")
    warmup.satisfies(lambda _: len(server.prompts) == 3, f"three requests; there were {len(server.prompts)}")
    warmup.satisfies(lambda _: all(prompt.strip() for prompt in server.prompts),
        f"prompts with text; it sent {server.prompts}",
        hint="an empty prompt makes Ollama load the model, but not generate")
### BEGIN HIDDEN TESTS
with stand_in() as server:
    warmup = called("warmup_model", "tiny", server.url)
    warmup.satisfies(lambda _: len(server.prompts) == 2,
        f"two requests where n is not given; there were {len(server.prompts)}")
    warmup = called("warmup_model", model="tiny", host=server.url, n=1)
    warmup.satisfies(lambda _: len(server.prompts) == 3, "one more request")
### END HIDDEN TESTS
passed("warmup_model")

# %% [markdown]
# ## Run the benchmark
#
# Call `warmup_model` once. Then ask every prompt once (trial 0), then every prompt again (trial 1), and so
# on: if the computer slows down meanwhile, that hits all prompts alike. Return a list with one dictionary a
# request, in the order of asking. One failure must not cost the whole run: catch `requests.RequestException`,
# which all errors of `requests` are.
#
# ```python
# {"prompt": 0, "trial": 0, "error": None,
#  "response": "Hello", "ttft_s": 0.2, "latency_s": 0.3, "eval_count": 2}
# {"prompt": 1, "trial": 0, "error": "500 Server Error…", "latency_s": 0.1}
# ```
#
# `prompt` is the prompt's place in the list, from 0. A reply has the four keys of `call_ollama`, and `error`
# is `None`. A failed request has the exception's text in `error`, and in `latency_s` the seconds until it
# failed. The warm-up has no row.

# %% nbgrader={"grade": false, "grade_id": "run_benchmark", "locked": false, "schema_version": 3, "solution": true, "task": false}
def run_benchmark(model, prompts, host, trials=3):
    """One row per request: every prompt in turn, `trials` times over."""
    ### BEGIN SOLUTION
    warmup_model(model, host)
    rows = []
    for trial in range(trials):
        for i, prompt in enumerate(prompts):
            t_sent = time.perf_counter()
            try:
                found = {"error": None, **call_ollama(model, prompt, host)}
            except requests.RequestException as error:
                found = {"error": str(error), "latency_s": time.perf_counter() - t_sent}
            rows.append({"prompt": i, "trial": trial, **found})
    return rows
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_run_benchmark", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
with stand_in() as server:
    called("call_ollama", "tiny", "Is the first answer ready?", server.url).part("response").gives("Hello!")
with stand_in(first_s=0.05, fails=["Red?"]) as server:
    run = called("run_benchmark", "tiny", ["Blue?", "Red?"], server.url, trials=2)
    run.satisfies(lambda rows: len(rows) == 4, "a list of 4 rows",
        because="2 prompts, asked 2 times each, also where one fails",
        hint="catch the exception inside the loop, and add a row for it; the warm-up has no row")
    asked = [prompt for prompt in server.prompts if prompt in ("Blue?", "Red?")]
    run.satisfies(lambda _: asked == ["Blue?", "Red?", "Blue?", "Red?"],
        f"every prompt once, then every prompt again; it asked {asked}",
        hint="the loop over trials is the outer one, the loop over prompts the inner one")
    run.satisfies(lambda _: server.prompts.index("Blue?") == len(server.prompts) - 4 > 0,
        f"a warm-up before the first prompt, and none later; it asked {server.prompts}",
        hint="call `warmup_model(model, host)` before the loops")
    for i, (prompt, trial) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        run.part(i).part("prompt").gives(prompt, because="prompts are numbered from 0",
            hint="use `enumerate(prompts)`")
        run.part(i).part("trial").gives(trial, because="trials are numbered from 0")
    run.part(0).part("error").gives(None, because="that request was answered")
    run.part(0).part("response").gives("Hello!", because="the row holds what call_ollama returned")
    run.part(1).part("error").satisfies(lambda text: isinstance(text, str) and text, "the exception's text",
        hint="`str(error)`")
    run.part(1).part("latency_s").satisfies(lambda t: 0.04 <= t <= server.open_s,
        "the seconds until it failed, 0.05 or more",
        hint="stop the time in the `except` block too")
### BEGIN HIDDEN TESTS
with stand_in(models=["small"]) as server:
    run = called("run_benchmark", "small", ["a", "b", "c"], server.url)
    run.satisfies(lambda rows: len(rows) == 9, "9 rows: 3 prompts, and 3 trials where nothing is said")
    run.satisfies(lambda rows: all(row["error"] is None and row["eval_count"] == 3 for row in rows),
        "replies in every row")
    run.satisfies(lambda _: len(server.prompts) == 11,
        f"2 requests of warm-up and 9; there were {len(server.prompts)}")
with stand_in(first_s=0.05, fails=["b"]) as server:
    run = called("run_benchmark", "tiny", ["a", "b"], server.url, 1)
    run.part(1).part("error").satisfies(lambda text: "500" in text,
        "the exception's text, which names the status 500")
    run.part(0).part("latency_s").satisfies(lambda t: 0.04 <= t <= server.open_s,
        "the latency that call_ollama returned")
    called("run_benchmark", "tiny", [], server.url).gives([], because="there is no prompt")
### END HIDDEN TESTS
passed("run_benchmark")

# %% [markdown]
# ## Analyse it
#
# Make one dictionary of the rows. A failed request is no quick reply: it is counted in `n_failed`, and its
# time is in no mean, P95 or maximum. But it did take time, so it slows the rate: two replies and one
# failure, each of 1 s, are 40 requests/min.
#
# | key | value |
# |---|---|
# | `n`, `n_failed` | how many requests were answered, and how many failed |
# | `mean_s`, `max_s` | mean and largest latency of the answered requests, in s; `None` if there is none |
# | `p95_s` | their 95th percentile, in s; `None` if fewer than 59 were answered (lesson 03 says why; it counts *prompts*, so trust it only where each was asked once) |
# | `requests_per_min` | 60 × answered requests / sum of **all** latencies; `None` if there are no rows |
#
# For the percentile use `statistics.quantiles(values, n=100, method="inclusive")[94]` or, the same,
# `np.percentile(values, 95)` (then put `import numpy as np` into this cell).

# %% nbgrader={"grade": false, "grade_id": "analyze_benchmark", "locked": false, "schema_version": 3, "solution": true, "task": false}
def analyze_benchmark(rows):
    """Counts, mean, P95 and maximum of the latencies in s, requests per minute."""
    ### BEGIN SOLUTION
    done = [row["latency_s"] for row in rows if row["error"] is None]
    all_s = sum(row["latency_s"] for row in rows)
    return {
        "n": len(done),
        "n_failed": len(rows) - len(done),
        "mean_s": statistics.mean(done) if done else None,
        "p95_s": statistics.quantiles(done, n=100, method="inclusive")[94] if len(done) >= 59 else None,
        "max_s": max(done) if done else None,
        "requests_per_min": 60 * len(done) / all_s if rows else None,
    }
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_analyze_benchmark", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
rows = [{"error": None, "latency_s": 0.5}, {"error": "500 Server Error", "latency_s": 0.3},
        {"error": None, "latency_s": 2.0}, {"error": None, "latency_s": 0.8}]  # fmt: skip
found = called("analyze_benchmark", rows)
found.part("n").gives(3, because="three were answered", hints={4: "you counted the failed request"})
found.part("n_failed").gives(1, because="the second one has an error")
found.part("mean_s").gives(1.1, because="(0.5 + 2.0 + 0.8) / 3", hints={
    0.9: "the failed request is in your mean", 0.8: "this is the median"})
found.part("max_s").gives(2.0, because="the slowest of 0.5, 2.0 and 0.8")
found.part("p95_s").gives(None, because="3 requests are too few for a P95")
found.part("requests_per_min").gives(50.0, because="60 × 3 answered / 3.6 s in all", hints={
    200 / 3: "you counted the failed request as answered", 180 / 3.3: "the failed request took time too",
    75.0: "you averaged the rate of each reply; divide the count by the sum of times"})
hundred = [{"error": None, "latency_s": 0.01 * (100 - i)} for i in range(100)]
called("analyze_benchmark", hundred).part("p95_s").gives(0.9505,
    because="it lies between the 95th, 0.95 s, and the 96th, 0.96 s", hints={
    0.96: "this is one of the values; take the percentile as the text above says",
    0.95: "this is one of the values; take the percentile as the text above says",
    0.0595: "sort the latencies first", 0.06: "sort the latencies first"})
called("analyze_benchmark", []).part("mean_s").gives(None, because="there are no rows")
### BEGIN HIDDEN TESTS
rows = [{"error": None, "latency_s": 0.1 * (i % 59)} for i in range(59)]
called("analyze_benchmark", rows).part("p95_s").gives(5.51, because="59 requests are enough")
called("analyze_benchmark", rows[:58]).part("p95_s").gives(None, because="58 requests are too few")
called("analyze_benchmark", [*rows[1:], {"error": "timeout", "latency_s": 9.0}]).part("p95_s").gives(None,
    because="58 were answered")
found = called("analyze_benchmark", [{"error": "timeout", "latency_s": 5.0}])
for key, value in {"n": 0, "n_failed": 1, "mean_s": None, "p95_s": None, "max_s": None,
    "requests_per_min": 0}.items():
    found.part(key).gives(value, because="one request, and it failed")
found = called("analyze_benchmark", [])
for key, value in {"n": 0, "n_failed": 0, "mean_s": None, "p95_s": None, "max_s": None,
    "requests_per_min": None}.items():
    found.part(key).gives(value, because="there are no rows")
called("analyze_benchmark", [{"error": None, "latency_s": 0.8}]).part("requests_per_min").gives(75.0,
    because="60 / 0.8 s")
### END HIDDEN TESTS
passed("analyze_benchmark")

# %% [markdown]
# ## A script of your own
#
# Once all four checks pass, this cell copies the cells of your four functions into `benchmark_local_llm.py`,
# beside this notebook. Its last lines ask 60 questions once each: 60 different prompts are enough for a P95,
# and twenty prompts asked three times would not be. (If your cells use an `import` of another cell, repeat it
# in theirs.)

# %%
import inspect
from pathlib import Path

start = """import json
import os
import statistics
import sys
import time

import requests

os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
"""
end = """if __name__ == "__main__":
    questions = [f"What is {a} × {b}?" for a in range(2, 12) for b in range(3, 9)]
    results = run_benchmark(sys.argv[1], questions, sys.argv[2], trials=1)
    print(json.dumps(analyze_benchmark(results), indent=2))
"""
functions = (call_ollama, warmup_model, run_benchmark, analyze_benchmark)
cells = dict.fromkeys("".join(inspect.findsource(function)[0]) for function in functions)
if any("raise NotImplementedError()" in cell for cell in cells):
    print("First write the four functions, then run this cell again.")
else:
    Path("benchmark_local_llm.py").write_text("\n\n".join([start, *cells, end]), encoding="utf-8")
    print("written:", Path("benchmark_local_llm.py").resolve())

# %% [markdown]
# ## Try it
#
# Open two terminals. In the first, start a real model behind Ollama's protocol, and leave it running; in the
# second, go to the folder printed above and run the script with the model's name and the server's address:
#
# ```
# benchkit serve gguf:pocket-s --port 11500
# python benchmark_local_llm.py pocket-s http://127.0.0.1:11500
# ```
#
# If you have Ollama with a model of yours, the same script measures it: `python benchmark_local_llm.py MODEL
# http://127.0.0.1:11434`. It is a harness that you can read to the last line. What it lacks, and lesson 02
# has: each reply on disk as soon as it is there, the settings beside it, and a run that can be continued.
