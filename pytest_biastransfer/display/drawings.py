"""A drawing in the HTML of a card, which is also shown where a page removes styles and SVG.

JupyterLab does so in notebooks that are not trusted, and other pages that show notebooks do as well. They keep images.
"""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import quote

# An image has no theme: it is dark on white in each.
_INK: Final = "#222222"


def drawing(marks: str, width: int, height: int, *, label: str = "", scales: bool = False) -> str:
    """Return a drawing as SVG, which has the colours of the page, and as an image.

    The style of the card shows the former and hides the latter; without the style it is the other way round.

    Parameters
    ----------
    marks
        Elements of SVG. Their colours are attributes: an image does not get the style of the page.
    width, height
        The size of the image in pixels.
    label
        What it shows, as HTML, for people who do not see it; empty if the text beside it says that.
    scales
        Whether positions are relative to that size, and grow with the drawing. Otherwise, they have a unit.
    """
    box = f' viewBox="0 0 {width} {height}"' if scales else ""
    named = f'role="img" aria-label="{label}"' if label else 'aria-hidden="true"'
    image = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"{box} color="{_INK}" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>{marks}</svg>'
    )
    # JupyterLab removes the attribute `hidden`, and others remove all styles.
    return (
        f'<span class="bt-drawn" hidden style="display: none"><svg{box} {named}>{marks}</svg></span>'
        f'<img class="bt-plain" width="{width}" height="{height}" alt="{label}" src="{_data_uri(image)}">'
    )


def _data_uri(image: str) -> str:
    return escape(f"data:image/svg+xml,{quote(image, safe=' =/,;()')}")
