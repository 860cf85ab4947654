"""Content hashes of objects and of the code that they run: the keys of cached predictions."""

from pytest_biastransfer.fingerprints.content import NotFingerprintableError, fingerprint

__all__ = ["NotFingerprintableError", "fingerprint"]
