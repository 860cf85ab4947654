"""Content hashes of objects and of the code that they run: the keys of cached predictions."""

from pytest_biastransfer.fingerprints.content import ExaminedCode, fingerprint
from pytest_biastransfer.fingerprints.elements import NotFingerprintableError

__all__ = ["ExaminedCode", "NotFingerprintableError", "fingerprint"]
