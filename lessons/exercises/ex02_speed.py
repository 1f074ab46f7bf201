# %% [markdown]
# # Exercise 2 · How fast was that?
#
# **About 25 minutes.** You turn the timestamps of a reply into the four numbers that describe its speed, and learn why
# two honest people can report two very different "tokens per second". It helps to have read
# [lesson 01](../01_first_tokens.ipynb) and the rates of [lesson 03](../03_analyze_results.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed.

# %%
from benchkit.exercises import called, passed

# %% [markdown]
# ## What was recorded
#
# One reply, as it arrived. Every stamp is a whole number of nanoseconds from one clock: 1 ms is 1,000,000 ns. A chunk
# is a pair of its stamp and its text. The first chunk here has no text: the server only says who is speaking.

# %%
sent_ns = 1_000_000
chunks = [(4_000_000, ""), (21_000_000, "A"), (31_000_000, " small"), (41_000_000, " reply"), (51_000_000, ".")]
end_ns = 60_000_000
n_tokens = 4  # counted by the engine


def latency_s(sent_ns, end_ns):
    """How long the whole response took, in s: one formula is given, the others are yours."""
    return (end_ns - sent_ns) / 1e9


latency_s(sent_ns, end_ns)

# %% [markdown]
# ## Time to first token
#
# **TTFT** is how long one waits before *any text* appears: from `sent_ns` to the first chunk whose text is not empty,
# in **milliseconds**. Without any text there is no first token: return `None`, not 0.
#
# For the reply above it is 20.0.

# %% nbgrader={"grade": false, "grade_id": "ttft_ms", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ttft_ms(sent_ns, chunks):
    """Time to first token, in ms; None where no text came."""
    ### BEGIN SOLUTION
    for t_ns, text in chunks:
        if text:
            return (t_ns - sent_ns) / 1e6
    return None
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_ttft_ms", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("ttft_ms", 1_000_000, [(4_000_000, ""), (21_000_000, "A"), (31_000_000, " reply")]).gives(
    20.0, because="the first text came at 21 ms, and the request was sent at 1 ms",
    hints=[(3.0, "the first chunk has no text: nobody can read it yet. Wait for one that has some."),
           (21.0, "this is when the text came; subtract when the request was sent."),
           (0.02, "this is in seconds; a millisecond is 1,000,000 ns."),
           (30.0, "this is the last chunk; the wait ends with the first one that has text."),
           (20_000_000, "this is in nanoseconds; a millisecond is 1,000,000 ns."),
           (None, "give the result back with `return`.")])
called("ttft_ms", 0, [(7_000_000, "Hello")]).gives(7.0, because="the very first chunk has text")
called("ttft_ms", 0, [(7_000_000, ""), (9_000_000, "")]).gives(
    None, because="no text came at all", hints={0: "0 ms would say that the text came at once."},
    hint="return None where no chunk has text.")
### BEGIN HIDDEN TESTS
called("ttft_ms", 5_000_000, [(6_000_000, ""), (6_500_000, ""), (8_250_000, " "), (9_000_000, "x")]).gives(
    3.25, because="a space is text, too")
called("ttft_ms", 0, []).gives(None, because="there is no chunk")
called("ttft_ms", 2_000_000, [(2_000_000, "a")]).gives(0.0, because="it came at once")
### END HIDDEN TESTS
passed("ttft_ms")

# %% [markdown]
# ## Time per output token
#
# **TPOT** says how fast it goes on after the first token: the time from the first text to the last text, for each
# *gap* between tokens, in **milliseconds**. Four tokens have three gaps. Count tokens by `n_tokens`: a chunk may hold
# several. With fewer than two tokens there is no gap: return `None`.
#
# For the reply above it is 10.0. Its last chunk came at 51 ms; what the server did after that is not decoding.

# %% nbgrader={"grade": false, "grade_id": "tpot_ms", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tpot_ms(chunks, n_tokens):
    """Time per output token after the first, in ms; None where there is no gap."""
    ### BEGIN SOLUTION
    stamps = [t_ns for t_ns, text in chunks if text]
    if n_tokens < 2:
        return None
    return (stamps[-1] - stamps[0]) / (n_tokens - 1) / 1e6
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_tpot_ms", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("tpot_ms", [(20_000_000, "A"), (30_000_000, " small"), (50_000_000, " reply")], 3).gives(
    15.0, because="3 tokens have 2 gaps, and 30 ms passed between the first and the last",
    hints=[(10.0, "you divided by 3 tokens; the first one's time is in TTFT, so only the gaps count."),
           (50 / 3, "the time starts at the first text, not at 0; and 3 tokens have 2 gaps."),
           (25.0, "the time starts at the first text: what came before it is TTFT."),
           (0.015, "this is in seconds; a millisecond is 1,000,000 ns."),
           (15_000_000, "this is in nanoseconds; a millisecond is 1,000,000 ns.")])
called("tpot_ms", [(10_000_000, "A small"), (40_000_000, " reply.")], 4).gives(
    10.0, because="4 tokens came in 2 chunks: 3 gaps in 30 ms",
    hints={30.0: "you counted chunks; a chunk may hold several tokens. Use n_tokens."})
called("tpot_ms", [(5_000_000, ""), (10_000_000, "Yes"), (20_000_000, "."), (90_000_000, "")], 2).gives(
    10.0, because="chunks without text carry no token, at the beginning and at the end",
    hint="look only at the chunks whose text is not empty.")
called("tpot_ms", [(20_000_000, "Yes")], 1).gives(None, because="one token has no gap")
### BEGIN HIDDEN TESTS
called("tpot_ms", [(0, "a"), (8_000_000, "b")], 2).gives(8.0, because="2 tokens have 1 gap")
called("tpot_ms", [(0, ""), (1_000_000, "a b c"), (11_000_001, " d e"), (14_000_000, "")], 5).gives(
    2.50000025, because="5 tokens have 4 gaps, in 10.000001 ms")
called("tpot_ms", [(3_000_000, "")], 0).gives(None, because="there is no token")
### END HIDDEN TESTS
passed("tpot_ms")

# %% [markdown]
# ## Two speeds of one reply
#
# **Decode speed** is how many tokens follow in a second once the first has come. **End-to-end speed** is all tokens
# over the whole latency, and the latency is the first wait plus a TPOT for every gap. Both in tokens per second.
#
# Return the pair `(decode, end_to_end)`. A reply of 20 ms TTFT, 10 ms TPOT and 4 tokens has a latency of 50 ms, so it
# gives `(100.0, 80.0)`. A single token has no TPOT (`tpot_ms` is `None`): then decode is `None` too, and the latency
# is TTFT.

# %% nbgrader={"grade": false, "grade_id": "speeds", "locked": false, "schema_version": 3, "solution": true, "task": false}
def speeds(ttft_ms, tpot_ms, n_tokens):
    """Decode speed and end-to-end speed, both in tokens/s."""
    ### BEGIN SOLUTION
    if tpot_ms is None:
        return None, 1000 / ttft_ms
    latency_ms = ttft_ms + (n_tokens - 1) * tpot_ms
    return 1000 / tpot_ms, 1000 * n_tokens / latency_ms
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_speeds", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("speeds", 500.0, 10.0, 51).gives(
    (100.0, 51.0), because="a token follows every 10 ms; 51 tokens took 500 + 50 · 10 = 1,000 ms",
    hints=[((100.0, 51000 / 1010), "51 tokens have 50 gaps: the first token's time is the TTFT."),
           ((100.0, 102.0), "the latency holds the first wait, too: add the TTFT."),
           ((0.1, 0.051), "this is tokens a millisecond; a second has 1,000."),
           ((51.0, 100.0), "the pair is (decode, end_to_end), in this order.")],
    hint="decode is 1 over the time of a token; end_to_end is all tokens over the latency.")
called("speeds", 500.0, 10.0, 2).gives(
    (100.0, 2000 / 510), because="the same model, a shorter reply: 2 tokens took 510 ms",
    hint="the end-to-end speed falls with shorter replies, the decode speed does not.")
called("speeds", 250.0, None, 1).gives(
    (None, 4.0), because="one token took 250 ms, and nothing followed it", hint="look at the case `tpot_ms is None`.")
### BEGIN HIDDEN TESTS
called("speeds", 20.0, 10.0, 4).gives((100.0, 80.0), because="4 tokens in 50 ms")
called("speeds", 8.0, 16.0, 3).gives((62.5, 75.0), because="a token follows every 16 ms; 3 tokens in 40 ms")
called("speeds", 80.0, None, 1).gives((None, 12.5), because="one token in 80 ms")
### END HIDDEN TESTS
passed("speeds")

# %% [markdown]
# Whoever quotes 100 and whoever quotes 4 tokens per second may have measured the same model. So say which speed it
# is, and how long the replies were.

# %% [markdown]
# ## Tokens and requests of a whole run
#
# Ten short replies and one long one: how fast was the run? Its **throughput** is all tokens over all seconds, a *ratio
# of sums*. The average of each reply's own speed lets a reply of three tokens say as much as one of ninety.
# **Requests per minute** is 60 × replies over all seconds.
#
# You get two lists of the same length, and one request ran at a time. Return `(tokens_per_s, requests_per_min)`:
# for `[0.5, 1.5]` s and `[10, 70]` tokens that is `(40.0, 60.0)`. No replies: `(None, None)`.

# %% nbgrader={"grade": false, "grade_id": "throughput", "locked": false, "schema_version": 3, "solution": true, "task": false}
def throughput(latencies_s, n_tokens):
    """Tokens/s and requests/min of replies that ran one at a time."""
    ### BEGIN SOLUTION
    total_s = sum(latencies_s)
    if not total_s:
        return None, None
    return sum(n_tokens) / total_s, 60 * len(latencies_s) / total_s
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_throughput", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("throughput", [0.1, 0.1, 2.8], [20, 20, 110]).gives(
    (50.0, 60.0), because="150 tokens and 3 requests in 3.0 s",
    hints=[(((20 / 0.1 + 20 / 0.1 + 110 / 2.8) / 3, 60.0),
            "you averaged the speeds of the replies; divide the sum of tokens by the sum of seconds."),
           ((50.0, 1.0), "this is requests a second; a minute has 60 of them."),
           ((150.0, 60.0), "tokens over the mean latency is the work of all in the time of one."),
           ((60.0, 50.0), "the pair is (tokens_per_s, requests_per_min), in this order.")],
    hint="add up all tokens, add up all seconds, then divide.")
called("throughput", [0.8] * 5, [16] * 5).gives(
    (20.0, 75.0), because="a mean of 0.8 s leaves room for 75 requests a minute")
called("throughput", [], []).gives(
    (None, None), because="of nothing there is no speed", hint="look at the case of an empty list before you divide.")
### BEGIN HIDDEN TESTS
called("throughput", [0.5, 1.5], [10, 70]).gives((40.0, 60.0), because="80 tokens and 2 requests in 2 s")
called("throughput", [32.0], [80]).gives((2.5, 1.875), because="80 tokens and 1 request in 32 s")
### END HIDDEN TESTS
passed("throughput")

# %% [markdown]
# ## Look back
#
# A model server advertises "120 tokens per second". Which of the numbers above might that be, and what would you ask
# before you compare it with another? (There is no check for this one.)
