# %% [markdown]
# # Exercise 6 · Read a block of 4-bit weights
#
# **About 45 minutes.** You will read a Q4_K block of a real model byte by byte, and say what a weight really costs.
# It helps to have read [lesson 06](../06_quantization.ipynb). You need Python's `&`, `|`, `>>` and `<<` on whole numbers.
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed.

# %%
from benchkit.exercises import called, passed

# The first block of the tensor blk.0.ffn_gate.weight of pocket-s in Q4_K_M: 144 bytes, as in the file.
BLOCK = bytes.fromhex(
    "fe11a01c9fbff5a2e5f1ff64970a07f34977865b762a6065467433653960087d6745eb5d435225645609832c45883f67"
    "19a6646a3b50952c85f62355b73bad13b6b5c6b6496ea5487a861da8cc7907469968355c8f0bac8c8937fba83c56436c"
    "0973a76e50cfa6bc7e265284a7463a372762742328264269259458f775240796b8f45454a86973531046860c57ae9435"
)

# %% [markdown]
# ## What a weight costs
#
# A block is made of parts. The small numbers `q` are one of them; scales and minimums need room, too.
# Write `bits_per_weight(parts, n_weights)`: all bits of a block, shared out among its weights. `parts` says how many
# *bytes* each part has. For Q8_0, `bits_per_weight({"d": 2, "qs": 32}, 32)` returns `8.5` (bits per weight).

# %% nbgrader={"grade": false, "grade_id": "bits_per_weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_per_weight(parts, n_weights):
    """Bits that one weight costs, its share of scales and minimums included."""
    ### BEGIN SOLUTION
    return 8 * sum(parts.values()) / n_weights
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_bits_per_weight", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("bits_per_weight", {"d": 2, "dmin": 2, "scales": 12, "qs": 128}, 256).gives(
    4.5, because="a Q4_K block has 144 bytes for 256 weights",
    hints={4.0: "you counted the numbers q only; every part needs room in the file",
           0.5625: "that is bytes per weight; a byte has 8 bits"},
    hint="add up the bytes of all parts, turn them into bits, divide by the number of weights",
)
### BEGIN HIDDEN TESTS
called("bits_per_weight", {"ql": 128, "qh": 64, "scales": 16, "d": 2}, 256).gives(
    6.5625, because="a Q6_K block has 210 bytes")
called("bits_per_weight", {"w": 2}, 1).gives(16, because="F16 has one weight of two bytes")
called("bits_per_weight", {"d": 2, "qs": 32}, 32).gives(8.5, because="Q8_0: 34 bytes for 32 weights")
### END HIDDEN TESTS
passed("bits_per_weight")

# %% [markdown]
# ## Eight scales and eight minimums in twelve bytes
#
# The 256 weights of a block are 8 groups of 32. Each group has a scale and a minimum of 6 bits: 16 × 6 bits are 12 bytes.
#
# | bytes | their low bits | their high bits |
# |---|---|---|
# | 0 to 3 | low 6: scales 0 to 3 | top 2: the upper 2 bits of scales 4 to 7 |
# | 4 to 7 | low 6: minimums 0 to 3 | top 2: the upper 2 bits of minimums 4 to 7 |
# | 8 to 11 | low 4: the lower 4 bits of scales 4 to 7 | top 4: the lower 4 bits of minimums 4 to 7 |
#
# So scale 4 is the low half of byte 8 and, above it, the top 2 bits of byte 0; minimum 7 is in bytes 11 and 7.
# In the byte `0b10_000101`, the low 6 bits are `byte & 63` = 5 and the top 2 are `byte >> 6` = 2.
#
# Write `scales_and_minimums(packed)` for 12 bytes (`packed[0]` is a whole number, 0 to 255). It returns two lists of
# eight whole numbers, first the scales, then the minimums: `bytes([1, 2, 3, 4, 5, 6, 7, 8] + [0x91] * 4)` gives
# `([1, 2, 3, 4, 1, 1, 1, 1], [5, 6, 7, 8, 9, 9, 9, 9])`.

# %% nbgrader={"grade": false, "grade_id": "scales_and_minimums", "locked": false, "schema_version": 3, "solution": true, "task": false}
def scales_and_minimums(packed):
    """The 8 scales and the 8 minimums in 12 bytes, as two lists of whole numbers."""
    ### BEGIN SOLUTION
    scales = [packed[j] & 63 for j in range(4)]
    minimums = [packed[j + 4] & 63 for j in range(4)]
    for j in range(4):
        scales.append((packed[j + 8] & 15) | (packed[j] >> 6) << 4)
        minimums.append((packed[j + 8] >> 4) | (packed[j + 4] >> 6) << 4)
    return scales, minimums
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_scales_and_minimums", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
called("scales_and_minimums", bytes([1, 2, 3, 4, 5, 6, 7, 8, 0x21, 0x43, 0x65, 0x87])).gives(
    ([1, 2, 3, 4, 1, 3, 5, 7], [5, 6, 7, 8, 2, 4, 6, 8]), because="the top 2 bits of bytes 0 to 7 are 0 here",
    hints=[(([1, 2, 3, 4, 2, 4, 6, 8], [5, 6, 7, 8, 1, 3, 5, 7]),
            "of bytes 8 to 11 the low half belongs to the scale, the high half to the minimum"),
           (([5, 6, 7, 8, 2, 4, 6, 8], [1, 2, 3, 4, 1, 3, 5, 7]),
            "the scales come first, then the minimums")],
    hint="scales 0 to 3 are in bytes 0 to 3, minimums 0 to 3 in bytes 4 to 7; see the table for the others",
)
packed = bytes([0x41, 0x82, 0xC3, 4, 0xC5, 0x46, 0x87, 8, 0x21, 0x43, 0x65, 0x87])
called("scales_and_minimums", packed).gives(
    ([1, 2, 3, 4, 17, 35, 53, 7], [5, 6, 7, 8, 50, 20, 38, 8]),
    because="now the top 2 bits of bytes 0 to 2 and 4 to 6 are in use: 1 | 1 << 4 is 17",
    hints=[(([1, 2, 3, 4, 1, 3, 5, 7], [5, 6, 7, 8, 2, 4, 6, 8]),
            "the last four are 6 bits long too: their upper 2 bits are the top 2 bits of bytes 0 to 7"),
           (([65, 130, 195, 4, 17, 35, 53, 7], [197, 70, 135, 8, 50, 20, 38, 8]),
            "keep only the low 6 bits of bytes 0 to 7 for the first four: & 63"),
           (([65, 130, 195, 4, 1, 3, 5, 7], [197, 70, 135, 8, 2, 4, 6, 8]),
            "bytes 0 to 7 hold two things each: the low 6 bits, and the top 2 bits for groups 4 to 7"),
           (([1, 2, 3, 4, 2, 5, 8, 7], [5, 6, 7, 8, 5, 5, 8, 8]),
            "the two bits stand above the four: move them up by 4 before you put them together"),
           (([1, 2, 3, 4, 65, 131, 197, 7], [5, 6, 7, 8, 194, 68, 134, 8]),
            "the two bits stand right above the four: shift them down by 6, then up by 4")],
    hint="upper 2 bits, moved up by 4, and lower 4 bits; see the table for the bytes that they are in",
)
### BEGIN HIDDEN TESTS
called("scales_and_minimums", bytes.fromhex("9fbff5a2e5f1ff64970a07f3")).gives(
    ([31, 63, 53, 34, 39, 42, 55, 35], [37, 49, 63, 36, 57, 48, 48, 31]),
    because="this is a block of pocket-s")
called("scales_and_minimums", bytes([255] * 12)).gives(([63] * 8, [63] * 8), because="all bits are set")
called("scales_and_minimums", bytes([0, 0, 0, 0xC0, 0, 0, 0, 0x80, 0, 0, 0, 0x1F])).gives(
    ([0, 0, 0, 0, 0, 0, 0, 63], [0, 0, 0, 0, 0, 0, 0, 33]), because="only group 7 is in use")
### END HIDDEN TESTS
passed("scales_and_minimums")

# %% [markdown]
# ## Which nibble is which weight?
#
# The 256 numbers `q` (0 to 15) are in 128 bytes, two in a byte: its low half (`byte & 15`) and its high half. But two
# neighbours in a byte are *not* neighbours in the row. The first 32 bytes hold the first 64 weights: weights 0 to 31 are
# their low halves, weights 32 to 63 their high halves. The next 32 bytes hold the next 64 weights in the same way, and so on.
#
# Write `number(qs, i)`: the `q` of weight `i`, which is from 0 to 255. If byte 0 is `0x21`, then `number(qs, 0)` is `1`
# and `number(qs, 32)` is `2`.

# %% nbgrader={"grade": false, "grade_id": "number", "locked": false, "schema_version": 3, "solution": true, "task": false}
def number(qs, i):
    """The whole number q (0 to 15) of weight i, from the 128 bytes of a Q4_K block."""
    ### BEGIN SOLUTION
    byte = qs[i // 64 * 32 + i % 32]
    return byte >> 4 if i % 64 >= 32 else byte & 15
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_number", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("number", bytes([0x21, 0x43, 0x65] + [0] * 125), 0).gives(
    1, because="weight 0 is the low half of byte 0, which is 0x21",
    hints={2: "the low half comes first: byte & 15", 33: "that is the whole byte; two numbers share it",
           0: "the low half of a byte is byte & 15"},
    hint="the low half of byte 0 is qs[0] & 15")
called("number", bytes([0x21, 0x43, 0x65] + [0] * 125), 1).gives(
    3, because="weight 1 is the low half of byte 1, which is 0x43",
    hints={2: "neighbours in a byte are not neighbours in the row: the high half of byte 0 is weight 32"},
    hint="the first 32 weights are the low halves of the first 32 bytes")
called("number", bytes([0x21, 0x43, 0x65] + [0] * 125), 33).gives(
    4, because="weight 33 is the high half of byte 1",
    hints={0: "weights 32 to 63 are in the first 32 bytes too, in their high halves",
           3: "that is the low half of byte 1, which is weight 1", 64: "shift the high half down: byte >> 4"},
    hint="weights 32 to 63 are the high halves of bytes 0 to 31")
called("number", bytes([0] * 32 + [0x87] + [0] * 95), 64).gives(
    7, because="weight 64 is the low half of byte 32: every 64 weights begin 32 new bytes",
    hint="which 64 weights is it among (i // 64), and where in them (i % 64)?")
called("number", bytes([0] * 127 + [0xB9]), 255).gives(
    11, because="the last weight is the high half of the last byte",
    hints={9: "that is the low half, which is weight 223"})
### BEGIN HIDDEN TESTS
last = bytes([0] * 31 + [0xDC] + [0] * 31 + [0x21] + [0] * 31 + [0x43] + [0] * 31 + [0x09])
for i, q in ((31, 12), (63, 13), (95, 1), (127, 2), (223, 9), (191, 4), (159, 3)):
    called("number", last, i).gives(q, because="this is the last weight of its group of 32")
first = bytes([0] * 32 + [0x87] + [0] * 31 + [0x65] + [0] * 31 + [0x43] + [0] * 31)
for i, q in ((96, 8), (128, 5), (160, 6), (192, 3), (224, 4)):
    called("number", first, i).gives(q, because="this is the first weight of its group of 32")
### END HIDDEN TESTS
passed("number")

# %% [markdown]
# ## One weight
#
# A whole block: bytes 0 and 1 are `d`, 2 and 3 are `dmin` (16-bit floats, low byte first: `struct.unpack("<e", two_bytes)[0]`;
# with NumPy's `"<f2"` put `float(…)` around it, for 16-bit arithmetic rounds at every step), 4 to 15 the packed scales and minimums, 16 to 143 the numbers. Weight `i` is in group `i // 32`, and
#
# weight = d · scale · q − dmin · minimum
#
# with the scale and the minimum of its group. Write `weight(block, i)`; your two functions may help.
# `weight(BLOCK, 0)` is about `0.036965` (weights have no unit).

# %% nbgrader={"grade": false, "grade_id": "weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
import struct


def weight(block, i):
    """Weight i (0 to 255) of a Q4_K block of 144 bytes."""
    ### BEGIN SOLUTION
    d, dmin = struct.unpack("<ee", block[:4])
    scales, minimums = scales_and_minimums(block[4:16])
    group = i // 32
    return d * scales[group] * number(block[16:], i) - dmin * minimums[group]
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_weight", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
block = bytes.fromhex("003c0038 02040000 03010000 00000000") + bytes([0x53] + [0] * 127)  # d is 1, dmin 0.5
called("weight", block, 0).gives(
    4.5, because="1 · 2 · 3 − 0.5 · 3 is 4.5", within=1e-6,
    hints={7.5: "the minimum is subtracted", 6: "the minimum is missing: − dmin · minimum",
           3: "the minimum has a scale of its own, dmin",
           0: "d is in bytes 0 and 1, dmin in bytes 2 and 3",
           8.5: "the low half of a byte comes first"},
    hint="d is 1.0 and dmin 0.5 here; the scale of group 0 is 2, its minimum 3, and q is 3")
called("weight", bytes.fromhex("333c9a38 02040000 03010000 00000000") + bytes([0x53] + [0] * 127), 0).gives(
    4.5732421875, because="d is 1.0498 and dmin 0.5752 here", within=1e-6,
    hint="calculate in Python floats: numbers of 16 bits round at every step")
called("weight", block, 32).gives(
    19.5, because="weight 32 is in group 1: 1 · 4 · 5 − 0.5 · 1", within=1e-6,
    hints={8.5: "every group of 32 has a scale and a minimum of its own: those of group i // 32",
           11.5: "weight 32 is the high half of byte 0, here 5"},
    hint="the scale of group 1 is 4, its minimum is 1, and q is 5")
called("weight", block, 31).gives(
    -1.5, because="weight 31 is still in group 0, and its q is 0: only − 0.5 · 3 is left", within=1e-6,
    hint="a weight of q = 0 is not 0: the minimum is subtracted all the same")
### BEGIN HIDDEN TESTS
real = bytes.fromhex(
    "fe11a01c9fbff5a2e5f1ff64970a07f34977865b762a6065467433653960087d6745eb5d435225645609832c45883f67"
    "19a6646a3b50952c85f62355b73bad13b6b5c6b6496ea5487a861da8cc7907469968355c8f0bac8c8937fba83c56436c"
    "0973a76e50cfa6bc7e265284a7463a372762742328264269259458f775240796b8f45454a86973531046860c57ae9435")
for i, value in ((0, 0.03696537), (1, -0.00838566), (32, -0.03698349), (64, 0.06436443), (255, -0.06321049)):
    called("weight", real, i).gives(value, because="this is a block of pocket-s", within=1e-6)
### END HIDDEN TESTS
passed("weight")

# %% [markdown]
# ## What a file costs
#
# `Q4_K_M` is not a type, but a *mix*: most tensors are Q4_K, some are larger. Bits per weight of a file are all its bits
# divided by all its weights. Write `bits_of_mix(tensors, bits)`. `tensors` is a list of pairs (type, number of weights),
# `bits` says how many bits a weight of each type has. `bits_of_mix([("Q4_K", 100), ("Q6_K", 100)], BITS)` is `5.53125`.

# %%
BITS = {"F32": 32, "F16": 16, "Q8_0": 8.5, "Q6_K": 6.5625, "Q4_K": 4.5}  # bits a weight

# %% nbgrader={"grade": false, "grade_id": "bits_of_mix", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_of_mix(tensors, bits):
    """Bits per weight of a file with these tensors, each (type, number of weights)."""
    ### BEGIN SOLUTION
    all_bits = sum(n * bits[type] for type, n in tensors)
    return all_bits / sum(n for _, n in tensors)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_bits_of_mix", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("bits_of_mix", [("Q4_K", 3000), ("Q6_K", 1000)], {"Q4_K": 4.5, "Q6_K": 6.5625}).gives(
    5.015625, because="(3000 · 4.5 + 1000 · 6.5625) / 4000",
    hints={5.53125: "a tensor with more weights counts more: do not average over tensors",
           20062.5: "that is all bits; share them out among the weights"},
    hint="first all bits, then all weights, then divide")
called("bits_of_mix", [("Q4_K", 1000), ("F16", 500), ("Q4_K", 500)], {"Q4_K": 4.5, "F16": 16}).gives(
    7.375, because="two tensors have the same type, and both count: (1500 · 4.5 + 500 · 16) / 2000",
    hint="several tensors may have one type: do not lose one of them in a dictionary")
### BEGIN HIDDEN TESTS
mix = [("Q4_K", 2883584), ("Q6_K", 786432), ("F32", 2304)]
called("bits_of_mix", mix, {"F32": 32, "Q4_K": 4.5, "Q6_K": 6.5625}).gives(
    4.958940397350993, because="this is pocket-s in Q4_K_M")
called("bits_of_mix", [("F16", 7)], {"F16": 16}).gives(16, because="one tensor alone is its type")
### END HIDDEN TESTS
passed("bits_of_mix")

# %% [markdown]
# ## To go on
#
# Your `weight` reads any Q4_K tensor of any GGUF file. In a new cell (the second line makes the file, in seconds; `decode` gives 32-bit floats, so the last digits differ):
#
# ```python
# from benchkit import backends, blocks
# stored = blocks.read_tensor(backends.locate("gguf:pocket-m:Q4_K_M"), "blk.0.ffn_gate.weight")
# block = bytes(stored.data[:144])
# [weight(block, i) for i in range(4)], blocks.decode("Q4_K", block)[:4]
# ```
