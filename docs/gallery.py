"""The gallery of interventions: its rows, and their pictures, which ``python -m docs.gallery`` draws."""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torchvision.transforms import v2

from docs.tables.markup import code, table
from pytest_biastransfer import Custom, Intervention
from pytest_biastransfer.evaluation.side_by_side import sample, sample_mask
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.interventions.parsing import read

PICTURES: Final = Path(__file__).parent / "interventions"
ORIGINAL: Final = "original"
_SIDE: Final = 112


class Entry(NamedTuple):
    """A row of the gallery.

    Attributes
    ----------
    slug
        Name of its picture.
    declaration
        What a user types.
    effect
        What it does.
    images
        How many images of a dataset are drawn: 1, or 4 if they differ.
    make
        Makes the intervention if a text cannot declare it.
    """

    slug: str
    declaration: str
    effect: str
    images: int = 1
    make: Callable[[], Intervention] | None = None

    def intervention(self) -> Intervention:
        """Return the declared intervention; the files that it names are in the `workshop`."""
        return read(self.declaration) if self.make is None else self.make()


SECTIONS: Final = {
    "shapes": [
        Entry(
            "square",
            "Square(size=0.25)",
            "a filled square; this one, yellow at the top left, is that of Salman et al. 2022",
        ),
        Entry(
            "square-turned",
            'Square(size=0.45, anchor="center", color="red", angle=30, opacity=0.6)',
            "the same, rotated counterclockwise and translucent",
        ),
        Entry(
            "rectangle",
            'Rectangle(size=0.8, aspect=4, anchor="bottom", margin=0.08, color="black")',
            "a filled rectangle, `aspect` times as wide as high, at a distance `margin` from the border",
        ),
        Entry(
            "circle",
            'Circle(size=0.5, anchor="center", color="#ccff00")',
            "a filled disc; this one is the tennis ball of Salman et al. 2022",
        ),
        Entry(
            "circle-multiplied",
            'Circle(size=0.8, anchor="center", color="orange", blend="multiply")',
            "the same as a filter, which darkens the image below it",
        ),
        Entry(
            "ring",
            'Ring(size=0.6, anchor=(0.3, 0.8), color="red", thickness=0.2)',
            "a disc with a hole; here the anchor is a point",
        ),
        Entry(
            "triangle", 'Triangle(size=0.4, anchor="top-right", color="white")', "a filled triangle that points upwards"
        ),
        Entry(
            "checkerboard",
            'Checkerboard(size=0.5, cells=4, anchor="center", color="black")',
            "every second field of a board; the others are transparent",
        ),
        Entry(
            "line-grid",
            'LineGrid(size=1, color="gray", angle=45)',
            "crossed lines, such as the chain-link fence of Salman et al. 2022",
        ),
    ],
    "pictures": [
        Entry(
            "stencil",
            'Stencil("logo.png", size=0.35, anchor="bottom-right", margin=0.05)',
            "a picture of your own; its transparent pixels change nothing",
        ),
        Entry(
            "stencil-watermark",
            'Stencil("logo.png", size=0.9, anchor="center", blend="screen", opacity=0.6)',
            "the same as a watermark, which lightens the image below it",
        ),
        Entry(
            "text",
            'Text("SAMPLE", size=0.9, anchor="center", angle=30, opacity=0.6)',
            "text; this one is the watermark of a stock photo",
        ),
        Entry(
            "text-caption",
            'Text("17.05.2024", size=0.6, anchor="bottom-right", margin=0.05, color="orange")',
            "the same as a camera's date stamp; `font=FILE` selects another font",
        ),
    ],
    "patterns": [
        Entry(
            "stripes",
            'Stripes(period=0.1, color="black", angle=45, opacity=0.5)',
            "parallel stripes over the whole image",
        ),
        Entry(
            "gaussian-pattern",
            "GaussianPattern(scale=0.2)",
            "Gaussian noise, one pattern for all images (Salman et al. 2022); its 32 × 32 numbers are interpolated",
        ),
        Entry("noise", "Noise(scale=0.4)", "Gaussian noise, independent for each pixel and each image", 4),
        Entry(
            "pattern",
            "Pattern([[0.4, 0, 0.4], [0, -0.4, 0], [0.4, 0, 0.4]])",
            "an array of your own, added to the image and stretched to its size",
        ),
        Entry(
            "pattern-file",
            'Pattern("waves.npy", scale=0.25)',
            "the same from a file of `numpy.save`, such as a universal adversarial perturbation",
        ),
    ],
    "appearance": [
        Entry("grayscale", "Grayscale()", "the luma (ITU-R BT.601) in place of the colours"),
        Entry("tint", 'Tint(color="red", strength=0.35)', "one colour mixed into every pixel"),
        Entry(
            "color-cast",
            "ColorCast(matrix=(1, 0.75, 0.4))",
            "a factor for each of red, green and blue, as under another light source",
        ),
        Entry(
            "color-cast-matrix",
            "ColorCast(matrix=((0, 0, 1), (0, 1, 0), (1, 0, 0)))",
            "the same with a matrix; this one swaps red and blue",
        ),
        Entry("brightness", "Brightness(factor=0.5)", "all values multiplied; below 1 is darker, above 1 brighter"),
        Entry("contrast", "Contrast(factor=0.4)", "values closer to the image's mean luma; above 1 farther from it"),
        Entry("saturation", "Saturation(factor=2.5)", "stronger colours; below 1 weaker, at 0 gray"),
        Entry("blur", "Blur(sigma=0.03)", "Gaussian blur"),
        Entry("pixelate", "Pixelate(cells=16)", "blocks of pixels replaced by their mean"),
        Entry("jpeg", "JPEG(quality=3)", "saved as a JPEG of that quality and read again"),
        Entry("border", 'Border(width=0.1, color="black")', "a frame of one colour"),
        Entry("vignette", "Vignette(strength=0.9)", "darker towards the corners"),
    ],
    "regions": [
        Entry("background", 'Background("object", fill="gray")', "the background replaced by one colour"),
        Entry(
            "background-blurred",
            'Background("object", fill=Blur(sigma=0.06))',
            "the background changed by another intervention; a blur leaves a halo",
        ),
        Entry("occlude", 'Occlude("object", fill="black")', "the object replaced by one colour"),
        Entry(
            "occlude-gray",
            'Occlude("object", fill=Grayscale())',
            "the object changed by another intervention",
        ),
    ],
    "chance": [
        Entry(
            "sometimes",
            "Sometimes(Grayscale(), probability=0.5, seed=6)",
            "an intervention on a random share of the images",
            4,
        ),
        Entry(
            "one-of",
            'OneOf([Square(color="red"), Circle(color="blue"), Triangle(color="green")], seed=1)',
            "one of several interventions on each image, such as one of many hats",
            4,
        ),
        Entry(
            "random", "Random(Square(size=0.3))", "a shape, a picture or a text, at another position in each image", 4
        ),
        Entry(
            "custom",
            'Custom(lambda images: 1 - images, name="negative")',
            "any function of a float tensor [batch, channels, height, width] in [0, 1]",
            make=lambda: Custom(lambda images: 1 - images, name="negative"),
        ),
        Entry(
            "custom-random",
            "Custom(v2.RandomRotation(30))",
            "a transform of `torchvision.transforms.v2`; its random numbers are seeded, too",
            4,
            make=lambda: Custom(v2.RandomRotation(30)),
        ),
        Entry(
            "composition",
            'Grayscale() | Border(width=0.08, color="white") | Circle(size=0.3, color="red")',
            "several interventions, applied in reading order",
        ),
    ],
}


def main() -> None:
    """Write all pictures."""
    PICTURES.mkdir(exist_ok=True)
    drawings = pictures()
    for path in PICTURES.glob("*.png"):
        if path.stem not in drawings:
            path.unlink()
    for slug, picture in drawings.items():
        picture.save(PICTURES / f"{slug}.png", optimize=True)
    total = sum(path.stat().st_size for path in PICTURES.glob("*.png"))
    sys.stdout.write(f"{len(drawings)} pictures, {total / 1000:.0f} kB in total\n")


def entries() -> list[Entry]:
    """Return all rows of the gallery."""
    return [entry for rows in SECTIONS.values() for entry in rows]


def pictures() -> dict[str, Image.Image]:
    """Return all pictures of the gallery by their names, as the code draws them now."""
    original = _shrunk(sample(), _SIDE)
    with workshop():
        return {ORIGINAL: original} | {entry.slug: _picture_of(entry) for entry in entries()}


def section(name: str) -> str:
    """Return the table of a section of docs/interventions.md."""
    rows = ([_image(entry), code(entry.declaration), entry.effect] for entry in SECTIONS[name])
    return table(["picture", "declaration", "what it does"], rows)


def named() -> str:
    """Return the table of the named interventions."""
    rows = ([f"`{name}`", code(repr(BUILT_IN.named(name)))] for name in BUILT_IN.names)
    return table(["name", "stands for"], rows)


@contextlib.contextmanager
def workshop() -> Iterator[None]:
    """Work in a temporary directory with the files that the declarations name."""
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        _logo().save("logo.png")
        np.save("waves.npy", _waves())
        yield


def _image(entry: Entry) -> str:
    return f"![{entry.slug.replace('-', ' ')}]({PICTURES.name}/{entry.slug}.png)"


def _picture_of(entry: Entry) -> Image.Image:
    """Return the landscape after an intervention; for four images, four tiles."""
    intervention, batch = entry.intervention(), (entry.images, -1, -1, -1)
    masks = dict.fromkeys(intervention.mask_names, sample_mask().expand(batch))
    changed = intervention.apply(sample().expand(batch), masks=masks)
    if entry.images == 1:
        return _shrunk(changed, _SIDE)
    half = _SIDE // 2
    tiles = Image.new("RGB", (_SIDE, _SIDE))
    for index in range(entry.images):
        tiles.paste(_shrunk(changed[index : index + 1], half), (index % 2 * half, index // 2 * half))
    draw = ImageDraw.Draw(tiles)
    draw.rectangle((half - 1, 0, half, _SIDE), fill="white")
    draw.rectangle((0, half - 1, _SIDE, half), fill="white")
    return tiles


def _shrunk(image: torch.Tensor, side: int) -> Image.Image:
    pixels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    # Means of whole blocks are the same in all versions of Pillow.
    return Image.fromarray(pixels).reduce(pixels.shape[0] // side)


def _logo() -> Image.Image:
    """Return a white star on a red badge; around it nothing."""
    picture = Image.new("RGBA", (240, 240))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((4, 4, 236, 236), fill=(200, 32, 48, 255))
    radii = [96, 40] * 5
    angles = [math.pi * tip / 5 for tip in range(10)]
    points = [
        (120 + radius * math.sin(angle), 120 - radius * math.cos(angle))
        for radius, angle in zip(radii, angles, strict=True)
    ]
    draw.polygon(points, fill="white")
    return picture


def _waves() -> npt.NDArray[np.float64]:
    """Return rings around the centre, in [-1, 1]."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    rings: npt.NDArray[np.float64] = np.cos(np.hypot(x, y) * 6 * np.pi)
    return rings


if __name__ == "__main__":
    main()
