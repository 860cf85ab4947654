"""The options that every dataset's spec takes: a name, classes, attributes, a subset of the images."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.specs.spec import Spec

SHARED_KEYS: Final = ("attributes", "classes", "limit", "name", "seed")


def with_declared(images: LabelledImages, spec: Spec) -> LabelledImages:
    """Return the images with the options of the spec's query applied."""
    if "classes" in spec.query:
        from pytest_biastransfer.data.class_files import with_classes

        images = with_classes(images, spec.path(spec.query["classes"]))
    if "attributes" in spec.query:
        from pytest_biastransfer.data.attribute_table import WithAttributes
        from pytest_biastransfer.data.csv_table import read_table

        # Before the subset is drawn: whether a table counts as complete must not depend on the seed.
        images = WithAttributes(images, read_table(spec.path(spec.query["attributes"])))
    if "limit" in spec.query or "seed" in spec.query:
        from pytest_biastransfer.data.subset import draw_subset

        images = draw_subset(images, spec)
    if "name" in spec.query:
        from pytest_biastransfer.data.views import Renamed

        images = Renamed(images, spec.query["name"])
    return images
