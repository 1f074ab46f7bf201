# %% [markdown]
# # 01 · First tokens
#
# **You will learn** to ask a local model for one reply and watch it arrive token by token, to work out
# its two most important times by hand, and to tell a slow start from a slow model.
#
# **About 15 minutes.** You need nothing but this folder: the model ships with it, and no network is used.

# %% tags=["parameters"]
model_name = "gguf:pocket-s"  # the model to ask; gguf:/path/to/any.gguf works too

# %% tags=["nbval-ignore-output"]
import pandas as pd

from benchkit import figures, machine, metrics
from benchkit.backends import Options, connect
from benchkit.errors import BenchkitError

machine.machine_record()["packages"]

# %% [markdown]
# The versions above belong to the machine that made this notebook. Run the cell, and they are yours.
# The same holds for **every time and speed in this lesson**: you measure them yourself, now.

# %% [markdown]
# ## Load a model
#
# A model is one file of numbers. `connect` starts a small helper process that loads the file and answers
# through a pipe, so that a model that crashes takes only its helper with it.

# %%
model = connect(model_name)
about = model.describe()
print(f"{model.name}: {about['parameters']:,} parameters stored as {about['quantisation']}, "
      f"{about['size_bytes'] / 1024**2:.1f} MiB on disk, at most {about['n_ctx']} tokens at a time")

# %% [markdown]
# *Parameters* are the numbers; F16 means 16 bits for each. A small model, then: large ones have a thousand
# times as many. It was trained for a handful of tasks, and everything that this course measures on it can be measured in the same way on the large ones.

# %% [markdown]
# ## Ask for one reply
#
# `stream` sends a prompt and returns a *recording*: every piece of the reply and the time at which it came.
# `temperature=0` means: always take the most likely next token, so that asking twice gives the same reply.

# %% tags=["nbval-ignore-output"]
prompt = "Extract JSON with keys {name, email} from: 'Name: Sam, Email: sam@example.com'"
reply = model.stream(prompt, Options(max_tokens=64, temperature=0.0))
print(reply.response)
print("ended:", reply.state)

# %% [markdown]
# The state `ok` says that the model itself ended the reply, with an *end token* that has no text.

# %% [markdown]
# ## Look at the pieces
#
# A model reads and writes *tokens*: pieces of text from a fixed list, a word or part of one. The reply arrives
# in *chunks*. Here each chunk is one token; other engines may send several at once, so tokens are counted by
# the engine, never by chunks. Each chunk carries a stamp of one clock, in nanoseconds: here are the first
# eight, in milliseconds since the prompt was sent.

# %% tags=["nbval-ignore-output"]
chunks = pd.DataFrame({
    "arrived_ms": [(chunk.t_ns - reply.t_sent_ns) / 1e6 for chunk in reply.chunks],
    "kind": [chunk.kind for chunk in reply.chunks],
    "text": [repr(chunk.text) for chunk in reply.chunks],
})
chunks.head(8).round(2)

# %%
assert (chunks["arrived_ms"].diff().dropna() >= 0).all()  # one clock, and it never runs backwards
assert "".join(chunk.text for chunk in reply.chunks) == reply.response
print("the stamps never run backwards, and the pieces join to the reply")

# %% [markdown]
# The first piece usually takes longest: before it the model reads the whole prompt (*prefill*), after it it
# only writes (*decode*). Here some of the wait is also that this was the model's very first reply; see below.

# %% [markdown]
# ## Two times, by hand
#
# **TTFT**, the time to first token, is how long you wait before anything appears. **TPOT**, the time per
# output token, is how fast it then goes on. With *n* tokens there are *n* − 1 gaps between them, so TPOT
# divides by *n* − 1: the first token's time is already in TTFT, and counting it twice would be an error.

# %% tags=["nbval-ignore-output"]
t_first, t_last = reply.chunks[0].t_ns, reply.chunks[-1].t_ns
n = reply.counts["output"].value

ttft_ms = (t_first - reply.t_sent_ns) / 1e6
tpot_ms = (t_last - t_first) / 1e6 / (n - 1)
print(f"n = {n} tokens, counted by the {reply.counts['output'].source}")
print(f"TTFT {ttft_ms:.2f} ms, TPOT {tpot_ms:.2f} ms/token, so {1000 / tpot_ms:.0f} tokens/s while decoding")

# %% [markdown]
# Now the same two numbers by the package. They are not *about* the same: they must be equal, for the
# package does nothing else.

# %%
assert metrics.ttft_ms(reply) == ttft_ms
assert metrics.tpot_ms(reply) == tpot_ms
print("by hand and by the package: the same TTFT, the same TPOT")

# %% [markdown]
# Open `benchkit/metrics.py` and you can read each formula; most are one line.

# %% [markdown]
# ## See it on a line
#
# One reply as a timeline: the wait, then a mark for each chunk.

# %% tags=["nbval-ignore-output"]
figures.show(*figures.timeline_figure(reply))

# %% [markdown]
# The empty stretch on the left is TTFT. From the second mark on the steps are nearly even: in decoding, every
# token costs about the same work, whatever its text. The first step is often longer.

# %% [markdown]
# ## The first reply is not like the others
#
# A model that was loaded a moment ago is slower: its file is still being read into memory, the processor's
# caches are cold, the clock frequency has not risen. So we load it afresh and ask the same five times.

# %% tags=["nbval-ignore-output"]
model.close()
model = connect(model_name)
replies = [model.stream(prompt, Options(max_tokens=64)) for _ in range(5)]
pd.DataFrame({
    "reply": range(1, 6),
    "ttft_ms": [metrics.ttft_ms(r) for r in replies],
    "decode_tokens_per_s": [metrics.decode_tokens_per_s(r) for r in replies],
}).round(1)

# %% [markdown]
# Compare the first row with the median of the others. Often it is the slowest; a slow row further down is
# your computer doing something else for a moment. A benchmark that keeps the first reply measures the loading,
# not the model; one that throws it away *silently* hides what you would see. So: warm up, unrecorded, and say so.

# %%
assert len({r.response for r in replies}) == 1
print("five replies, word for word the same: temperature 0 on one machine with nothing else changed")

# %% [markdown]
# ## How long is a reply?
#
# A reply ends in one of two ways: the model ends it (`ok`), or it reaches the limit we set (`length`).

# %%
short = model.stream(prompt, Options(max_tokens=4))
whole = model.stream(prompt, Options(max_tokens=64))
forced = model.stream(prompt, Options(max_tokens=64, ignore_eos=True))
for name, r in (("limit of 4", short), ("limit of 64", whole), ("forced to 64", forced)):
    print(f"{name:13s} ended: {r.state:7s}", "exactly the limit" if r.state == "length" else "before the limit")
assert short.counts["output"].value == 4 and forced.counts["output"].value == 64

# %% [markdown]
# With `ignore_eos=True` the model must go on after its end token, so the length is ours, and the text past
# the end is of no use. That is how *speeds* are compared: over equal lengths. *Quality* is judged on replies
# that stop by themselves. A benchmark that mixes the two rewards the model that talks less.

# %% [markdown]
# ## When something is wrong
#
# Ask for a model that does not exist, and read what comes back.

# %% tags=["nbval-ignore-output"]
try:
    connect("gguf:pocket-xxl")
except BenchkitError as error:
    print(error)

# %% [markdown]
# An error here says what was asked, what was found and what to do next. Let the model go when you are done;
# its helper process ends with it.

# %%
model.close()

# %% [markdown]
# ## Questions to try
#
# 1. Make the prompt ten times as long (`prompt * 10`). Which of the two times changes, and why not the other?
# 2. Set `temperature=1.0` and two different seeds. Do the replies differ? Does TPOT?
# 3. `model_name = "gguf:pocket-m"` has more parameters. Predict its TPOT before you measure it.
# 4. Another tool divides (t_last − t_sent) by *n* and calls it TPOT, too. By how much would it differ here?
#    And for a reply of four tokens?
#
# <details><summary>Answers</summary>
#
# 1. TTFT grows, for the whole prompt is read before the first token; TPOT hardly.
# 2. The replies differ (`Options(temperature=1.0, seed=1)`); TPOT only by noise.
# 3. Each token needs every parameter once: multiply by the ratio of the files' sizes, `describe()["size_bytes"]`.
# 4. It gives (TTFT + (n − 1) · TPOT) / n: for four tokens, a quarter of TTFT is in it.
#
# </details>
#
# **Next:** [02 · Run a benchmark](02_run_benchmark.ipynb) asks many prompts of several models, and keeps all.
