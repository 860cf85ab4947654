"""Several accepted models of one training in one entry: they differ by the seed, and have the same images."""

from __future__ import annotations

import dataclasses

from pytest_biastransfer.baseline.entry import Entry
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.class_metrics import ACCURACY
from pytest_biastransfer.names import Update


def accepted_seeds(entry: Entry) -> list[Entry]:
    """Return each accepted measurement of an entry as an entry of its own, the first one first."""
    first = dataclasses.replace(entry, seeds=()) if entry.seeds else entry
    return [first, *(dataclasses.replace(seed, image_keys=entry.image_keys) for seed in entry.seeds)]


def compared_seeds(entry: Entry, now: Entry) -> list[Entry]:
    """Return the accepted measurements that a new one is compared with.

    A model that was accepted is compared with itself: that it is the worst one of its seeds is no change.
    """
    seeds = accepted_seeds(entry)
    own = [seed for seed in seeds if _same_model(seed, now)]
    return own or seeds


def seeds_with(entry: Entry, now: Entry, metric: str) -> list[Entry]:
    """Return those of the accepted measurements that a metric of a new one is compared with."""
    return [seed for seed in compared_seeds(entry, now) if has_metric(seed, metric)]


def has_metric(entry: Entry, metric: str) -> bool:
    """Whether a measurement has a metric, with all that its change is tested by."""
    figure = entry.figures.get(metric)
    if figure is None or figure.value is None:
        return False
    # Without the images the accuracy is compared as a share of different images, which takes the counts.
    return metric_named(metric).change.is_possible(entry) and (metric != ACCURACY or figure.count is not None)


def is_of_another_checkpoint(entry: Entry, now: Entry) -> bool:
    """Whether one model was accepted and another one is measured, so that no spread of seeds is known."""
    return not entry.seeds and not _same_model(entry, now)


def same_images(before: Entry, now: Entry) -> bool:
    """Whether two measurements are of the same images."""
    return before.dataset["fingerprint"] == now.dataset["fingerprint"] and before.images == now.images


def same_declaration(before: Entry, now: Entry) -> bool:
    """Whether two measurements are of the same intervention or gap, whatever name it has."""
    return _declaration(before.intervention) == _declaration(now.intervention)


def obstacle(entry: Entry, measured: Entry) -> str:
    """Return why a measurement cannot become a further seed of an entry, in words; empty if it can, or is there."""
    if not same_declaration(entry, measured):
        return f"the entry is of {entry.intervention}, and this is of {measured.intervention}"
    if not same_images(entry, measured):
        images = [f"{one.dataset['name']} ({one.images:,} images)" for one in (entry, measured)]
        others = " that is not the same" if images[0] == images[1] else ""
        return f"the entry is of {images[0]}, and this is of {images[1]}{others}"
    return ""


def with_seed(entry: Entry, measured: Entry) -> Entry:
    """Return an entry with a measurement as a further seed.

    One of a model that is there adds what that lacks. One of other images, or of another intervention, adds nothing.
    """
    if obstacle(entry, measured):
        return entry
    if any(_same_model(seed, measured) for seed in accepted_seeds(entry)):
        return completed(entry, measured)
    # As the entry names it: the intervention may have another name by now. The keys are those of the entry.
    seed = dataclasses.replace(measured, intervention=entry.intervention, dataset=entry.dataset, image_keys="")
    # Whoever adds seeds in whatever order writes the same file, but for the first one.
    seeds = sorted((*entry.seeds, seed), key=lambda one: str(one.model["fingerprint"]))
    return dataclasses.replace(entry, seeds=tuple(seeds))


def completed(entry: Entry, measured: Entry) -> Entry:
    """Return an entry with what the accepted measurement of the same model lacks."""
    if same_declaration(entry, measured):
        # The intervention may have another name by now.
        measured = dataclasses.replace(measured, intervention=entry.intervention)
    seeds = tuple(seed.joined(dataclasses.replace(measured, image_keys="")) for seed in entry.seeds)
    return dataclasses.replace(entry.joined(measured), seeds=seeds)


def updated(entry: Entry | None, measured: Entry, update: Update | None) -> Entry:
    """Return what becomes of an entry, None if there is none, once a measurement is accepted."""
    if entry is None:
        return measured
    if update == "all":
        return measured.joined(entry)
    return with_seed(entry, measured) if update == "add" else completed(entry, measured)


def _same_model(one: Entry, other: Entry) -> bool:
    return one.model["fingerprint"] == other.model["fingerprint"]


def _declaration(declaration: str) -> str:
    """Return an intervention in words without the names that it has.

    >>> _declaration("yellow-square = Square(size=0.25)")
    'Square(size=0.25)'
    """
    names, bracket, fields = declaration.partition("(")
    return names.rpartition(" = ")[2] + bracket + fields
