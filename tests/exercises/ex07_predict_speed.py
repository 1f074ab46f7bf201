"""For the tests of exercise 7: other right answers, mistakes with their hints, harmless changes."""

OTHER_SOLUTIONS = {
    "file_bytes": ["def file_bytes(n, bits): return round(n / 8 * bits, 6)"],
    "kv_cache_mib": [
        """
import math

def kv_cache_mib(n_layer, n_ctx, n_head_kv, head_dim, bytes_per_number=2):
    tokens = 256 * math.ceil(n_ctx / 256)
    one_token = n_head_kv * head_dim * bytes_per_number
    keys = values = n_layer * tokens * one_token
    return (keys + values) / 1024 / 1024
""",
        """
def kv_cache_mib(n_layer, n_ctx, n_head_kv, head_dim, bytes_per_number=2):
    while n_ctx % 256:
        n_ctx += 1
    return sum(2 * n_ctx * n_head_kv * head_dim * bytes_per_number for layer in range(n_layer)) / 1_048_576
""",
    ],
    "will_it_fit": [
        """
def will_it_fit(weights_mib, kv_mib, other_mib, available_mib):
    share = (weights_mib + kv_mib + other_mib) / available_mib
    return "yes" if share <= 0.85 else "tight" if share <= 1 else "no"
""",
        """
def will_it_fit(*mib):
    *parts, available = mib
    needed = sum(parts)
    answer = "yes"
    if needed * 100 > available * 85:
        answer = "tight"
    if needed > available:
        answer = "no"
    return answer
""",
    ],
    "decode_bound": [
        """
def decode_bound(bandwidth_gb_s, weight_bytes, kv_bytes=0):
    seconds = weight_bytes / (bandwidth_gb_s * 10**9) + kv_bytes / (bandwidth_gb_s * 10**9)
    return 1 / seconds
""",
    ],
    "forecast_errors": [
        """
def forecast_errors(predicted, measured):
    known = {type: value for type, value in measured.items() if value}
    return {type: (predicted[type] - known[type]) / known[type] * 100 for type in predicted if type in known}
""",
    ],
}

MISCONCEPTIONS = [
    ("file_bytes", "def file_bytes(n, bits): return n * bits", "8 of them are one byte"),
    ("file_bytes", "def file_bytes(n, bits): return n * int(bits) / 8", "do not round the bits"),
    (
        "kv_cache_mib",
        "def kv_cache_mib(a, b, c, d, bytes_per_number=2): return a * b * c * d * bytes_per_number / 2**20",
        "a key AND a value",
    ),
    (
        "kv_cache_mib",
        "def kv_cache_mib(a, b, c, d, bytes_per_number=2): return 2 * a * b * c * d * bytes_per_number / "
        "2**20",
        "rounded up to a multiple of 256",
    ),
    (
        "kv_cache_mib",
        "def kv_cache_mib(a, b, c, d, bytes_per_number=2): return 2 * a * (b // 256 + 1) * 256 * c * d * "
        "bytes_per_number / 2**20",
        "nothing to round up",
    ),
    (
        "kv_cache_mib",
        "def kv_cache_mib(a, b, c, d, bytes_per_number=2): return 2 * a * b * c * d * bytes_per_number / 1e6",
        "that is MB",
    ),
    (
        "will_it_fit",
        "def will_it_fit(w, k, o, a): return 'no' if w > a else 'tight' if w > 0.85 * a else 'yes'",
        "are needed together",
    ),
    (
        "will_it_fit",
        """
def will_it_fit(w, k, o, a):
    n = w + k + o
    return 'no' if n > a else 'tight' if n >= 0.85 * a else 'yes'
""",
        "leaves 85 % itself out",
    ),
    ("decode_bound", "def decode_bound(b, w, k=0): return (w + k) / (b * 1e9)", "that is seconds a token"),
    ("decode_bound", "def decode_bound(b, w, k=0): return b * 2**30 / (w + k)", "not 2**30"),
    ("decode_bound", "def decode_bound(b, w, k=0): return b * 1e9 / w", "the cache must be read"),
    (
        "forecast_errors",
        "def forecast_errors(p, m): return {k: 100 * (1 - p[k] / m[k]) for k in p if m.get(k)}",
        "above 0 means that too much was foretold",
    ),
    (
        "forecast_errors",
        "def forecast_errors(p, m): return {k: abs(100 * (p[k] / m[k] - 1)) for k in p if m.get(k)}",
        "keep the sign",
    ),
    (
        "forecast_errors",
        "def forecast_errors(p, m): return {k: 100 * (p[k] - m[k]) / p[k] for k in p if m.get(k)}",
        "foretold / measured − 1",
    ),
    (
        "forecast_errors",
        "def forecast_errors(p, m): return {k: 100 * (p[k] / m[k] - 1) if m.get(k) else 0 for k in p}",
        "leave it out",
    ),
]

EQUIVALENT_MUTANTS = {}
