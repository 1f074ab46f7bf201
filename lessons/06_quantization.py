# %% [markdown]
# # 06 · Quantization: from the bits to the decision
#
# **You will learn** what stands in the bytes of a quantised model, to turn them back into weights by hand, to foretell
# a file's size to the byte, and to decide with numbers which type is good enough for you.
#
# **About 45 minutes**, of which the computer works for about two. No network is used.

# %% tags=["parameters"]
model = "gguf:pocket-s"  # a model in F16: a shipped one, or gguf:/path/to/model-F16.gguf
types = ["Q8_0", "Q6_K", "Q4_K_M", "Q3_K_L", "Q2_K"]  # the variants to make
sizes = ["gguf:pocket-xs", "gguf:pocket-s", "gguf:pocket-m"]  # the family on the last page
n_characters = 30_000  # how much of the evaluation text is read; all of it takes a few minutes
tensor = "blk.0.ffn_gate.weight"  # the table of weights that we look into

# %% tags=["nbval-ignore-output"]
import tempfile
from pathlib import Path

import gguf
import numpy as np
import pandas as pd

from benchkit import bench, blocks, figures, figures_quant, fit, gguf_header, machine, tables, tensors
from benchkit.backends import locate
from benchkit.perplexity import DEFAULT_TEXT, perplexity
from benchkit.plan import make_plan
from benchkit.text import number

pd.set_option("display.float_format", number, "display.max_colwidth", 70)
machine.machine_record()["packages"]

# %% [markdown]
# ## Why fewer bits?
#
# A model's file is little else than its weights: numbers, by the million. Each token that is written needs nearly all
# of them once, so they must come out of memory once a token. A file of half the size is read in half the time,
# *if reading is what takes the time*. To quantise is to store each weight with fewer bits. What does that cost?

# %%
source = locate(model)
header = gguf_header.read_header(source)
names = {"F16": model} | {type: f"{model}:{type}" for type in types}
files = {type: locate(name) for type, name in names.items()}  # made now if they are not in the cache, in seconds
print(f"{model}: {tensors.n_parameters(header.tensors):,} parameters in {len(header.tensors)} tensors")

# %% [markdown]
# A *tensor* is a table of weights with a name. llama.cpp's own quantiser made the variants, each in a file of its own
# (in a terminal: `benchkit quantize`). How large are they?

# %%
headers = {type: gguf_header.read_header(path) for type, path in files.items()}
pd.DataFrame([{"type": type, "file (MiB)": files[type].stat().st_size / 2**20,
               "bits a weight": tensors.bits_per_weight(h.tensors),
               "mix": ", ".join(f"{s.n_tensors} {s.type}" for s in tensors.mix_of(h.tensors))}
              for type, h in headers.items()]).set_index("type")  # fmt: skip

# %% [markdown]
# `Q4_K_M` is not "4 bits". It is a *mix*: most tensors get Q4_K, the ones that matter most get Q6_K, and the tiny norms
# stay F32. The bits a weight follow from the file, 8 × bytes of its tensors / parameters, and not from the name.

# %% [markdown]
# ## Foretell the file, to the byte
#
# llama.cpp chooses a type for each tensor by rules: what it does, and in which layer. The same rules are in
# `benchkit/tensors.py`. With the shape of a model alone, before any file exists:

# %%
shape = tensors.architecture_of(header)
foretold = {type: tensors.n_bytes(tensors.predict(shape, type)) for type in files}
found = {type: tensors.n_bytes(h.tensors) for type, h in headers.items()}
assert foretold == found
print(shape)
pd.DataFrame({"foretold (bytes)": foretold, "in the file (bytes)": found}).map("{:,}".format)

# %% [markdown]
# Equal to the byte. So you can say what a variant of a model weighs before you download it.

# %% [markdown]
# ## The simplest block: Q8_0
#
# Weights are stored in *blocks*. A block of Q8_0 holds 32 weights: one scale `d`, and 32 whole numbers `q` from −127 to
# 127. The weight is `d · q`.

# %%
figures.show(*figures_quant.layout_figure("Q8_0"))

# %%
raw = {type: blocks.read_tensor(path, tensor) for type, path in files.items()}
block = np.array(raw["Q8_0"].data).reshape(-1, 34)
d = block[:, :2].copy().view(np.float16).astype(np.float32)
q = block[:, 2:].view(np.int8)
by_hand = {"Q8_0": d * q}
print("first block: d =", d[0, 0], " q =", q[0, :8], "…  weights =", by_hand["Q8_0"][0, :4], "…")

# %% [markdown]
# Is that right? The package `gguf`, of llama.cpp's own authors, decodes the same bytes. *Bit for bit* means: not about
# equal, but the same 32 bits in every number.


# %%
def same_bits(weights, type):
    """Whether these weights are what llama.cpp's own package makes of the bytes, bit for bit."""
    stored = raw[type]
    theirs = gguf.quants.dequantize(np.array(stored.data), gguf.GGMLQuantizationType[stored.type])
    return np.array_equal(np.ravel(weights).view(np.uint32), theirs.view(np.uint32).ravel())


assert same_bits(by_hand["Q8_0"], "Q8_0")
print(f"{by_hand['Q8_0'].size:,} weights, the same bit for bit")

# %% [markdown]
# ## Four bits: Q4_K
#
# 256 weights a block, in 8 groups of 32. Each group has a 6-bit scale `sc` and a 6-bit minimum `m`, and these have a
# scale each, `d` and `dmin`, for the whole block: weight = `d·sc·q − dmin·m`. The minimum is *subtracted*.

# %%
figures.show(*figures_quant.layout_figure("Q4_K"))

# %%
block = np.array(raw["Q4_K_M"].data).reshape(-1, 144)
d, dmin = np.hsplit(block[:, :4].copy().view(np.float16).astype(np.float32), 2)
a, b, c = block[:, 4:8], block[:, 8:12], block[:, 12:16]  # 8 scales and 8 minimums of 6 bits in 12 bytes
scale = np.hstack([a & 63, (c & 15) | (a >> 6) << 4])
minimum = np.hstack([b & 63, (c >> 4) | (b >> 6) << 4])
nibbles = block[:, 16:].reshape(-1, 4, 32)  # low halves: one group of 32; high halves: the next group
q = np.stack([nibbles & 15, nibbles >> 4], axis=2).reshape(-1, 8, 32)
by_hand["Q4_K_M"] = (d * scale)[..., None] * q - (dmin * minimum)[..., None]
assert raw["Q4_K_M"].type == "Q4_K" and same_bits(by_hand["Q4_K_M"], "Q4_K_M")
print("first block:", scale[0], "scales,", minimum[0], "minimums, all weights the same bit for bit")

# %% [markdown]
# The trap is in `nibbles`: two neighbours in a byte are *not* neighbours in the row. The low half of byte 0 is weight 0,
# its high half is weight 32.

# %% [markdown]
# ## Six, three and two bits
#
# Q6_K keeps the low 4 bits and the high 2 bits of each `q` apart, has 16 groups of 16 and no minimum: `d·sc·(q − 32)`.

# %%
block = np.array(raw["Q6_K"].data).reshape(-1, 210)
low, high, scale = block[:, :128].reshape(-1, 2, 1, 64), block[:, 128:192].reshape(-1, 2, 1, 32), block[:, 192:208]
low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 256)
high = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(-1, 256)
q = (low | high << 4).astype(np.float32) - 32
d = block[:, 208:].copy().view(np.float16).astype(np.float32)
by_hand["Q6_K"] = (d * scale.view(np.int8))[..., None] * q.reshape(-1, 16, 16)
assert raw["Q6_K"].type == "Q6_K" and same_bits(by_hand["Q6_K"], "Q6_K")
print("q of the first weights:", q[0, :8].astype(int), "from −32 to 31; the same bit for bit")

# %% [markdown]
# Q3_K stores the third bit of each weight in a mask of its own, and it means the opposite of what one expects: where it
# is *not* set, 4 is taken away. weight = `d·(sc − 32)·(q − 4·(bit not set))`.

# %%
block = np.array(raw["Q3_K_L"].data).reshape(-1, 110)
mask, two, packed = block[:, :32, None], block[:, 32:96].reshape(-1, 2, 1, 32), block[:, 96:108]
two = np.concatenate([two >> shift & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(-1, 256)
third = np.concatenate([(mask >> bit & 1).reshape(-1, 32) for bit in range(8)], axis=1)
low = np.hstack([packed[:, :8] & 15, packed[:, :8] >> 4])
high = np.hstack([packed[:, 8:] >> shift & 3 for shift in (0, 2, 4, 6)])
scale = (low | high << 4).astype(np.float32) - 32
q = two.astype(np.float32) - 4 * (1 - third.astype(np.float32))
d = block[:, 108:].copy().view(np.float16).astype(np.float32)
by_hand["Q3_K_L"] = (d * scale)[..., None] * q.reshape(-1, 16, 16)
assert raw["Q3_K_L"].type == "Q3_K" and same_bits(by_hand["Q3_K_L"], "Q3_K_L")
print("q of the first weights:", q[0, :8].astype(int), "from −4 to 3; the same bit for bit")

# %% [markdown]
# Q2_K has 16 groups of 16 again, each with a scale and a minimum of 4 bits that share one byte.

# %%
block = np.array(raw["Q2_K"].data).reshape(-1, 84)
both, two = block[:, :16], block[:, 16:80].reshape(-1, 2, 1, 32)
q = np.concatenate([two >> shift & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(-1, 16, 16)
d, dmin = np.hsplit(block[:, 80:].copy().view(np.float16).astype(np.float32), 2)
by_hand["Q2_K"] = (d * (both & 15))[..., None] * q - (dmin * (both >> 4))[..., None]
assert raw["Q2_K"].type == "Q2_K" and same_bits(by_hand["Q2_K"], "Q2_K")
print("all five types, decoded by hand:", ", ".join(by_hand))

# %% [markdown]
# Nothing in a quantised file is secret. `benchkit/blocks.py` does the same with names for every step.

# %% [markdown]
# ## What rounding does to a row
#
# The original row is still there, in the F16 file. So the error of each type can be seen, weight by weight:

# %%
row = 0
original = np.array(raw["F16"].row(row)).view(np.float16).astype(np.float32)
decoded = {type: np.ravel(weights).reshape(-1, len(original))[row] for type, weights in by_hand.items()}
figures.show(*figures_quant.rounding_figure(original, {type: decoded[type] for type in types if type in decoded}))

# %% [markdown]
# Each bit less about doubles the error. That a weight is off by some percent says little yet: what counts is what comes
# out when thousands of them are multiplied and summed.

# %% [markdown]
# ## On its way to an answer a weight stays small
#
# In a dot product the weights are never unpacked to floats in memory. The *activations* are rounded to 8 bits as well,
# whole numbers are multiplied and summed, and the scales are applied once a block. By hand, for Q8_0:

# %%
x = np.random.default_rng(1).standard_normal(len(original)).astype(np.float32)  # activations
block = np.array(raw["Q8_0"].row(row)).reshape(-1, 34)
d_w, q_w = block[:, :2].copy().view(np.float16).astype(np.float32), block[:, 2:].view(np.int8).astype(np.int32)
d_x, q_x = blocks.quantise_activations("Q8_0", x)
whole = (q_w * q_x.astype(np.int32)).sum(axis=1)  # 32 products of whole numbers, one sum a block
print(f"{len(whole)} blocks, sums of whole numbers: {whole[:4]} …")
print(f"by hand {(d_w * d_x)[:, 0] @ whole:.5f}, benchkit {blocks.quantised_dot('Q8_0', raw['Q8_0'].row(row), x):.5f}, "
      f"with floats {decoded['Q8_0'] @ x:.5f}, original weights {original @ x:.5f}")  # fmt: skip

# %%
rounding = np.abs(x).max() / 127 / 2 * np.abs(decoded["Q8_0"]).sum()  # what rounding the activations can do at most
assert abs((d_w * d_x)[:, 0] @ whole - decoded["Q8_0"] @ x) <= rounding
print("the difference is within what rounding the activations can make")

# %% [markdown]
# That is why a processor's integer instructions matter for quantised models, and why unpacking costs time too: the more
# tricks a type uses to save bits, the more arithmetic each weight needs.

# %% [markdown]
# ## How much worse does the model get?
#
# **Perplexity**: how surprised is the model by a text that it has never seen? It is exp of the mean −ln of the
# probability that it gave each actual token; 1 would be no surprise. It compares variants of *one* model well, and
# says nothing about models with another tokenizer. **KLD** is how far the variant's probabilities are from the F16's.

# %% tags=["nbval-ignore-output"]
text = Path(tempfile.mkdtemp()) / "text.txt"
text.write_text(DEFAULT_TEXT.read_text(encoding="utf-8")[:n_characters], encoding="utf-8")
scores = {type: perplexity(name, text, against=model, progress=False) for type, name in names.items()}
pd.DataFrame([{"type": type, "perplexity": s.perplexity, "± SE": s.se, "ln ratio to F16": s.against.ln_ppl_difference,
               "± SE of it": s.against.ln_ppl_difference_se, "KLD (nat)": s.against.kld,
               "same top token (%)": 100 * s.against.same_top_share, "n tokens": s.n_scored}
              for type, s in scores.items()]).set_index("type")  # fmt: skip

# %%
assert scores["F16"].against.kld < 1e-9 and scores["F16"].against.same_top_share == 1
smallest = min(files, key=lambda type: files[type].stat().st_size)
assert scores[smallest].against.kld > scores["Q8_0"].against.kld
print("F16 against itself differs by nothing, and the smallest file differs more than Q8_0")

# %% [markdown]
# The standard error beside the perplexity is large, for it holds how hard the *text* is. All variants read the same text,
# so look at the next two columns: the difference, token by token, has a much smaller error. Where it is not twice its
# own SE away from 0, these tokens cannot tell the variant from the original.

# %% [markdown]
# ## Predict, then measure
#
# `benchkit fit` foretells speed from the shape of a model alone. Until it was calibrated on your machine
# (`benchkit fit --calibrate`, two minutes) it knows only how fast memory is read, which gives an upper bound.

# %% tags=["nbval-ignore-output"]
foretold = {type: fit.forecast(name, depth=64) for type, name in names.items()}
mine = {type: one.decode_tokens_per_s for type, one in foretold.items()}  # your forecast: mine["Q4_K_M"] = …
pd.DataFrame({"decode (tok/s)": mine, "an upper bound?": {type: one.is_upper_bound for type, one in foretold.items()},
              "memory (MiB)": {type: one.memory.total_mib for type, one in foretold.items()}})  # fmt: skip

# %% [markdown]
# Before you go on: put the speeds that *you* expect into `mine`. Now measure, and while we are at it the whole family,
# every size in every type: speed with replies of forced length, quality on 60 prompts, perplexity on the text above.

# %% tags=["nbval-ignore-output"]
variants = {f"{size}{':' + type if type != 'F16' else ''}": type for size in sizes for type in ["F16", *types]}
page = make_plan(list(dict.fromkeys([*variants, *names.values()])), prompts="categories", trials=1, max_tokens=64,
                 speed=True, perplexity={"file": str(text)})  # fmt: skip
run = bench.run(page, Path(tempfile.mkdtemp()) / "run", progress=False)
results = tables.results(run)
summary = tables.summarize(results).set_index("configuration")
tables.verdict(results)

# %% tags=["nbval-ignore-output"]
measured = {type: summary.loc[name, "decode_tokens_per_s"] for type, name in names.items()}
pd.DataFrame({"mine (tok/s)": mine, "measured (tok/s)": measured,
              "my error (%)": {t: 100 * fit.score(mine[t], measured[t]) for t in names}})  # fmt: skip

# %% [markdown]
# The fewer the bits, the more the forecast is too high: our model fits into the processor's cache as a whole, so reading
# memory is not what takes the time. What is left is arithmetic, and unpacking adds to it. **A tiny model gains next to
# nothing from fewer bits.** On models larger than any cache the forecast is much better; yet there,
# too, Q3_K can be slower than the larger Q4_K, because its bits are harder to put together.

# %% [markdown]
# ## One page to decide on
#
# Every size in every type: memory, speed, quality on 60 prompts and perplexity, each with its 95 % interval or error.

# %% tags=["nbval-ignore-output"]
pd.DataFrame([{
    "file (MiB)": row["size_mib"], "peak memory (MiB)": row["peak_memory_mib"],
    "decode (tok/s)": f"{number(row['decode_tokens_per_s'])} ({number(row['decode_tokens_per_s_low'])}–"
                      f"{number(row['decode_tokens_per_s_high'])})",
    "correct (%)": f"{100 * row['pass_rate']:.0f} ({100 * row['pass_rate_low']:.0f}–{100 * row['pass_rate_high']:.0f})",
    "perplexity": f"{row['perplexity']:.3f} ± {row['perplexity_se']:.3f}",
    "s per correct": row["seconds_per_correct"]} for _, row in summary.iterrows()], index=summary.index)  # fmt: skip

# %% tags=["nbval-ignore-output"]
figures.show(*figures.tradeoff_figure(summary.reset_index()))

# %% tags=["nbval-ignore-output"]
for card in tables.cards(results):
    print(f"{card.title.capitalize()}: {card.winner or card.outcome}. {card.reason}.\n")

# %% [markdown]
# Perplexity tells sizes apart that sixty prompts cannot: it has thousands of tokens to go by, and every variant reads
# the same ones. Most cards say "not distinguishable", and that is an answer: among those choose by memory.

# %% [markdown]
# From the page to a choice:
#
# | type | when one would choose it |
# |---|---|
# | F16 | as the reference, and as the source of all others |
# | Q8_0 | there is room, and nobody should have to wonder what quantising did |
# | Q6_K | nearly as safe, a quarter smaller than Q8_0 |
# | Q4_K_M | the usual choice: a larger model in 4 bits is mostly better than a smaller one in 16 |
# | Q3_K_L, Q2_K | only if nothing else fits; check *your* task first, for the loss is no longer small |
#
# Whether a loss matters is seen in your task and not in a percentage from a table: sixty prompts cannot tell two
# variants apart that differ in two answers, and the page says so.

# %% [markdown]
# ## Questions to try
#
# 1. Set `model = "gguf:pocket-m"`. Is the same type as harmless there? Which of the columns tell you soonest?
# 2. A weight row of 100 numbers: which of the types above can store it, and what does llama.cpp do with the others?
# 3. Why does the table show the ln ratio with a much smaller error than the perplexity itself?
# 4. An 8-billion-parameter model in Q4_K_M has 4.9 bits a weight. How large is its file? Does it fit into 8 GB, and
#    what else needs room?
#
# <details><summary>Answers</summary>
#
# 1. KLD and the share of the same top token move first; right answers need far more than 60 prompts to show it.
# 2. None: blocks hold 32 or 256 weights, and a row must be a multiple. llama.cpp takes a type with smaller blocks, or
#    leaves such a tensor in 16 bits.
# 3. How hard the text is, is the same for both models and cancels in the difference: it is a paired comparison.
# 4. 8 × 10⁹ × 4.9 / 8 ≈ 4.9 GB. The KV cache, the logits and the system need room too; with 8 GB it is tight.
#
# </details>
#
# **Next:** [07 · Load profiles](07_load_profiles.ipynb): one user is easy; what about many?
