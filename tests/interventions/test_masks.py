"""Counterfactual backgrounds and hidden objects: by masks that come with the dataset, of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pytest_biastransfer import Background, Blur, Grayscale, Model, Occlude, Preprocess, load_dataset, measure
from pytest_biastransfer.data import LabelledImages, as_images
from pytest_biastransfer.data.pixels import decode, decode_masks
from pytest_biastransfer.errors import DatasetError, InterventionError
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.interventions.parsing import read
from tests.conftest import Run
from tests.support.small_datasets import noise, write_picture

quick = settings(max_examples=40, deadline=None)
COUNT = 5


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------ interventions


@quick
@given(st.integers(0, 99), st.sampled_from([1, 3]), st.booleans())
def test_object_and_background_are_told_apart_pixel_by_pixel(seed: int, channels: int, soft: bool) -> None:
    images, mask = some(2, channels, 9, 7, seed=seed), some(2, 1, 9, 7, seed=seed + 1)
    mask = mask if soft else mask.round()
    fill = np.array([255, 0, 51]) / 255
    if channels == 1:
        fill = np.array([np.average(fill, weights=(0.2989, 0.587, 0.114))])
    before, share = images.double().numpy(), mask.double().numpy()
    color = fill.reshape(1, channels, 1, 1)
    for kind, filled in ((Background, 1 - share), (Occlude, share)):
        changed = kind("object", fill=(255, 0, 51)).apply(images, masks={"object": mask})
        assert np.abs(changed.numpy() - (before * (1 - filled) + color * filled)).max() <= 1e-6


def test_a_region_can_be_filled_with_what_an_intervention_makes_of_it() -> None:
    images, mask = some(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[:, :, :8] = 1
    gray = Grayscale().apply(images)
    changed = Background("object", fill=Grayscale()).apply(images, masks={"object": mask})
    assert torch.equal(changed[:, :, :8], images[:, :, :8])
    assert torch.allclose(changed[:, :, 8:], gray[:, :, 8:])
    nested = Occlude("object", fill=Background("other", fill="red"))
    assert nested.mask_names == ("object", "other")
    changed = nested.apply(images, masks={"object": mask, "other": 1 - mask})
    assert torch.allclose(changed[:, 0, :8], torch.ones(()))
    assert torch.equal(changed[:, :, 8:], images[:, :, 8:])


def test_masks_reach_the_steps_of_compositions_and_what_happens_sometimes() -> None:
    text = "Grayscale() | Sometimes(Occlude('object'), probability=0.5)"
    images, mask = some(20, 3, 4, 4), some(20, 1, 4, 4, seed=1).round()
    declared = read(text)
    assert declared.mask_names == ("object",)
    changed, gray = declared.apply(images, masks={"object": mask}), Grayscale().apply(images)
    hidden = Occlude("object").apply(gray, masks={"object": mask})
    kinds = [torch.equal(changed[i], gray[i]) + 2 * torch.allclose(changed[i], hidden[i]) for i in range(20)]
    assert set(kinds) == {1, 2}


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Background(""), "Background: mask='', expected the name of a mask"),
        (lambda: Occlude(3), "Occlude: mask=3, expected the name of a mask"),  # type: ignore[arg-type]
        (lambda: Background("object", fill="grey"), "color 'grey'.*did you mean gray"),
        (lambda: Background("object", fill=Blur(stage="source")), "is of stage 'source', and this of stage 'input'"),
        (lambda: Occlude("a").apply(some(1, 3, 4, 4)), r"Occlude\('a', .*: the mask 'a' is missing"),
        (
            lambda: Occlude("a").apply(some(1, 3, 4, 4), masks={"a": some(1, 1, 4, 5)}),
            r"the mask 'a' is torch.float32 \[1, 1, 4, 5\], expected floats \[1, 1, 4, 4\]",
        ),
    ],
)
def test_mistakes_are_named(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        declare()


# ----------------------------------------------------------------------------------------- datasets


def pictures() -> npt.NDArray[np.uint8]:
    return noise(COUNT, 3, 12, 16)


def masks() -> npt.NDArray[np.uint8]:
    """Return masks [images, height, width] of 0 and 255, each another rectangle."""
    found = np.zeros((COUNT, 12, 16), dtype=np.uint8)
    for place in range(COUNT):
        found[place, place : place + 5, 2 * place : 2 * place + 6] = 255
    return found


def write_csv(place: Path) -> str:
    lines = ["image,label,object,group"]
    for index in range(COUNT):
        write_picture(place / "images" / f"{index}.png", pictures()[index])
        Image.fromarray(masks()[index]).save(place / f"mask-{index}.png")
        lines.append(f"images/{index}.png,0,mask-{index}.png,indoor")
    (place / "val.csv").write_text("\n".join(lines) + "\n")
    return "csv:val.csv"


def write_folder(place: Path) -> str:
    lines = ["file,object"]
    (place / "masks").mkdir()
    for index in range(COUNT):
        write_picture(place / "val" / "cat" / f"{index}.png", pictures()[index])
        Image.fromarray(masks()[index]).save(place / "masks" / f"{index}.png")
        lines.append(f"cat/{index}.png,masks/{index}.png")
    (place / "val.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    return "imagefolder:val?attributes=val.csv"


def write_arrays(place: Path) -> str:
    np.savez(place / "val.npz", images=pictures(), labels=np.zeros(COUNT, dtype=np.int64), object=masks() > 0)
    return "npz:val.npz"


def write_hub(place: Path) -> str:
    import datasets

    columns = {
        "image": [Image.fromarray(one.transpose(1, 2, 0)) for one in pictures()],
        "label": [0] * COUNT,
        "object": [Image.fromarray(one) for one in masks()],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat"]), "object": datasets.Image()}
    )
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(place / "hub")
    return "hf:hub?image=image"


def items(kind: Callable[[npt.NDArray[np.uint8]], Any]) -> list[tuple[Any, int, dict[str, Any]]]:
    return [
        (torch.from_numpy(picture), 0, {"object": kind(mask), "group": "indoor"})
        for picture, mask in zip(pictures(), masks(), strict=True)
    ]


IN_MEMORY: dict[str, Callable[[npt.NDArray[np.uint8]], Any]] = {
    "bytes": lambda mask: mask,
    "truth values": lambda mask: torch.from_numpy(mask > 0),
    "floats": lambda mask: (mask / 255)[None],
    "numbers": lambda mask: (mask // 255).astype(np.int64),
    "pictures": Image.fromarray,
}
FILES: dict[str, Callable[[Path], str]] = {
    "csv": write_csv,
    "imagefolder": write_folder,
    "npz": write_arrays,
    "hf": write_hub,
}


@pytest.fixture(params=[*IN_MEMORY, *FILES])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> LabelledImages:
    if request.param in FILES:
        return load_dataset(FILES[request.param](tmp_path), directory=tmp_path)
    return as_images(items(IN_MEMORY[request.param]), "dataset")


def test_masks_come_from_datasets_of_every_kind(dataset: LabelledImages) -> None:
    found = np.stack([dataset.masks("object").mask(index) for index in range(COUNT)])
    assert found.dtype == np.float32
    assert np.array_equal(found[:, 0], (masks() > 0).astype(np.float32))
    with pytest.raises(DatasetError, match=r"has no masks 'objekt'; (did you mean object\? )?Valid: .*object"):
        dataset.masks("objekt")


def test_masks_go_where_their_images_go(dataset: LabelledImages) -> None:
    preprocess = Preprocess(resize=18, crop=20, fill=0.5)
    white = as_images([(torch.from_numpy(np.repeat(mask[None], 3, axis=0)), 0) for mask in masks()], "white")
    wanted = decode(white, range(COUNT), Preprocess(resize=18, crop=20, fill=0.0))[:, :1] / 255
    found = decode_masks(dataset, "object", range(COUNT), preprocess.for_masks)
    # Pictures are resized in 8 bits.
    assert np.abs(found - wanted).max() <= 1.5 / 255
    assert found.shape == (COUNT, 1, 20, 20)


def test_a_part_of_a_dataset_has_the_masks_of_that_part(tmp_path: Path) -> None:
    write_csv(tmp_path)
    part = load_dataset("csv:val.csv?limit=3&seed=4", directory=tmp_path)
    whole = load_dataset("csv:val.csv", directory=tmp_path)
    assert part.files is not None
    assert whole.files is not None
    for index, file in enumerate(part.files):
        wanted = whole.masks("object").mask(list(whole.files).index(file))
        assert np.array_equal(part.masks("object").mask(index), wanted)


class Channels(torch.nn.Module):
    """Answers with the brightest channel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


@pytest.mark.parametrize("stage", ["input", "source"])
def test_a_measurement_is_that_of_images_changed_by_hand(dataset: LabelledImages, stage: Any) -> None:
    model = Model(Channels(), preprocess=Preprocess(size=12))
    hidden = Occlude("object", fill="red", stage=stage)
    found = measure(model, dataset, hidden, batch_size=2)
    predictions = []
    for index in range(COUNT):
        image = torch.from_numpy(pictures()[index]).float()[None] / 255
        mask = torch.from_numpy(dataset.masks("object").mask(index))[None]
        if stage == "source":
            changed = hidden.apply(image, masks={"object": mask})
            changed_images = as_images([((changed[0] * 255).round().byte(), 0)], "changed")
            pixels = torch.from_numpy(decode(changed_images, [0], model.preprocess)).float() / 255
        else:
            pixels = torch.from_numpy(decode(dataset, [index], model.preprocess)).float() / 255
            resized = torch.from_numpy(decode_masks(dataset, "object", [index], model.preprocess.for_masks))
            pixels = hidden.apply(pixels, masks={"object": resized})
        predictions.append(int(Channels()(pixels).argmax()))
    clean = Evaluator("cpu").predictions(model, dataset)
    wanted = np.mean([predictions[index] != before for index, before in zip(clean.indices, clean.classes, strict=True)])
    assert float(found.asr) == pytest.approx(wanted)
    assert float(found.asr) > 0


def test_other_masks_are_other_predictions(tmp_path: Path) -> None:
    model, store = Model(Channels(), preprocess=Preprocess(size=12)), tmp_path / "store"
    one = items(lambda mask: mask)
    assert measure(model, one, Occlude("object", fill="red"), store=store).computed == 2 * COUNT
    assert measure(model, one, Occlude("object", fill="red"), store=store).computed == 0
    inverted = items(lambda mask: 255 - mask)
    # The clean images are the same.
    assert measure(model, inverted, Occlude("object", fill="red"), store=store).computed == COUNT


def test_masks_that_were_changed_are_seen() -> None:
    told = items(lambda mask: mask.copy())
    images = as_images(told, "dataset")
    before = images.masks("object").fingerprint
    assert images.looks_unchanged()
    for _, _, one in told:
        one["object"][:] = 255 - one["object"]
    assert not images.looks_unchanged()
    assert as_images(told, "dataset").masks("object").fingerprint != before


def test_masks_that_differ_each_time_are_an_error() -> None:
    class Changing(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            picture, label, _ = super().__getitem__(index)
            return picture, label, {"object": np.random.random((12, 16))}

    images = as_images(Changing(items(lambda mask: mask)), "dataset")
    with pytest.raises(DatasetError, match=r"the mask 'object' of item \d of Changing differs each time it is read"):
        images.masks("object")


def test_attributes_that_are_no_masks_are_left_alone() -> None:
    told = {"embedding": torch.ones(2, 3, requires_grad=True), 7: np.zeros((2, 2)), "sparse": torch.eye(3).to_sparse()}
    images = as_images([(torch.zeros(3, 12, 16), 0, told)], "dataset")
    assert images.attributes == {}
    assert images.masks("7").mask(0).shape == (1, 2, 2)


@pytest.mark.parametrize("color", [(0, 0, 255), (128, 0, 0), (1, 1, 1)])
def test_a_picture_is_the_same_mask_wherever_it_comes_from(color: tuple[int, int, int], tmp_path: Path) -> None:
    from pytest_biastransfer.evaluation.side_by_side import _mask

    picture = Image.new("RGB", (16, 12))
    picture.paste(color, (4, 2, 10, 8))
    write_csv(tmp_path)
    picture.save(tmp_path / "mask-0.png")
    wanted = np.zeros((12, 16), dtype=np.float32)
    wanted[2:8, 4:10] = 1.0 if max(color) == 1 else max(color) / 255
    by_file = load_dataset("csv:val.csv", directory=tmp_path).masks("object").mask(0)
    in_memory = as_images(items(lambda _: picture), "dataset").masks("object").mask(0)
    palette = as_images(items(lambda _: picture.quantize(8)), "dataset").masks("object").mask(0)
    shown = _mask(tmp_path / "mask-0.png")[0].numpy()
    for found in (by_file, in_memory, palette, shown):
        assert np.allclose(found[0], wanted, atol=1e-6)


# ----------------------------------------------------------------------------------------- bad input


def failing(kind: Callable[[npt.NDArray[np.uint8]], Any]) -> Callable[[Path], LabelledImages]:
    return lambda _: as_images(items(kind), "dataset")


def with_file(content: bytes | None) -> Callable[[Path], LabelledImages]:
    def load(place: Path) -> LabelledImages:
        write_csv(place)
        path = place / "mask-1.png"
        path.unlink() if content is None else path.write_bytes(content)
        return load_dataset("csv:val.csv", directory=place)

    return load


def outside(place: Path) -> LabelledImages:
    write_csv(place)
    table = place / "val.csv"
    table.write_text(table.read_text().replace("mask-1.png", "../mask-1.png"))
    return load_dataset("csv:val.csv", directory=place)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            failing(lambda mask: mask[:5]),
            r"the mask 'object' of list: that of image \d is 5×16 pixels, the image 12×16",
        ),
        (failing(lambda mask: mask * 2.0), r"the mask 'object' of item \d of list has values from 0 to 510; expected"),
        (failing(lambda mask: np.stack([mask, mask])), r"is uint8 \[2, 12, 16\], expected \[height, width\]"),
        (failing(lambda mask: mask[0]), r"the mask 'object' of item 0 of list is uint8 \[16\], expected \[height"),
        (failing(lambda mask: mask // 128 * 7), r"has values from 0 to 7; expected values in \[0, 1\], or bytes"),
        (with_file(None), r"val\.csv, line 3: the mask cannot be read \(.*mask-1\.png"),
        (with_file(b"no picture"), r"val\.csv, line 3: the mask .*mask-1\.png: cannot be read"),
        (outside, r"val\.csv, line 3: the mask '\.\./mask-1\.png' is not in"),
    ],
)
def test_masks_that_cannot_be_used_are_named(
    make: Callable[[Path], LabelledImages], message: str, tmp_path: Path
) -> None:
    model = Model(Channels(), preprocess=Preprocess(size=12))
    with pytest.raises(DatasetError, match=message):
        measure(model, make(tmp_path), Background("object"))


def test_a_mask_that_the_dataset_lacks_is_one_clear_error(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest
        from pytest_biastransfer import Background

        @pytest.mark.xfail(reason="excuses no mistakes")
        @pytest.mark.bias_intervention(Background("object"), max_asr=0.5)
        def test_background():
            pass
        """
    )
    result = run()
    result.stdout.fnmatch_lines(["*list has no masks 'object', nor any others. Masks are arrays*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.ret == 1
