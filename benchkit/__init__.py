"""Benchmark language models on your own machine, and know how far to trust the number."""
