# %% [markdown]
# # Exercise 7 · Foretell size, memory and speed
#
# **About 40 minutes.** You will say whether a model fits into a machine and how fast it can be at most, before you
# download it; and then how far off such a forecast was. It helps to have read [lesson 06](../06_quantization.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed.

# %%
from benchkit.exercises import called, passed

# %% [markdown]
# ## How large is the file?
#
# A model's file is little else than its weights. So its size follows from how many there are, and from the bits that one
# weight costs. Write `file_bytes(n_parameters, bits_per_weight)`: the size in bytes.
# `file_bytes(1_000_000, 16)` returns `2000000.0` (bytes; `2000000` is as right).

# %% nbgrader={"grade": false, "grade_id": "file_bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def file_bytes(n_parameters, bits_per_weight):
    """Bytes of all weights."""
    ### BEGIN SOLUTION
    return n_parameters * bits_per_weight / 8
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_file_bytes", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("file_bytes", 8_000_000_000, 4.5).gives(
    4_500_000_000, because="8 billion weights of 4.5 bits are 36 billion bits, and a byte has 8 bits",
    hints={36_000_000_000: "that is bits; 8 of them are one byte",
           288_000_000_000: "a byte has 8 bits: divide, do not multiply",
           4.5: "that is GB; bytes are asked for",
           4_000_000_000: "a weight may cost half a bit: do not round the bits",
           4291.5344238: "that is MiB; bytes are asked for"},
    within=1e-6)
### BEGIN HIDDEN TESTS
called("file_bytes", 1_000, 6.5625).gives(820.3125, because="1,000 · 6.5625 / 8")
called("file_bytes", 1_235_814_432, 8.5).gives(1_313_052_834, because="a 1.24 billion model in Q8_0")
### END HIDDEN TESTS
passed("file_bytes")

# %% [markdown]
# ## What the context needs
#
# For each token of the context, each layer keeps a *key* and a *value*: the KV cache. Each of the two is
# `n_head_kv` · `head_dim` numbers, of 2 bytes as a rule. llama.cpp first rounds `n_ctx` **up** to a multiple of 256.
#
# Write `kv_cache_mib(n_layer, n_ctx, n_head_kv, head_dim, bytes_per_number=2)`: the cache in MiB (2²⁰ bytes).
# `kv_cache_mib(16, 256, 8, 64)` returns `8.0` (MiB).

# %% nbgrader={"grade": false, "grade_id": "kv_cache_mib", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_mib(n_layer, n_ctx, n_head_kv, head_dim, bytes_per_number=2):
    """MiB that the keys and values of n_ctx tokens need."""
    ### BEGIN SOLUTION
    n_ctx = -(-n_ctx // 256) * 256
    return 2 * n_layer * n_ctx * n_head_kv * head_dim * bytes_per_number / 2**20
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_kv_cache_mib", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("kv_cache_mib", 32, 2048, 8, 128).gives(
    256, because="each token has 8 · 128 numbers of 2 bytes in each key and in each value",
    hints={128: "a key AND a value are kept of each token", 268_435_456: "that is bytes; MiB are 2**20 bytes",
           268.435456: "that is MB, 10**6 bytes; MiB are 2**20 bytes",
           288: "2048 is a multiple of 256 already: nothing to round up"},
    hint="first one token in one layer: how many numbers, how many bytes? Then all layers, all tokens, and MiB")
called("kv_cache_mib", 32, 2000, 8, 128).gives(
    256, because="2000 tokens are rounded up to 2048",
    hints={250: "n_ctx is rounded up to a multiple of 256 first", 224: "round up, not down"})
called("kv_cache_mib", 32, 2048, 8, 128, bytes_per_number=1).gives(
    128, because="a cache of 8-bit numbers has one byte each", hint="use bytes_per_number")
### BEGIN HIDDEN TESTS
called("kv_cache_mib", 16, 1, 8, 64).gives(8, because="one token is rounded up to 256")
called("kv_cache_mib", 4, 257, 2, 32).gives(0.5, because="257 tokens are rounded up to 512")
called("kv_cache_mib", 1, 511, 16, 64, 4).gives(4, because="511 tokens are rounded up to 512")
called("kv_cache_mib", 6, 512, 3, 32).gives(1.125, because="512 is a multiple of 256 already")
### END HIDDEN TESTS
passed("kv_cache_mib")

# %% [markdown]
# ## Will it fit?
#
# Weights, KV cache and everything else (buffers, the process) must fit *together* into the memory that is available.
# A machine filled to the last MiB begins to swap. So say:
#
# - `"no"` if together they need more than is available,
# - `"tight"` if they fit, but need more than 85 % of it,
# - `"yes"` otherwise.
#
# Write `will_it_fit(weights_mib, kv_mib, other_mib, available_mib)`. `will_it_fit(4686, 256, 300, 8000)` returns `"yes"`.

# %% nbgrader={"grade": false, "grade_id": "will_it_fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def will_it_fit(weights_mib, kv_mib, other_mib, available_mib):
    """Whether a model fits into the available memory: "yes", "tight" or "no"."""
    ### BEGIN SOLUTION
    needed_mib = weights_mib + kv_mib + other_mib
    if needed_mib > available_mib:
        return "no"
    return "tight" if needed_mib > 0.85 * available_mib else "yes"
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_will_it_fit", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("will_it_fit", 700, 150, 100, 1000).gives(
    "tight", because="950 of 1,000 MiB fit, but are more than 85 %",
    hints={"yes": "weights, cache and the rest are needed together: 950 MiB",
           "no": "950 MiB are not more than 1,000 MiB"})
called("will_it_fit", 700, 250, 100, 1000).gives(
    "no", because="together they need 1,050 of 1,000 MiB",
    hint="add the cache and the rest to the weights")
called("will_it_fit", 600, 150, 100, 1000).gives(
    "yes", because="850 is 85 % of 1,000, and not more",
    hints={"tight": '"more than 85 %" leaves 85 % itself out', "no": "850 MiB are not more than 1,000 MiB"})
called("will_it_fit", 600, 151, 100, 1000).gives(
    "tight", because="851 is more than 85 % of 1,000", hint="more than 85 % of what is available is tight")
### BEGIN HIDDEN TESTS
called("will_it_fit", 600, 300, 100, 1000).gives("tight", because="exactly 1,000 MiB do fit")
called("will_it_fit", 600, 300, 101, 1000).gives("no", because="1,001 MiB do not")
called("will_it_fit", 1600, 300, 200, 4000).gives("yes", because="2,100 of 4,000 MiB")
called("will_it_fit", 3000, 300, 200, 4000).gives("tight", because="3,500 of 4,000 MiB are 87.5 %")
called("will_it_fit", 900, 0, 0, 1000).gives("tight", because="900 of 1,000 MiB")
called("will_it_fit", 0, 900, 0, 1000).gives("tight", because="900 of 1,000 MiB")
### END HIDDEN TESTS
passed("will_it_fit")

# %% [markdown]
# ## As fast as memory, at most
#
# Each token that a dense model writes needs the weights once (nearly all of them; take all), and the keys and values of
# the tokens before it. They come out of memory, so its bandwidth sets a bound on decode speed. Less than the bound is
# usual. Clearly more means that less is read: the model fits into the processor's cache, or has experts of which few work.
#
# Write `decode_bound(bandwidth_gb_s, weight_bytes, kv_bytes=0)`: tokens a second, at most. A GB/s is 10⁹ bytes a second.
# `decode_bound(40, 4_000_000_000)` returns `10.0` (tokens/s).

# %% nbgrader={"grade": false, "grade_id": "decode_bound", "locked": false, "schema_version": 3, "solution": true, "task": false}
def decode_bound(bandwidth_gb_s, weight_bytes, kv_bytes=0):
    """The most tokens a second that reading weights and KV cache once a token allows."""
    ### BEGIN SOLUTION
    return bandwidth_gb_s * 1e9 / (weight_bytes + kv_bytes)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_decode_bound", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("decode_bound", 50, 5_000_000_000).gives(
    10, because="50 GB/s read 5 GB ten times a second", within=1e-6,
    hints={0.1: "that is seconds a token; tokens a second are asked for",
           10.73741824: "a GB/s is 10**9 bytes a second, not 2**30",
           1e-8: "bandwidth is in GB/s, the weights are in bytes: bring them to one unit",
           80: "both are in bytes: no bits here", 1.25: "both are in bytes: no bits here"},
    hint="bytes that memory gives in a second / bytes that one token needs")
called("decode_bound", 50, 4_000_000_000, 1_000_000_000).gives(
    10, because="weights and cache together are 5 GB for each token", within=1e-6,
    hints={12.5: "the cache must be read for each token too",
           16.6666666667: "the cache is read besides the weights: add it",
           62.5: "add the two times, not the two speeds"})
### BEGIN HIDDEN TESTS
called("decode_bound", 33, 110_000_000, 22_000_000).gives(250, because="33 GB/s / 132 MB", within=1e-12)
called("decode_bound", 20, 16_000_000_000).gives(1.25, because="20 GB/s / 16 GB")
called("decode_bound", 20, 2_500_000).gives(8000, because="a pocket model: 20 GB/s / 2.5 MB")
### END HIDDEN TESTS
passed("decode_bound")

# %% [markdown]
# ## How good was the forecast?
#
# A forecast is worth something once it is set beside a measurement. Its error is a share of what was *measured*:
# 110 foretold and 100 measured is + 10 %, 90 foretold is − 10 %.
#
# Write `forecast_errors(predicted, measured)`. Both are dictionaries from a type to tokens/s; in `measured` a value may be
# `None` (could not be measured). It returns a dictionary from type to error in %, for the types that were foretold **and**
# measured: `forecast_errors({"F16": 110, "Q6_K": 9}, {"F16": 100})` returns `{"F16": 10.0}`, up to rounding.

# %% nbgrader={"grade": false, "grade_id": "forecast_errors", "locked": false, "schema_version": 3, "solution": true, "task": false}
def forecast_errors(predicted, measured):
    """Type → how far its forecast was off, in % of what was measured; above 0 where too much was foretold."""
    ### BEGIN SOLUTION
    errors = {}
    for type, foretold in predicted.items():
        found = measured.get(type)
        if found is not None:
            errors[type] = 100 * (foretold / found - 1)
    return errors
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_forecast_errors", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("forecast_errors", {"Q8_0": 110, "Q4_K_M": 75}, {"Q8_0": 100, "Q4_K_M": 100}).gives(
    {"Q8_0": 10, "Q4_K_M": -25}, because="110 is 10 % too much, 75 is 25 % too little", within=1e-6,
    hints=[({"Q8_0": -10, "Q4_K_M": 25}, "above 0 means that too much was foretold: foretold / measured − 1"),
           ({"Q8_0": 10, "Q4_K_M": 25}, "keep the sign: it says whether too much or too little was foretold"),
           ({"Q8_0": 0.1, "Q4_K_M": -0.25}, "the error is asked for in %"),
           ({"Q8_0": 110, "Q4_K_M": 75}, "100 % is no error: take 1 away before you turn it into %")],
    hint="foretold / measured − 1, in %")
called("forecast_errors", {"Q8_0": 150, "Q2_K": 400}, {"Q8_0": 200, "Q6_K": 90, "Q2_K": None}).gives(
    {"Q8_0": -25}, because="Q2_K could not be measured, Q6_K was not foretold", within=1e-6,
    hints=[({"Q8_0": -33.3333333333}, "divide by what was measured, not by the forecast"),
           ({"Q8_0": -25, "Q2_K": None}, "leave out what was not measured"),
           ({"Q8_0": -25, "Q2_K": 0}, "a missing measurement is no error of 0: leave it out")],
    hint="a type may be missing from measured, or be None there: leave it out")
### BEGIN HIDDEN TESTS
called("forecast_errors", {"F16": 60, "Q6_K": 9}, {"F16": 80}).gives(
    {"F16": -25}, because="Q6_K is not measured", within=1e-6)
called("forecast_errors", {}, {"F16": 80}).gives({}, because="nothing was foretold")
called("forecast_errors", {"F16": 300}, {"F16": 100}).gives(
    {"F16": 200}, because="three times as much is 200 % too much", within=1e-6)
### END HIDDEN TESTS
passed("forecast_errors")

# %% [markdown]
# ## To go on
#
# `benchkit fit 8B` in a terminal does all this with more parts (and with `--calibrate` it measures first what your machine
# reaches). Set it beside your own numbers for 8.03 billion parameters, 32 layers, 8 key heads of 128 numbers, and a
# context of 2,048.
