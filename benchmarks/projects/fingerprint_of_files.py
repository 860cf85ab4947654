"""The fingerprint of a folder of pictures, from the files or from what a store knows. Prints the milliseconds."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pytest_biastransfer.data import load_dataset
from pytest_biastransfer.store import Store


def main() -> None:
    """Time listing the files and fingerprinting them, in a process that has not done it before."""
    images, store = sys.argv[1:]
    facts = Store(Path(store)).facts
    start = time.perf_counter()
    load_dataset(f"imagefolder:{images}", facts=facts).fingerprint  # noqa: B018 - computes it
    sys.stdout.write(json.dumps({"milliseconds": (time.perf_counter() - start) * 1000}) + "\n")


if __name__ == "__main__":
    main()
