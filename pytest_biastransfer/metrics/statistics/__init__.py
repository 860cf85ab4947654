"""Intervals, tests of change, bootstrap and sequential tests: pure functions on arrays."""
