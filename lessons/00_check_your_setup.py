# %% [markdown]
# # 00 · Check your setup
#
# **You will learn** what on this computer can spoil a measurement, which models are here, and how large the error of
# the measuring instrument itself is: the smallest difference that you may take seriously.
#
# **About 10 minutes**, of which the computer works for half a minute. No network is used, and no model is asked.

# %% tags=["parameters"]
streams = [1, 32, 128]  # with how many replies at a time the instrument is weighed
watch_s = 1.0  # how long the doctor watches what other programs do, in s

# %% tags=["nbval-ignore-output"]
import matplotlib as mpl
import pandas as pd

from benchkit import figures, machine
from benchkit.backends import find_models
from benchkit.canvas import STYLE, canvas
from benchkit.weigh import QUICK, holding_weighing, how_to_weigh, weigh

mpl.rcParams.update(STYLE)
machine.machine_record()["packages"]

# %% [markdown]
# These are the versions that made this notebook. Run the cell (Shift + Enter), and they are yours. Note them down
# with every result: another version of an engine is another engine.

# %% [markdown]
# ## Ask the doctor
#
# A language model keeps the whole computer busy, so whatever else it has to do is part of the result. The doctor
# looks at what can be seen from here. In a terminal the same is `benchkit doctor`.

# %% tags=["nbval-ignore-output"]
findings = machine.doctor(watch_s)
print(*findings, sep="\n")

# %%
seen = {finding.name for finding in findings}
assert {"Python", "Packages", "llama.cpp", "Processor", "Memory", "Disk", "Host", "Quiet machine"} <= seen
assert all(finding.ok for finding in findings if finding.name in ("Python", "Packages", "llama.cpp"))
print("everything that is needed is installed")

# %% [markdown]
# `WARN` forbids nothing. It names something that will be in your numbers, and the arrow says what to do about it:
#
# | finding | what it does to a measurement |
# |---|---|
# | llama.cpp, Processor instructions | an engine built for an older processor leaves the fast instructions unused: the same model is slower, every time |
# | Processor | with one usable core, the system and the model take turns, and single replies take longer |
# | Memory | a model that does not fit is read from disk again and again: many times slower, and not evenly |
# | Disk | a full disk ends a run; the replies written before are safe |
# | Power source, Frequency governor | on battery or in powersave the clock is lowered: all speeds fall, perhaps in the middle of a run |
# | Host | in a virtual machine others may take processor time away, unseen from here but for one counter |
# | Quiet machine | a busy program slows some replies and not others, so two models are not compared under like conditions |

# %% [markdown]
# ## Which models are here?
#
# Three small ones come with this folder. GGUF files in the usual folders and the models of a server on this computer
# (Ollama, LM Studio) are found too. The name in the first column is what all other lessons take.

# %% tags=["nbval-ignore-output"]
models = pd.DataFrame(find_models())
models[["name", "size_mib"]].round(1)

# %%
assert {"gguf:pocket-xs", "gguf:pocket-s", "gguf:pocket-m"} <= set(models["name"])
print("the three shipped models are here")

# %% [markdown]
# A model's file must fit into memory, with room to spare. `size_mib` is the file's size in MiB.

# %% [markdown]
# ## Weigh the scale
#
# Who buys by weight should know how far the scale is off. Here the scale is this toolkit, and the known weight is a
# *truth server*: it has no model, writes each token at a moment that was fixed before, and notes when it really
# did. What we read minus what it noted is **our own error**. One reply at a time, then many, as a busy server gives.

# %% tags=["nbval-ignore-output"]
found = weigh(**QUICK | {"streams": streams})
print(f"took {found['took_s']} s; other programs used {found['busy_share']:.0%} of the processor meanwhile")

# %%
assert [row["n_streams"] for row in found["rows"]] == streams
assert all(row["n_requests"] > 0 for row in found["rows"])
print("weighed with", *streams, "replies at a time")

# %% [markdown]
# Two errors come out of it, and they are kept apart. **Reply side**: how much later than the server wrote the first
# text do we say that it came? **Request side**: how much later than we sent a request did the server read it?

# %% tags=["nbval-ignore-output"]
SIDES = {"reply side": "reply_error_ms", "request side": "request_delay_ms"}
columns = {"mean": "mean (ms)", "p99": "p99 (ms)", "max": "max (ms)", "n": "n"}
errors = pd.DataFrame([{"side": side, "streams": row["n_streams"], "failed": row["n_failed"],
                        **{column: row[key][name] for name, column in columns.items()}}
                       for side, key in SIDES.items() for row in found["rows"]])  # fmt: skip
errors.set_index(["side", "streams"])[[*columns.values(), "failed"]].round(2)

# %% [markdown]
# *n* is the number of requests, *p99* the error that 99 of 100 stay below. It takes 299 requests to say a p99, so
# with one stream there is none (NaN), and the maximum must do. `failed` should be 0: a reply that is lost has no
# error to show.

# %% tags=["nbval-ignore-output"]
fig, axes = canvas("How late is each side?", "by the number of replies at a time; lower is better", 3.2,
                   ncols=2, sharey=True)  # fmt: skip
for ax, (side, rows) in zip(axes, errors.groupby("side")):
    for name, marker in (("max", "x"), ("p99", "^"), ("mean", "o")):
        ax.plot(rows["streams"].astype(str), rows[columns[name]], marker, markersize=8, label=name)
    ax.set(title=side, xlabel="streams (replies at a time)", ylabel="error (ms)")
    ax.set_ylim(0, 1.1 * errors["max (ms)"].max())
    ax.margins(x=0.2)
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
worst = "; ".join(f"{e['side']}, {e['streams']} at a time: {e['max (ms)']:.2f} ms" for e in errors.to_dict("records"))
figures.show(fig, f"Mean, p99 and largest error of the reply side and of the request side. The largest: {worst}.")

# %% [markdown]
# Look at the upper marks. Usually, the more replies at a time, the later the last ones are read, for they wait in line
# for one reader. The mean grows less: half of the requests were started one after the other and not all at once.

# %% [markdown]
# ## Why the request side stands apart
#
# The server noted when it *wrote*, so what the reply side is late was added after that, on the way to our stamp. It is
# **the instrument's own error**. The server also noted when it *read*, and between our sending and its reading lies its
# own lateness: it may have been busy with others. Nobody can share that out, so it is shown, and not called ours.

# %% [markdown]
# ## The smallest difference that says anything
#
# Two replies, and one has its first token so many milliseconds sooner. Could the instrument alone have made that
# difference? Yes, if it is smaller than p99 (or the maximum) of the reply side: *too fine*. A time to first token
# begins with the sending, so the request side is in it too: up to both sides together, a difference is *doubtful*.

# %% tags=["nbval-ignore-output"]
late = errors.assign(late=errors["p99 (ms)"].fillna(errors["max (ms)"])).pivot(index="streams", columns="side")["late"]
ours, both = late["reply side"], late.sum(axis=1)
readings = pd.DataFrame({"reply side (ms)": ours.round(2), "both sides (ms)": both.round(2)})
for ms in (0.1, 0.5, 1, 5, 20):
    readings[f"{ms} ms apart"] = ["too fine" if ms <= o else "doubtful" if ms <= b else "seen" for o, b in zip(ours, both)]
readings.round(2)

# %% [markdown]
# In each row, the first `seen` is the finest mark on this scale. It does not yet say "this model is faster": a computer
# has moods that are larger than this. They are the subject of lessons 02 and 03.

# %% [markdown]
# ## Is the reader light enough?
#
# The instrument shares the processor with what it measures. A *bare reader* only stamps what comes and throws it
# away: nothing that understands what it reads can do with less processor time. How many times as much do we need?

# %% tags=["nbval-ignore-output"]
cost = pd.DataFrame([{"streams": row["n_streams"], "protocol": protocol, **cpu}
                     for row in found["rows"] for protocol, cpu in row["cpu"].items()])  # fmt: skip
names = {"us_per_token": "this toolkit (µs/token)", "bare_us_per_token": "bare reader (µs/token)", "ratio": "times"}
cost.set_index(["streams", "protocol"])[[*names]].rename(columns=names).round(1)

# %% [markdown]
# µs/token is processor time in millionths of a second. One stream alone costs most a token, for each of its tokens
# wakes the reader; of many streams several are read at one waking.

# %% [markdown]
# ## What a weighing holds for
#
# Another processor, another version of Python or of this toolkit, another number of streams, more tokens a second:
# each may change the errors. So a weighing is saved together with all of these, and a load test (lesson 07) looks for
# one that fits. If there is none it says "scale not weighed", and how to weigh it.

# %% tags=["nbval-ignore-output"]
n_streams, chunks_per_s = found["rows"][-1]["n_streams"], found["rows"][-1]["chunks_per_s"]
for n, rate in ((n_streams, chunks_per_s), (n_streams + 1, chunks_per_s), (n_streams, 10 * chunks_per_s)):
    fits = "weighed" if holding_weighing(n, rate) else f"not weighed; try: {how_to_weigh(n, rate)}"
    print(f"{n} streams, {rate:,.0f} chunks/s: {fits}")

# %% [markdown]
# One stream more, or as many streams at ten times the speed, and this weighing says nothing about the errors.

# %% [markdown]
# ## Questions to try
#
# 1. Start something heavy (a video, a large download) and run the cell `found = weigh(…)` and those below it again.
#    Which of the numbers grow most, and what does the doctor say?
# 2. `found["rows"][-1]["starts"]` has the errors of lock-step and staggered starts apart. Which are larger, and why?
# 3. On a laptop: weigh once on the charger and once on battery. Would you compare two models across that change?
# 4. Why is a truth server needed at all? Could one not ask a real model a thousand times and take the smallest time
#    for the true one?
#
# <details><summary>Answers</summary>
#
# 1. Mostly the maximum and p99: a reader is late when it must wait for the processor, which is seldom but long.
# 2. Lock-step: all first tokens come in one instant, and the last one read has waited for all others. Staggered, each
#    is read on its own.
# 3. No: then the clock's frequency is compared, and not the models.
# 4. A model's own time varies, and the instrument's error is in every one of the thousand, the smallest included.
#
# </details>
#
# **Next:** [01 · First tokens](01_first_tokens.ipynb): one question, one answer, and what happens between.
