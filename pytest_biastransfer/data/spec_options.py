"""What the query of any dataset's spec may declare: a name, classes, attributes, a part of the images."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.specs.spec import Spec

SHARED_KEYS: Final = ("attributes", "classes", "limit", "name", "seed")


def with_declared(images: LabelledImages, spec: Spec) -> LabelledImages:
    """Return the images with what the spec's query declares instead of, or besides, what came with them."""
    if "classes" in spec.query:
        from pytest_biastransfer.data.class_files import with_classes

        images = with_classes(images, spec.path(spec.query["classes"]))
    if "attributes" in spec.query:
        from pytest_biastransfer.data.attribute_table import WithAttributes
        from pytest_biastransfer.data.csv_table import read_table

        # Before any are left out: whether a table is complete is not to depend on the seed.
        images = WithAttributes(images, read_table(spec.path(spec.query["attributes"])))
    if "limit" in spec.query or "seed" in spec.query:
        from pytest_biastransfer.data.subset import drawn

        images = drawn(images, spec)
    if "name" in spec.query:
        from pytest_biastransfer.data.views import Renamed

        images = Renamed(images, spec.query["name"])
    return images
