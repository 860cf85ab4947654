"""Timings of bias tests beside plain forward passes and a hand-written suite: ``python -m benchmarks``."""
