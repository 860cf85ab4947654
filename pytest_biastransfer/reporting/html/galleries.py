"""Which images a page shows of each test, and the pictures that its tests share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from pytest_biastransfer.reporting.html.heat import HeatMap, heat_map
from pytest_biastransfer.reporting.outcomes import SEVERITY
from pytest_biastransfer.reporting.report import Details, Picture, Result, Shown

# The most characters of all pictures of a page, so that a page of 200 tests stays below 8 MB.
MOST_CHARACTERS: Final = 4_200_000
# The browser enlarges pictures with fewer pixels than this without smoothing: smoothed, they would be a blur.
PIXELATED: Final = 48


@dataclass(frozen=True)
class ImageView:
    """An image as the page shows it.

    Attributes
    ----------
    shown
        The image.
    clean
        The number of its clean picture among those that tests share; None if it has no picture.
    changed
        What names the picture of its changes on the page; empty if there is none.
    heat
        Where the model looks, at the clean image and at the intervened one; empty if that is unknown.
    """

    shown: Shown
    clean: int | None
    changed: str
    heat: Sequence[HeatMap]

    @property
    def picture(self) -> Picture | None:
        """Its clean picture."""
        return self.shown.clean

    @property
    def pixelated(self) -> bool:
        """Whether its pixels are to be seen."""
        return self.picture is not None and max(self.picture.width, self.picture.height) < PIXELATED


@dataclass(frozen=True)
class Gallery:
    """The images of a test.

    Attributes
    ----------
    images
        Its flipped images, or errors, as many as the page has room for.
    left_out
        The number of images that there was no room for.
    example
        The image that shows the intervention: the example, or else the first image with a picture.
    """

    images: Sequence[ImageView] = ()
    left_out: int = 0
    example: ImageView | None = None

    @property
    def looked_at(self) -> Sequence[ImageView]:
        """The images of which it is known where the model looks."""
        return [view for view in self.images if view.heat]

    @property
    def has_new(self) -> bool:
        """Whether images are marked that were not among these when the baseline was accepted."""
        return any(view.shown.new for view in self.images)

    @property
    def has_confidences(self) -> bool:
        """Whether the model's confidence in its predictions is shown."""
        return any(view.shown.confidence_before is not None for view in self.images)

    @property
    def compares(self) -> bool:
        """Whether there are clean and intervened pictures to compare."""
        return any(view.changed for view in self.images)


def galleries(tests: Sequence[Result]) -> tuple[Sequence[Picture], Sequence[Gallery]]:
    """Return the clean pictures that the page has once, and the gallery of each test; failed tests come first."""
    order = sorted(range(len(tests)), key=lambda number: SEVERITY.index(tests[number].outcome))
    pictures, views = fitting_views([_images(test.details) for test in tests], order)
    return pictures, [_gallery(test.details, fitting) for test, fitting in zip(tests, views, strict=True)]


def fitting_views(
    series: Sequence[Sequence[Shown]], order: Sequence[int]
) -> tuple[Sequence[Picture], Sequence[Sequence[ImageView]]]:
    """Return the clean pictures that a page has once, and the first images of each series, as many as fit.

    Where not all pictures fit, each series has its first images before any has more.

    Parameters
    ----------
    series
        The images that belong together.
    order
        The numbers of the series, the most important one first.
    """
    shared: dict[str, int] = {}
    pictures: list[Picture] = []
    views: list[list[ImageView]] = [[] for _ in series]
    room = MOST_CHARACTERS
    for number, shown in _by_turns(series, order):
        clean = shown.clean if shown.clean is not None and shown.clean.data not in shared else None
        room -= sum(len(picture.data) for picture in (clean, shown.changed) if picture is not None)
        if room < 0:
            break
        if clean is not None:
            shared[clean.data] = len(pictures)
            pictures.append(clean)
        views[number].append(_view(f"{number + 1}-{len(views[number])}", shown, shared))
    return pictures, views


def _by_turns(series: Sequence[Sequence[Shown]], order: Sequence[int]) -> Iterator[tuple[int, Shown]]:
    """Yield the number of each series with its first image, then with its second one, and so on."""
    for images in zip_longest(*(series[number] for number in order)):
        yield from ((number, shown) for number, shown in zip(order, images, strict=True) if shown is not None)


def _images(details: Details | None) -> Sequence[Shown]:
    if details is None:
        return ()
    return ([] if details.example is None else [details.example]) + list(details.shown)


def _gallery(details: Details | None, views: Sequence[ImageView]) -> Gallery:
    example = next((view for view in views if view.changed), None)
    images = views if details is None or details.example is None else views[1:]
    return Gallery(images, len(_images(details)) - len(views), example)


def _view(name: str, shown: Shown, shared: dict[str, int]) -> ImageView:
    if shown.clean is None or min(shown.clean.width, shown.clean.height) < 1:
        return ImageView(shown, None, "", ())
    saliency = shown.saliency
    heat = () if saliency is None else (heat_map(saliency.clean), heat_map(saliency.intervened))
    return ImageView(shown, shared[shown.clean.data], name if shown.changed is not None else "", heat)
