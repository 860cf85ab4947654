"""Security: files of models are verified and rewritten before torch loads them, and foreign programs run sandboxed."""
