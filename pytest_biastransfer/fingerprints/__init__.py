"""What tells one object from another in any session: its content, and the code that it runs."""

from pytest_biastransfer.fingerprints.content import NotFingerprintableError, fingerprint

__all__ = ["NotFingerprintableError", "fingerprint"]
