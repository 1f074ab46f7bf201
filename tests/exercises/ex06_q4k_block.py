"""For the tests of exercise 6: other right answers, mistakes with their hints, harmless changes."""

OTHER_SOLUTIONS = {
    "bits_per_weight": [
        """
def bits_per_weight(parts, n_weights):
    n_bytes = 0
    for name in parts:
        n_bytes += parts[name]
    return n_bytes / n_weights * 8
""",
    ],
    "scales_and_minimums": [
        """
import numpy as np

def scales_and_minimums(packed):
    first, second, third = np.frombuffer(packed, np.uint8).reshape(3, 4)
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)])
    minimums = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)])
    return scales, minimums
""",
        """
def scales_and_minimums(packed):
    def six_bits(j, start):
        if j < 4:
            return packed[start + j] % 64
        low = packed[4 + j] % 16 if start == 0 else packed[4 + j] // 16
        return packed[start + j - 4] // 64 * 16 + low
    return [six_bits(j, 0) for j in range(8)], [six_bits(j, 4) for j in range(8)]
""",
    ],
    "number": [
        """
import numpy as np

def number(qs, i):
    rows = np.frombuffer(qs, np.uint8).reshape(4, 1, 32)
    return np.concatenate([rows & 15, rows >> 4], axis=1).reshape(256)[i]
""",
        """
def number(qs, i):
    row = []
    for start in range(0, 128, 32):
        row += [byte % 16 for byte in qs[start:start + 32]]
        row += [byte // 16 for byte in qs[start:start + 32]]
    return row[i]
""",
    ],
    "weight": [
        """
import numpy as np

def weight(block, i):
    d, dmin = np.frombuffer(block[:4], "<f2").astype(np.float32)
    scales, minimums = scales_and_minimums(block[4:16])
    scales, minimums = np.repeat(np.float32(scales), 32), np.repeat(np.float32(minimums), 32)
    q = np.float32([number(block[16:144], k) for k in range(256)])
    return (d * scales * q - dmin * minimums)[i]
""",
    ],
    "bits_of_mix": [
        """
def bits_of_mix(tensors, bits):
    total = weights = 0
    for type, n in tensors:
        total += bits[type] * n
        weights += n
    return total / weights
""",
    ],
}

MISCONCEPTIONS = [
    (
        "bits_per_weight",
        "def bits_per_weight(parts, n): return 8 * parts['qs'] / n",
        "you counted the numbers q only",
    ),
    (
        "bits_per_weight",
        "def bits_per_weight(parts, n): return sum(parts.values()) / n",
        "that is bytes per weight",
    ),
    (
        "scales_and_minimums",
        "def scales_and_minimums(p): return ([*[x & 63 for x in p[:4]], *[x & 15 for x in p[8:]]], [*[x "
        "& 63 for x in p[4:8]], *[x >> 4 for x in p[8:]]])",
        "the last four are 6 bits long too",
    ),
    (
        "scales_and_minimums",
        "def scales_and_minimums(p): return ([*p[:4], *[x & 15 for x in p[8:]]], [*p[4:8], *[x >> 4 for "
        "x in p[8:]]])",
        "bytes 0 to 7 hold two things each",
    ),
    (
        "scales_and_minimums",
        "def scales_and_minimums(p): return ([*[x & 63 for x in p[:4]], *[x >> 4 for x in p[8:]]], [*[x "
        "& 63 for x in p[4:8]], *[x & 15 for x in p[8:]]])",
        "the low half belongs to the scale",
    ),
    (
        "scales_and_minimums",
        "def scales_and_minimums(p): return ([*[x & 63 for x in p[:4]], *[(p[j + 8] & 15) + (p[j] >> 6) "
        "for j in range(4)]], [*[x & 63 for x in p[4:8]], *[(p[j + 8] >> 4) + (p[j + 4] >> 6) for j in "
        "range(4)]])",
        "move them up by 4",
    ),
    (
        "number",
        "def number(qs, i): return qs[i // 2] >> 4 if i % 2 else qs[i // 2] & 15",
        "not neighbours in the row",
    ),
    (
        "number",
        "def number(qs, i): return qs[i // 2] & 15 if i % 2 else qs[i // 2] >> 4",
        "the low half comes first",
    ),
    (
        "number",
        "def number(qs, i): return qs[i % 128] & 15 if i < 128 else qs[i - 128] >> 4",
        "weights 32 to 63 are in the first 32 bytes too",
    ),
    (
        "number",
        "def number(qs, i): return qs[i % 32] >> 4 if i % 64 >= 32 else qs[i % 32] & 15",
        "which 64 weights is it among",
    ),
    (
        "weight",
        """
import struct
def weight(b, i):
    d, m = struct.unpack('<ee', b[:4])
    s, n = scales_and_minimums(b[4:16])
    return d * s[i // 32] * number(b[16:], i) + m * n[i // 32]
""",
        "the minimum is subtracted",
    ),
    (
        "weight",
        """
import struct
def weight(b, i):
    d, m = struct.unpack('<ee', b[:4])
    s, n = scales_and_minimums(b[4:16])
    return d * s[i // 32] * number(b[16:], i) - n[i // 32]
""",
        "the minimum has a scale of its own",
    ),
    (
        "weight",
        """
import struct
def weight(b, i):
    d, m = struct.unpack('<ee', b[:4])
    s, n = scales_and_minimums(b[4:16])
    return d * s[0] * number(b[16:], i) - m * n[0]
""",
        "those of group i // 32",
    ),
    (
        "bits_of_mix",
        "def bits_of_mix(t, b): return sum(b[k] for k, _ in t) / len(t)",
        "do not average over tensors",
    ),
    (
        "bits_of_mix",
        """
def bits_of_mix(t, b):
    t = dict(t)
    return sum(n * b[k] for k, n in t.items()) / sum(t.values())
""",
        "do not lose one of them",
    ),
]

_READ = "scales, minimums = scales_and_minimums(block[4:"
_READ = f"{_READ}16]) → {_READ}%s])"
EQUIVALENT_MUTANTS = {
    "weight": [
        f"{_READ % ''}: scales_and_minimums reads the first 12 bytes only",
        f"{_READ % 17}: scales_and_minimums reads the first 12 bytes only",
    ],
}
