"""Each kind of result is plain data, a data frame, a plot, a file and a card, all with the same figures."""

from __future__ import annotations

import json
import math
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch

from pytest_biastransfer import (
    Custom,
    Model,
    Square,
    ladder,
    measure,
    measure_gaps,
    measure_ladder,
    scan,
    search_worst,
)
from pytest_biastransfer.display.displayed import Displayed
from pytest_biastransfer.errors import ReportError, SpecError
from pytest_biastransfer.strategies import patches
from pytest_biastransfer.transfer import Recipe, attribute_bias, dose_response, plant, sweep

CLASSES = ("red", "green", "blue")


class Named(list[Any]):
    """Images with the names of their labels."""

    classes = CLASSES


def images(count: int = 40) -> Named:
    """Return images of which a blue square of half the side flips one in four."""
    levels = [0.5 if index % 4 else 0.3 for index in range(count)]
    return Named(
        (
            torch.tensor([level, 0.2, 0.1]).reshape(3, 1, 1).expand(3, 16, 16),
            0,
            {"light": "dim" if level < 0.4 else "day"},
        )
        for level in levels
    )


def brightest(bias: float = 0.0) -> Model:
    head = torch.nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3))
        head.bias.copy_(torch.tensor([0.0, 0.0, bias]))
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head)
    return Model(module, classes=CLASSES, name=f"brightest {bias}")


SQUARE = Square(size=0.5, color="blue")


@pytest.fixture(scope="module")
def results() -> Mapping[str, Displayed]:
    """Return a result of each kind."""
    data, model, control = images(), brightest(), brightest(-0.1)
    plain = Named((image, label) for image, label, _ in data)
    options: dict[str, Any] = {"recipe": Recipe(epochs=1, batch_size=16), "seeds": 2}
    doses: dict[str, Any] = {"change": lambda own, level: plant(own, SQUARE, level), "levels": [0, 0.5], "limit": 0.5}
    return {
        "measurement": measure(model, data, SQUARE, control=control),
        "gaps": measure_gaps(model, data, "light", "accuracy", min_group_size=5, control=control),
        "ladder": measure_ladder(model, data, ladder(SQUARE, "size", [0.25, 0.5]), control=control),
        "ranking": scan(model, data, interventions={"blue": SQUARE, "faint": Square(size=0.1)}, control=control),
        "search": search_worst(model, data, patches(max_size=0.9), limit=0.2, budget=20),
        "attribution": attribute_bias(model, control, plain, plain, SQUARE, **options),
        "dose response": dose_response(model, plain, plain, SQUARE, **doses, **options),
        "dose responses": dose_response({"one": model, "other": control}, plain, plain, SQUARE, **doses, **options),
        "sweep": sweep(model, plain, plain, SQUARE, over={"weight_decay": [0.0, 0.1], "size": [20, 40]}, **options),
    }


KINDS = [
    "measurement", "gaps", "ladder", "ranking", "search", "attribution", "dose response", "dose responses", "sweep",
]  # fmt: skip


class Elements(HTMLParser):
    """The open elements of a page: each is closed where it has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Leave out elements that close themselves."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_is_complete_html_without_scripts_and_requests(kind: str, results: Mapping[str, Displayed]) -> None:
    card = results[kind]._repr_html_()
    elements = Elements()
    elements.feed(card)
    elements.close()
    assert not elements.open
    assert "<script" not in card
    assert not re.search(r"https?://|url\(|@import", card)
    assert "nan" not in re.findall(r'(?:x1|x2|y1|y2|cx|cy|width|points)="([^"]*)"', card)


class Sanitized(HTMLParser):
    """What JupyterLab shows of a notebook that is not trusted: it removes styles and SVG, and keeps the texts of SVG."""

    def __init__(self) -> None:
        super().__init__()
        self.styles, self.hidden = 0, 0
        self.texts: list[str] = []
        self.drawings: list[ET.Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.styles += tag == "style"
        # Within a hidden element, others of the same name would end it.
        assert not (self.hidden and tag == "span")
        # JupyterLab removes the one, and others remove the other.
        is_hidden = "hidden" in attributes
        assert is_hidden == (attributes.get("style") == "display: none")
        self.hidden += tag == "span" and is_hidden
        source = attributes.get("src") or ""
        if source.startswith("data:image/svg+xml,"):
            self.drawings.append(ET.fromstring(unquote(source.partition(",")[2])))

    def handle_endtag(self, tag: str) -> None:
        self.styles -= tag == "style"
        self.hidden -= tag == "span" and bool(self.hidden)

    def handle_data(self, data: str) -> None:
        if not self.styles and not self.hidden:
            self.texts.append(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_has_its_charts_where_styles_and_svg_are_removed(kind: str, results: Mapping[str, Displayed]) -> None:
    card = results[kind]._repr_html_()
    shown = Sanitized()
    shown.feed(card)
    assert len(shown.drawings) == card.count("<svg") > 0
    namespace = "{http://www.w3.org/2000/svg}"
    for kind_of_mark in ("rect", "line", "circle", "polyline", "text"):
        drawn = sum(len(list(one.iter(f"{namespace}{kind_of_mark}"))) for one in shown.drawings)
        background = len(shown.drawings) if kind_of_mark == "rect" else 0
        assert drawn - background == len(re.findall(f"<{kind_of_mark}[ >]", card))
    # The labels of the ticks would be read as a single number.
    labels = {label.text for one in shown.drawings for label in one.iter(f"{namespace}text")}
    assert not labels & set(shown.texts)


@pytest.mark.parametrize("kind", KINDS)
def test_plain_data_is_json(kind: str, results: Mapping[str, Displayed], tmp_path: Path) -> None:
    plain = results[kind].to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    results[kind].save(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == plain


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_has_values_within_their_intervals(kind: str, results: Mapping[str, Displayed]) -> None:
    frame = results[kind].to_frame()
    assert len(frame) > 1
    assert {"value", "low", "high"} <= set(frame.columns)
    ends = frame.dropna(subset=["low", "high"])
    assert (ends["low"] <= ends["high"]).all()
    # What all rows have in common is in each of them, so that frames of several results can be concatenated.
    assert all(frame[fact].nunique() == 1 for fact in results[kind]._facts())


@pytest.mark.parametrize("kind", KINDS)
def test_all_charts_can_be_plotted(kind: str, results: Mapping[str, Displayed], tmp_path: Path) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("agg")
    for chart in results[kind]._content().charts:
        axes = results[kind].plot(chart)
        assert axes.lines or axes.patches or axes.containers
        own = plt.figure().add_subplot()
        assert results[kind].plot(chart, axes=own) is own
        plt.close("all")
    results[kind].save(tmp_path / "result.svg")
    ET.parse(tmp_path / "result.svg")
    with pytest.raises(ReportError, match=rf"plot\(chart='nothing'\); .*{next(iter(results[kind]._content().charts))}"):
        results[kind].plot("nothing")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_result_is_the_same_file(kind: str, results: Mapping[str, Displayed], tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        results[kind].save(tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_the_figures_of_a_measurement_are_the_same_everywhere(results: Mapping[str, Displayed]) -> None:
    measurement: Any = results["measurement"]
    assert float(measurement.asr) == 0.25
    frame = measurement.to_frame().set_index(["model", "metric"])
    assert frame.loc[("brightest 0.0", "asr"), "value"] == 0.25
    assert frame.loc[("brightest 0.0", "asr"), "low"] == measurement.asr.low
    assert frame.loc[("brightest -0.1", "asr"), "value"] == float(measurement.control.asr)
    by_metric = {(row["model"], row["metric"]): row for row in measurement.to_dict()["figures"]}
    assert by_metric["brightest 0.0", "asr"]["high"] == measurement.asr.high
    card = measurement._repr_html_()
    assert "25 % of the predictions flip; class shares changed: blue +0.250, red -0.250." in card
    assert f"[{measurement.asr.low:.3f}, {measurement.asr.high:.3f}]" in card
    bars = measurement.plot("classes").patches
    assert sorted(round(bar.get_width(), 6) for bar in bars) == [-0.25, 0.25]


def test_the_frame_of_a_ladder_has_each_strength(results: Mapping[str, Displayed]) -> None:
    own: Any = results["ladder"]
    frame = own.to_frame()
    asr = frame[(frame["metric"] == "asr") & (frame["model"] == "brightest 0.0")]
    assert dict(zip(asr["strength"], asr["value"], strict=True)) == {0.25: 0.0, 0.5: 0.25}


def test_the_frame_of_a_gap_has_each_group(results: Mapping[str, Displayed]) -> None:
    own: Any = results["gaps"]
    frame = own.to_frame()
    groups = frame[(frame["model"] == "brightest 0.0") & frame["group"].notna()]
    assert dict(zip(groups["group"], groups["n"], strict=True)) == {"day": 30, "dim": 10}
    assert frame[(frame["metric"] == "gap") & (frame["model"] == "brightest 0.0")]["value"].item() == float(own.gap)


def test_names_cannot_control_the_page() -> None:
    hostile = '</div><script>alert("1")</script>\x1b[2J'
    model = brightest()
    named = Model(model.module, classes=[hostile, "b'\"<i>", "c"], name=hostile)
    unlabelled = [(image, label) for image, label, _ in images()]
    card = measure(named, unlabelled, SQUARE)._repr_html_()
    assert "<script" not in card
    assert "<i>" not in card
    assert "\x1b" not in card
    assert "&lt;script&gt;" in card


def test_pictures_are_the_flipped_images_before_and_after(results: Mapping[str, Displayed]) -> None:
    import base64
    import io

    import numpy as np
    from PIL import Image

    measurement: Any = results["measurement"]
    pictures = measurement.pictures().pictures
    flipped = [flip.index for flip in measurement.flips]
    assert [picture.note for picture in pictures] == [
        f"image {flipped[number * len(flipped) // 6]}, label red" for number in range(6)
    ]
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
        for source in (pictures[0].before, pictures[0].after)
    )
    assert before.shape == after.shape == (16, 16, 3)
    assert (abs(before.astype(int) - [76.5, 51, 25.5]) <= 0.5).all()
    # A square of half the side at the top left.
    assert (after[:8, :8] == [0, 0, 255]).all()
    assert (after[8:] == before[8:]).all()


def swapped(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.flip(-3)


def test_images_that_cannot_be_drawn_leave_the_card_without_pictures() -> None:
    two_channels = [(torch.tensor([0.4, 0.3]).reshape(2, 1, 1).expand(2, 8, 8), 0)] * 8
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    card = measure(module, two_channels, Custom(swapped))._repr_html_()
    assert "<figcaption" not in card
    assert "No pictures: images of 2 channels cannot be drawn" in card


def test_a_pickled_measurement_leaves_the_images_behind(results: Mapping[str, Displayed]) -> None:
    import pickle

    again = pickle.loads(pickle.dumps(results["measurement"]))
    assert again.album is None
    assert again.asr == results["measurement"].asr  # type: ignore[attr-defined]
    assert "<figcaption" not in again._repr_html_()


@pytest.mark.parametrize(
    ("module", "call", "extra"),
    [("pandas", "to_frame", "notebook"), ("matplotlib", "plot", "report")],
)
def test_a_missing_library_says_what_to_type(
    module: str, call: str, extra: str, results: Mapping[str, Displayed], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(SpecError, match=rf"needs {module}, .*pip install 'pytest-biastransfer\[{extra}\]'"):
        getattr(results["measurement"], call)()
    # The card needs neither.
    assert "0.250" in results["measurement"]._repr_html_()


def test_where_no_prediction_changes_the_card_says_so() -> None:
    card = measure(brightest(), images(), Square(size=0.1))._repr_html_()
    assert "No prediction changed." in card
    assert "change of each class&#x27;s share of the predictions: none" in card
    assert "bt-album" not in card.partition("</style>")[2]


def test_curves_of_the_same_figures_are_drawn_beside_each_other() -> None:
    import matplotlib.pyplot as plt

    from pytest_biastransfer.display.content import Bar, PlottedCurve, PlottedCurves
    from pytest_biastransfer.display.plots import draw

    points: dict[object, Bar] = {0.1: Bar("", 0.5, 0.4, 0.6), 0.2: Bar("", 0.5, 0.4, 0.6)}
    axes = plt.figure().add_subplot()
    draw(PlottedCurves("size", "asr", [PlottedCurve("own", points), PlottedCurve("control", points, 1)]), axes)
    axes.figure.canvas.draw()
    containers: Any = axes.containers
    own, control = (container.lines[0] for container in containers)
    drawn = [line.get_transform().transform(line.get_xydata()) for line in (own, control)]
    assert (drawn[0][:, 0] < drawn[1][:, 0]).all()
    assert (drawn[0][:, 1] == drawn[1][:, 1]).all()
    # The values are those of the axis; only what is drawn is shifted.
    assert own.get_xdata().tolist() == [0.1, 0.2]
    left, right = axes.get_xlim()
    assert left < 0.1
    assert right > 0.2
    bottom, top = axes.get_ylim()
    assert bottom < 0.4
    assert top > 0.6
    plt.close("all")


def test_a_plot_without_bars_says_so() -> None:
    axes = measure(brightest(), images(), Square(size=0.1)).plot("classes")
    assert [text.get_text() for text in axes.texts] == ["none"]
    assert not axes.get_xticks().size


def test_undefined_figures_have_no_marks() -> None:
    from pytest_biastransfer.display.content import Bar, Bars, PlottedCurve, PlottedCurves
    from pytest_biastransfer.display.svg_charts import bars_table, curves_figure

    undefined = Bar("x", math.nan)
    table = bars_table(Bars("metric", [undefined, Bar("y", 0.5, 0.4, 0.6)]), str)
    assert table.count("<rect") == 1
    assert "undefined" in table
    figure = curves_figure(
        PlottedCurves("level", "asr", [PlottedCurve("", {0: undefined, 1: Bar("", 0.5, 0.4, 0.6)})]), str
    )
    assert figure.count("<circle") == 1
    assert "nan" not in figure


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_colours_can_be_seen_on_light_and_dark_themes(background: str) -> None:
    """WCAG 2.2, 1.4.11: graphics have a contrast of at least 3 to 1."""
    from pytest_biastransfer.display.plots import COLORS

    def luminance(color: str) -> float:
        channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [own / 12.92 if own <= 0.04045 else ((own + 0.055) / 1.055) ** 2.4 for own in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for color in COLORS:
        light, dark = sorted((luminance(color), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, color
