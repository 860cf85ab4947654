"""The collection phase: from markers to parametrized tests."""
