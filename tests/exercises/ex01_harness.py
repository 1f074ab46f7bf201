"""Other right answers to exercise 1, and the misconceptions that its checks must name."""

CHAT = '''
def call_ollama(model, prompt, host):
    """By /api/chat, with a session, reading raw lines."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True,
            "options": {"temperature": 0.0, "seed": 1}}
    text, t_first, count = "", None, None
    with requests.Session() as session:
        t_sent = time.perf_counter()
        reply = session.post(host + "/api/chat", json=body, stream=True)
        reply.raise_for_status()
        for line in reply.iter_lines(chunk_size=None):
            data = json.loads(line.decode("utf-8"))
            piece = data["message"]["content"]
            if piece != "" and t_first is None:
                t_first = time.perf_counter()
            text += piece
            if data["done"]:
                count = data["eval_count"]
    t_end = time.perf_counter()
    return dict(response=text, ttft_s=None if t_first is None else t_first - t_sent, latency_s=t_end - t_sent,
                eval_count=count)
'''

BY_STATUS = '''
def call_ollama(model, prompt, host):
    """Times in ns, and the error raised by hand."""
    start = time.perf_counter_ns()
    reply = requests.post(f"{host}/api/generate", stream=True, timeout=60,
                          data=json.dumps({"model": model, "prompt": prompt, "options": {"temperature": 0}}))
    if reply.status_code >= 400:
        raise requests.HTTPError(reply.text, response=reply)
    answer = {"response": "", "ttft_s": None}
    for line in reply.iter_lines():
        part = json.loads(line)
        if part.get("response") and answer["ttft_s"] is None:
            answer["ttft_s"] = (time.perf_counter_ns() - start) / 1e9
        answer["response"] += part.get("response", "")
    answer["eval_count"] = part["eval_count"]
    answer["latency_s"] = (time.perf_counter_ns() - start) / 1e9
    return answer
'''

OTHER_SOLUTIONS = {
    "call_ollama": [CHAT, BY_STATUS],
    "warmup_model": [
        """
def warmup_model(model, host, n=2):
    while n > 0:
        try:
            call_ollama(model, f"Count to {n}.", host)
        except requests.RequestException:
            pass
        n -= 1
""",
    ],
    "run_benchmark": [
        """
import itertools

def one_row(model, prompt, host):
    start = time.perf_counter()
    try:
        row = call_ollama(model, prompt, host)
        row["error"] = None
        return row
    except Exception as problem:
        return {"response": None, "error": repr(problem), "latency_s": time.perf_counter() - start}

def run_benchmark(model, prompts, host, trials=3):
    warmup_model(model, host)
    order = itertools.product(range(trials), range(len(prompts)))
    return [{"trial": t, "prompt": p, **one_row(model, prompts[p], host)} for t, p in order]
""",
    ],
    "analyze_benchmark": [
        """
import numpy as np

def analyze_benchmark(rows):
    times = np.array([r["latency_s"] for r in rows], dtype=float)
    ok = np.array([r["error"] is None for r in rows], dtype=bool)
    done, n = times[ok], int(ok.sum())
    return {"n": n, "n_failed": len(rows) - n,
            "mean_s": done.mean() if n else None, "max_s": done.max() if n else None,
            "p95_s": np.percentile(done, 95) if n > 58 else None,
            "requests_per_min": 60 * n / times.sum() if len(rows) else None, "median_s": None}
""",
        """
def analyze_benchmark(rows):
    found = dict.fromkeys(["mean_s", "p95_s", "max_s", "requests_per_min"])
    done = sorted(row["latency_s"] for row in rows if not row["error"])
    found["n"], found["n_failed"] = len(done), sum(row["error"] is not None for row in rows)
    if rows:
        found["requests_per_min"] = len(done) / (sum(row["latency_s"] for row in rows) / 60)
    if done:
        found["mean_s"], found["max_s"] = sum(done) / len(done), done[-1]
    if len(done) >= 59:
        place = 0.95 * (len(done) - 1)
        i = int(place)
        found["p95_s"] = done[i] + (place - i) * (done[i + 1] - done[i])
    return found
""",
    ],
}

CALL = '''
def call_ollama(model, prompt, host):
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
    return {"response": "".join(pieces), "ttft_s": ttft_s, "latency_s": latency_s, "eval_count": part["eval_count"]}
'''
RUN = """
def run_benchmark(model, prompts, host, trials=3):
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
"""
ANALYZE = """
def analyze_benchmark(rows):
    done = [row["latency_s"] for row in rows if row["error"] is None]
    all_s = sum(row["latency_s"] for row in rows)
    return {"n": len(done), "n_failed": len(rows) - len(done), "mean_s": statistics.mean(done), "max_s": max(done),
            "p95_s": statistics.quantiles(done, n=100, method="inclusive")[94] if len(done) >= 59 else None,
            "requests_per_min": 60 * len(done) / all_s}
"""


def changed(code, old, new):
    assert old in code, old
    return code.replace(old, new)


MISCONCEPTIONS = [
    ("analyze_benchmark", changed(ANALYZE, "statistics.mean(done)", "statistics.median(done)"), "this is the median"),
    ("call_ollama", changed(CALL, 'part["response"] and ttft_s is None', "ttft_s is None"), "first text that is not empty"),
    ("call_ollama", changed(CALL, 'part["response"] and ttft_s is None', 'part["response"]'), "not of the last"),
    ("call_ollama", changed(CALL, "stream=True, ", ""), "read while it streams"),
    ("call_ollama", changed(CALL, 'part["eval_count"]', "len(pieces)"), "one line may hold several tokens"),
    ("call_ollama", changed(CALL, 'part["eval_count"]', "len([p for p in pieces if p])"), "one piece may hold several tokens"),
    ("call_ollama", changed(CALL, '"options": {"temperature": 0}', '"temperature": 0'), "only inside `options`"),
    ("call_ollama", changed(CALL, '"".join(pieces)', '" ".join(pieces).strip()'), "with nothing between"),
    ("call_ollama", changed(CALL, '"latency_s": latency_s', '"latency_s": 1000 * latency_s'), "in seconds"),
    ("call_ollama", changed(CALL, '"".join(pieces)', "pieces[-2]"), "you kept the last piece only"),
    ("warmup_model", "def warmup_model(model, host, n=2):\n    return [call_ollama(model, 'Hi.', host) for _ in range(n)]",
     "throw the replies away"),
    ("warmup_model", "def warmup_model(model, host, n=2):\n    for _ in range(n):\n        call_ollama(model, '', host)",
     "but not generate"),
    ("run_benchmark", changed(changed(RUN, "for trial in range(trials)", "for i, prompt in enumerate(prompts)"),
                              "        for i, prompt in enumerate(prompts):\n            t", "        for trial in range(trials):\n            t"),
     "the loop over trials is the outer one"),
    ("run_benchmark", changed(RUN, "    warmup_model(model, host)\n", ""), "call `warmup_model(model, host)` before the loops"),
    ("run_benchmark", changed(RUN, "            except requests.RequestException as error:\n", "            except ZeroDivisionError as error:\n"),
     "catch the exception inside the loop"),
    ("run_benchmark", changed(RUN, "time.perf_counter() - t_sent", "None"), "stop the time in the `except` block"),
    ("analyze_benchmark", changed(ANALYZE, " if row[\"error\"] is None]", "]"), "you counted the failed request"),
    ("analyze_benchmark", changed(ANALYZE, "all_s = sum(row[\"latency_s\"] for row in rows)", "all_s = sum(done)"),
     "the failed request took time too"),
    ("analyze_benchmark", changed(ANALYZE, "60 * len(done) / all_s", "sum(60 / s for s in done) / len(done)"), "you averaged the rate"),
    ("analyze_benchmark", changed(ANALYZE, "statistics.quantiles(done, n=100, method=\"inclusive\")[94]", "sorted(done)[95]"),
     "this is one of the values"),
]  # fmt: skip

_POST = "with requests.post(f'{host}/api/generate', json=body, stream=True"
_SAY = "call_ollama(model, 'Say hello.', host) → call_ollama(model, "

EQUIVALENT_MUTANTS = {
    "call_ollama": [
        *(f"{_POST}, timeout=120) as reply: → {_POST}{other}) as reply:: a check cannot wait for two minutes"
          for other in ("", ", timeout=121", ", timeout=119")),
        "pieces.append(part['response']) → pieces.extend(part['response']): the characters join to the same text",
    ],
    "warmup_model": [f"{_SAY}{other}, host): any text will do"
                     for other in ("'XXSay hello.XX'", "'say hello.'", "'SAY HELLO.'")],
}  # fmt: skip
