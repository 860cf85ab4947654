"""Accepted measurements, in a file that is committed beside the tests."""
