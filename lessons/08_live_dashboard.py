# %% [markdown]
# # 08 · Watch a run live
#
# **You will learn** to start a run from a notebook without measuring the notebook along with it, to watch it in
# JupyterLab, in a terminal and as a web page, where each number on the screen comes from, and how to make sure that
# the view does not disturb what it shows.
#
# **About 15 minutes**, of which the computer works for less than one. No network is used.

# %% tags=["parameters"]
models = "gguf:pocket-xs,gguf:pocket-s"  # with commas between them
prompts = "categories"  # a prompt set of prompts/, or the path of a .txt or .jsonl file
trials = 1  # how often each prompt is asked
output_folder = "benchmark_outputs/lesson_08"  # relative to the project's folder; a new one begins a new run
wait_s = 600  # how long this notebook waits for the run to end

# %%
import json
import time

from benchkit import live, places

folder = places.ROOT / output_folder
words = ["--models", models, "--prompts", prompts, "--trials", str(trials), "--speed"]  # as after `benchkit run`
replay = None

# %% [markdown]
# ## The dashboard
#
# It gets a run's folder, and the words of the command that makes the run. There may be nothing in the folder yet.

# %% tags=["page", "nbval-ignore-output"]
from benchkit.dashboard import Dashboard, text_of

view = Dashboard(folder, words, replay)
view

# %% [markdown]
# **Start** starts the run, **Stop** stops it as Ctrl-C would, **Continue** goes on where it was stopped. The next cell
# presses Start for you, so that this notebook also works where nobody can press anything. Run it, scroll up, and look:
# questions and replies as they are written, the numbers so far, each result with its checks behind the small triangle.

# %%
view.start()
print("started, in a process of its own")

# %% [markdown]
# In a process of its own: the run shares neither memory nor interpreter with this notebook. Restart the kernel, close
# the browser: it goes on, and a new dashboard on the same folder shows it again. Now wait for its end.

# %%
snapshot = view.wait(wait_s)
assert snapshot.state == "complete" and snapshot.done == snapshot.total
print("complete: every reply that was planned is there")

# %% [markdown]
# Widgets need a living notebook behind them. Where there is none, such as on a page that only shows notebooks, the
# same snapshot is readable as text:

# %% tags=["nbval-ignore-output"]
print(text_of(snapshot))

# %% [markdown]
# ## Where the numbers come from
#
# The dashboard asks nobody. It reads the folder, in which the run writes each reply the moment it is complete, and a
# small `status.json`, at most twice a second, for everything that no artifact can tell yet:

# %% tags=["nbval-ignore-output"]
status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
{name: value for name, value in status.items() if name not in ("command", "pid")}

# %%
assert {"state", "done", "total", "partial", "prompt_text", "seconds_left"} <= set(status)
print("status.json says how far the run is; every result is in an artifact")

# %% [markdown]
# So there can be any number of views, none of which can block the run: a file that is read does not wait for its
# reader. Progress and the live reply come from `status.json`; speeds, checks and the table come from the artifacts,
# through the same formulas as in lesson 03. The cards need all replies, so they come last.

# %%
rows = view.results.rows
checked = [row for row in rows if row["n_checks"]]
assert len(rows) == snapshot.done and all(row["n_passed"] <= row["n_checks"] for row in checked)
print("one row a reply, each with the result of its checks")

# %% [markdown]
# ## A view must not disturb
#
# Whoever measures with one hand and draws with the other measures the drawing too. So a view is another process, looks
# at most once a second, reads only what is new, and rests longer where a look was dear. What does a look cost when
# nothing has happened?

# %% tags=["nbval-ignore-output"]
watched = live.Watched(folder)
watched.poll()  # the first look reads everything
start_ns = time.perf_counter_ns()
for _ in range(1000):
    watched.poll()
print(f"one look at {snapshot.done} known results: {(time.perf_counter_ns() - start_ns) / 1e9:.3f} ms")

# %% [markdown]
# Little is not nothing, and a view could also disturb through the memory bus or the caches. The honest way to know is
# to measure with and without it. Two runs, one with and one without, differ by more than any view costs. So within
# *one* run the view is stopped and continued (the signals SIGSTOP and SIGCONT), in blocks of a few
# hundredths of a second, in the order A B B A, so that a slow drift of the machine falls on both alike.

# %% [markdown]
# ## Three windows, one run
#
# In a terminal, next to the run or anywhere else on this computer:
#
# | command | what you see |
# |---|---|
# | `benchkit run …` | the terminal's view, by itself |
# | `benchkit watch benchmark_outputs/lesson_08 --terminal` | the same, of a run that another process makes |
# | `benchkit watch benchmark_outputs/lesson_08` | this dashboard as a web page, for this computer and you alone |
#
# The web page is this very notebook, of which only the cell with the dashboard is shown. It watches, and has no buttons
# that start or stop.

# %% [markdown]
# ## See it again
#
# A run that is over can be played again, here five times as fast as it was. `benchkit watch RUN --replay 5` does the same.

# %% tags=["nbval-ignore-output"]
again = Dashboard(folder, replay=5)
again

# %%
assert again.wait(wait_s).done == snapshot.done
print("played to its end")

# %% [markdown]
# ## What a model writes is text
#
# A reply can hold anything, also `<script>…</script>`. A dashboard that put replies into its page as they are would let
# a model run programs in your browser. Here every reply is escaped on its way into the page, and what is invisible is
# made visible:

# %%
from benchkit.text import visible

print(visible("<script>alert(1)</script> \x1b[31mred \u202etfel ot thgir"))

# %% [markdown]
# ## Questions to try
#
# 1. Set `trials = 200` and a new `output_folder`, start, and press **Stop** in the middle. What does the dashboard tell
#    you to type? Then press **Continue**. What was lost?
# 2. While it runs, restart this notebook's kernel and run the first three code cells. Why is the run still there?
# 3. While it runs, rename its folder. What do the views say? Give it its name back, and press **Look again**.
# 4. Why are the cards not worked out after every reply?
# 5. Your model writes 20 tokens a second. How often would a view that draws each token draw, and what for?
#
# <details><summary>Answers</summary>
#
# 1. The command that continues the run. At most the reply that was being written was lost.
# 2. It is a process of its own, and not the kernel's. The dashboard only reads the folder.
# 3. That the folder was moved or deleted. The run notices it too, when it wants to write the next artifact.
# 4. To name a winner, all replies are compared prompt by prompt. That takes the processor from the model.
# 5. Twenty times a second, and nobody reads faster than a few words a second. Ten times is the most that is passed on.
#
# </details>
