"""A result as a card: HTML for notebooks, without scripts and without anything that is loaded.

The text has the colour of the notebook's theme. The colours of charts have a contrast of at least 3 to 1 on white and
on dark gray, so that a card does not have to know the theme. In a notebook that is not trusted, where styles are
removed, a card is complete, and only less tidy.
"""

from __future__ import annotations

import functools
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.display.content import Bars, Content
from pytest_biastransfer.display.svg_charts import bars_table, curves_figure
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    from pytest_biastransfer.display.content import Album, CardPicture, Chart


# Where the style of the card is removed, JupyterLab keeps those of elements. The height is that of card.css.
_PIXELS: Final = 84


def card(content: Content) -> str:
    """Return the card of a result."""
    charts = "".join(map(_chart, content.charts.values()))
    sentences = "".join(f"<p>{text(sentence)}</p>" for sentence in content.sentences if sentence)
    subtitle = f'<div class="bt-sub">{text(content.subtitle)}</div>' if content.subtitle else ""
    return (
        f"<style>{_style()}</style>"
        f'<div class="bt-card"><div class="bt-title"><b>{text(content.title)}</b></div>{subtitle}{sentences}'
        f'<div class="bt-charts">{charts}</div>{_album(content.album())}</div>'
    )


def text(plain: str) -> str:
    """Return a text as HTML: names that others chose can neither end an element nor control the page.

    >>> text("<b>cat")
    '&lt;b&gt;cat'
    """
    return escape(in_one_line(plain))


def _chart(chart: Chart) -> str:
    return bars_table(chart, text) if isinstance(chart, Bars) else curves_figure(chart, text)


def _album(album: Album) -> str:
    pictures = "".join(map(_picture, album.pictures))
    note = f'<p class="bt-sub">{text(album.note)}</p>' if album.note else ""
    return f'<div class="bt-album">{pictures}</div>{note}' if pictures or note else ""


def _picture(picture: CardPicture) -> str:
    size = f'class="{"bt-small" if picture.is_small else "bt-large"}" style="height: {_PIXELS}px"'
    images = "".join(
        f'<img {size} src="{escape(source)}" alt="{text(f"{picture.note}, {when} the intervention")}">'
        for source, when in ((picture.before, "before"), (picture.after, "after"))
    )
    return (
        f'<figure style="display: inline-block; margin: 0 14px 6px 0"><div>{images}</div>'
        f'<figcaption>{text(picture.caption)}<br><span class="bt-sub">{text(picture.note)}</span></figcaption></figure>'
    )


@functools.cache
def _style() -> str:
    lines = Path(__file__).with_name("card.css").read_text(encoding="utf-8").splitlines()
    return "".join(line.strip() for line in lines)
