"""Short keys of images by their content: which images of two datasets are the same ones."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_biastransfer.data.labelled_images import LabelledImages

# Two images that only one of the datasets has are taken for one with a probability of 6e-8.
KEY_BYTES: Final = 3
# More images take more than 400 kB in a file that is read in each session.
MOST_IMAGES: Final = 100_000


def image_keys(images: LabelledImages) -> str:
    """Return a key of each image with its label, in order, as text; empty for too many, or images without digests.

    A label counts by its name, where it has one: a class that is added may change the numbers of the others.
    """
    if len(images) > MOST_IMAGES:
        return ""
    digests = images.content_digests()
    if digests is None:
        return ""
    keys = (
        hashlib.blake2b(digest + images.label_text(index).encode(), digest_size=KEY_BYTES).digest()
        for index, digest in enumerate(digests)
    )
    return base64.b64encode(b"".join(keys)).decode()
