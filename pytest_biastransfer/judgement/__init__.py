"""Expectation + measurement -> verdict."""
