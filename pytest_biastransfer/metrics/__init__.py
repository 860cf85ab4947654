"""Predictions -> estimates: pure functions on numpy arrays."""
