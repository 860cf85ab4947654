"""Labels are those of the model by name, in whatever way a dataset is wrapped, or not known: never guessed."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset, random_split

from pytest_biastransfer import BiasTransferError, Model, Square, load_dataset, load_model, measure
from pytest_biastransfer.data import LabelledImages, as_images
from pytest_biastransfer.data.label_mapping import labels_for, model_labels
from pytest_biastransfer.data.labelled_images import Numbering
from pytest_biastransfer.errors import DatasetError, ModelError, SpecError
from pytest_biastransfer.measurement.decisions import target_classes
from pytest_biastransfer.specs.class_order import ClassOrder, natural_order
from tests.support.small_datasets import make_listed, write_arrays

GREY = {"cat": 40, "dog": 120, "yak": 200}
Folder: Any = torchvision.datasets.ImageFolder


class Levels(torch.nn.Module):
    """Says the class whose grey an image has."""

    levels: torch.Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels) / 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(images.mean((1, 2, 3))[:, None] - self.levels).abs()


REVERSED = Model(Levels([200, 120, 40]), classes=["yak", "dog", "cat"])


def write_folders(directory: Path, greys: Mapping[str, int], count: int = 4) -> Path:
    for name, grey in greys.items():
        (directory / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (6, 6), (grey,) * 3).save(directory / name / f"{number}.png")
    return directory


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return folders of three animals, of a grey each."""
    return write_folders(tmp_path_factory.mktemp("animals") / "val", GREY)


def accuracy(model: Model | torch.nn.Module | str, dataset: Any) -> float:
    return float(measure(model, dataset, Square(size=0.2, color="white"), device="cpu").accuracy)


def accuracy_in_plain_torch(module: torch.nn.Module, dataset: Any) -> float:
    right = []
    for index in range(len(dataset)):
        picture, label = dataset[index]
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        right.append(int(module(pixels).argmax()) == label)
    return float(np.mean(right))


class Own(Dataset[Any]):
    """A wrapper of the user's own, which may do what it likes with items."""

    def __init__(self, inner: Any, order: Sequence[int] | None = None, labels: Sequence[int] | None = None) -> None:
        self.inner = inner
        self.order = order
        self.renumbered = None if labels is None else torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture, label = self.inner[index if self.order is None else self.order[index]]
        return picture, label if self.renumbered is None else int(self.renumbered[label])


class OtherNumbers(Folder):  # type: ignore[misc]
    """Numbers the classes backwards, as torchvision lets its users do, and lists their names forwards."""

    def find_classes(self, directory: Any) -> tuple[list[str], dict[str, int]]:
        names, _ = super().find_classes(directory)
        return names, {name: len(names) - 1 - number for number, name in enumerate(names)}


class OtherItems(Folder):  # type: ignore[misc]
    """Numbers the classes otherwise only when an item is taken."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture, label = super().__getitem__(index)
        return picture, [1, 2, 0][label]


NAMED: dict[str, Callable[[Path], Any]] = {
    "folders": Folder,
    "subset": lambda path: Subset(Folder(str(path)), range(1, 12, 2)),
    "subset of subset": lambda path: Subset(Subset(Folder(str(path)), range(11, 0, -1)), range(2, 9)),
    "random split": lambda path: random_split(Folder(str(path)), [6, 6], torch.Generator().manual_seed(0))[1],
    "joined": lambda path: ConcatDataset([Folder(str(path)), Subset(Folder(str(path)), [0, 5])]),
    "subset of joined": lambda path: Subset(ConcatDataset([Folder(str(path)), Folder(str(path))]), [3, 17, 9]),
    "target transform": lambda path: Folder(str(path), target_transform=lambda label: [2, 0, 1][label]),
    "subset of target transform": lambda path: Subset(
        Folder(str(path), target_transform=[2, 0, 1].__getitem__), range(0, 12, 5)
    ),
    "mapping of one class only": lambda path: Subset(Folder(str(path), target_transform={2: 0}.get), [9, 10]),
    "numbers with gaps": lambda path: Folder(str(path), target_transform={0: 7, 1: 900, 2: 3}.__getitem__),
    "find_classes": OtherNumbers,
    "subset of find_classes": lambda path: Subset(OtherNumbers(str(path)), [0, 7, 11]),
    "other items": OtherItems,
    "own wrapper": lambda path: Own(Folder(str(path))),
    "own wrapper of a subset": lambda path: Own(Subset(Folder(str(path)), range(2, 12, 3))),
    "subset of own wrapper": lambda path: Subset(
        Own(Folder(str(path), target_transform=[1, 2, 0].__getitem__)), [0, 8]
    ),
}


@pytest.mark.parametrize("name", list(NAMED))
def test_labels_are_matched_by_name_however_a_dataset_is_wrapped(animals: Path, name: str) -> None:
    assert accuracy(REVERSED, NAMED[name](animals)) == 1


UNNAMED: dict[str, Callable[[Path], Any]] = {
    "copied": lambda path: list(Folder(str(path))),
    "classes that became one": lambda path: Folder(str(path), target_transform=[0, 1, 1].__getitem__),
    "own wrapper that renumbers": lambda path: Own(Folder(str(path)), labels=[2, 1, 0]),
    "own wrapper in another order": lambda path: Own(Folder(str(path)), order=range(11, -1, -1)),
    "joined with other numbers": lambda path: ConcatDataset([Folder(str(path)), OtherNumbers(str(path))]),
    "joined with a copy": lambda path: ConcatDataset([Folder(str(path)), Own(list(Folder(str(path))))]),
}


@pytest.mark.parametrize("name", list(UNNAMED))
def test_labels_that_nothing_names_are_not_known(animals: Path, name: str) -> None:
    dataset = UNNAMED[name](animals)
    measurement = measure(REVERSED, dataset, Square(size=0.2, color="white"), device="cpu")
    assert measurement.asr >= 0
    with pytest.raises(BiasTransferError, match=r"has numbers as labels and no names .* \(yak, dog, cat\)"):
        measurement.accuracy  # noqa: B018 - raises
    # As they are where the model names none either.
    assert accuracy(REVERSED.module, dataset) == accuracy_in_plain_torch(REVERSED.module, dataset)


@pytest.mark.parametrize("name", ["folders", "target transform", "find_classes", "other items", "subset"])
def test_a_model_without_names_takes_labels_as_they_come_out(animals: Path, name: str) -> None:
    dataset = NAMED[name](animals)
    for levels in ([40, 120, 200], [120, 200, 40], [200, 120, 40]):
        assert accuracy(Levels(levels), dataset) == accuracy_in_plain_torch(Levels(levels), dataset)


def test_a_drop_of_accuracy_is_that_of_the_whole_set(animals: Path) -> None:
    # All becomes the yak: of three classes one stays right.
    white = Square(size=1.0, color="white")
    for dataset in (Folder(str(animals)), Subset(Folder(str(animals)), range(12))):
        assert measure(REVERSED, dataset, white, device="cpu").accuracy_drop == pytest.approx(2 / 3)


class Numbered(list[Any]):
    """Items with names of their labels, in whatever attribute."""

    def __init__(self, labels: Sequence[int], **attributes: Any) -> None:
        super().__init__((torch.zeros(3, 2, 2), label) for label in labels)
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        ({"classes": np.array(["a", "b", "c"])}, {0: "a", 1: "b", 2: "c"}),
        ({"classes": {0: "a", 2: "c"}}, {0: "a", 2: "c"}),
        ({"class_to_idx": {"c": 2, "a": 0}}, {0: "a", 2: "c"}),
        # The numbers decide, not the order of a list; of synonyms, the list's.
        ({"classes": ["b", "a"], "class_to_idx": {"a": 0, "b": 2}}, {0: "a", 2: "b"}),
        ({"classes": ["a", "b", "c"], "class_to_idx": {"a": 0, "A": 0, "b": 1, "c": 2}}, {0: "a", 1: "b", 2: "c"}),
        ({"classes": ["x", "b", "c"], "class_to_idx": {"a": 0, "A": 0, "b": 1, "c": 2}}, {}),
        # Names that were given later.
        (
            {"classes": ["cat", "dog", "yak"], "class_to_idx": {"n0": 0, "n1": 1, "n2": 2}},
            {0: "cat", 1: "dog", 2: "yak"},
        ),
        ({"classes": ["a", "b", "c"], "targets": torch.tensor([2, 0, 2])}, {0: "c", 2: "a", 1: None}),
        ({"classes": ["a", "b", "c"], "targets": [0, 1, 2]}, {}),
        ({"classes": ["a", "b", "c"], "target_transform": lambda label: (label + 1) % 3}, {0: "c", 1: "a", 2: "b"}),
        ({"classes": ["a", "b", "c"], "target_transform": {5: 0}.__getitem__}, {}),
        ({"classes": [1, 2, 3]}, {}),
        ({"classes": "abc"}, {}),
    ],
)
def test_what_an_object_says_of_its_classes(attributes: dict[str, Any], names: dict[int, str | None]) -> None:
    names_by_number = as_images(Numbered([0, 2, 0], **attributes), "dataset").names_by_number
    assert names_by_number == {number: name for number, name in names.items() if name is not None}


# ------------------------------------------------------------------------------------------- which numbers


def test_numbers_in_files_mean_nothing_to_a_model_that_names_its_classes(tmp_path: Path) -> None:
    make_listed(tmp_path, [0, 1, 0, 1])
    write_arrays(tmp_path / "val.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.array([0, 1]))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    for spec in ("csv:val.csv", "npz:val.npz"):
        mapped = model_labels(load_dataset(spec, directory=tmp_path), ["dog", "cat"], 2)
        assert mapped.indices is None
        assert "name them in the order of the numbers: classes=FILE in the dataset's spec" in mapped.reason
        named = labels_for(load_dataset(f"{spec}?classes=names.txt", directory=tmp_path), ["dog", "cat"], 2)
        assert named is not None
        assert named.tolist()[:2] == [1, 0]


def test_a_label_without_a_name_is_an_error_that_names_the_image(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"image 1 of Declared has the label 1, but there are names of 1 class only"):
        labels_for(Declared([0, 1], ("cat",)), ["cat", "dog"], 2)


CASES: dict[str, tuple[list[str], list[str], list[str]]] = {
    # What the folders are called, how timm sorts them, how Python does.
    "numbers": ([str(n) for n in range(12)], [str(n) for n in range(12)], sorted(map(str, range(12)))),
    "letters": (["Zebra", "ape", "Yak"], ["ape", "Yak", "Zebra"], ["Yak", "Zebra", "ape"]),
    "both": (["b10", "B9", "a"], ["a", "B9", "b10"], ["B9", "a", "b10"]),
    "none": (["ape", "yak", "zebra"], ["ape", "yak", "zebra"], ["ape", "yak", "zebra"]),
}


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("order", [None, "string", "natural"])
def test_folders_are_numbered_as_the_models_library_does_it(
    tmp_path: Path, name: str, order: ClassOrder | None
) -> None:
    folders, natural, string = CASES[name]
    greys = {folder: 20 * (index + 1) for index, folder in enumerate(folders)}
    write_folders(tmp_path / "val", greys, count=1)
    ordered = natural if order == "natural" else string
    model = Model(Levels([greys[folder] for folder in ordered]), class_order=order)
    if order is None and natural != string:
        message = f"numbered as {', '.join(string)} by torchvision here, and as {', '.join(natural)} by timm; say which"
        with pytest.raises(BiasTransferError, match=message):
            accuracy(model, f"imagefolder:{tmp_path}/val")
    else:
        assert accuracy(model, f"imagefolder:{tmp_path}/val") == 1
    # A named model is independent of all of that.
    named = Model(Levels([greys[folder] for folder in folders]), classes=folders, class_order=order)
    assert accuracy(named, f"imagefolder:{tmp_path}/val") == 1


def test_the_order_is_that_of_timm_itself(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    names = ["b2", "10", "B1", "9", "a", "Ab", "09x", "c_1", "C-1", "é", "e2", "E10"]
    write_folders(tmp_path / "val", dict.fromkeys(names, 0), count=1)
    numbers = timm.data.create_dataset("", root=str(tmp_path / "val")).reader.class_to_idx
    assert [names[index] for index in natural_order(names)] == sorted(numbers, key=numbers.__getitem__)
    for arch, order in (("timm:resnet10t", "natural"), ("torchvision:squeezenet1_1", "string")):
        assert load_model(f"{arch}?num_classes=12").class_order == order
    assert load_model("timm:resnet10t?num_classes=12&class_order=string").class_order == "string"


def test_a_list_of_names_is_numbered_by_the_models_library(tmp_path: Path) -> None:
    make_listed(tmp_path, ["10", "9", "x", "9"])
    images = load_dataset("csv:val.csv", directory=tmp_path)
    assert images.classes == ("10", "9", "x")
    assert [_list(labels_for(images, None, 3, order)) for order in ("string", "natural", None)] == [
        [0, 1, 2, 1],
        [1, 0, 2, 0],
        None,
    ]


def test_a_folder_object_of_torchvision_is_not_renumbered(tmp_path: Path) -> None:
    folders = Folder(str(write_folders(tmp_path / "val", {"10": 10, "9": 90}, count=1)))
    images = as_images(folders, "dataset")
    assert _list(labels_for(images, None, 2)) == [0, 1]
    assert _list(labels_for(images, None, 2, "string")) == [0, 1]
    mapped = model_labels(images, None, 2, "natural")
    assert (mapped.indices, "numbered as 10, 9 by torchvision here, and as 9, 10 by timm" in mapped.reason) == (
        None,
        True,
    )


def test_names_that_timm_takes_for_equal_have_no_order() -> None:
    images = Declared([0, 1], ("A", "a"), numbering="sorted")
    assert "timm treats as equal" in model_labels(images, None, 2, "natural").reason
    assert _list(labels_for(images, None, 2, "string")) == [0, 1]


def test_accents_that_are_sorted_otherwise_on_a_mac_are_not_guessed() -> None:
    etoile, fleur = unicodedata.normalize("NFD", "étoile"), "fleur"
    mapped = model_labels(Declared([0, 1], (etoile, fleur), numbering="sorted"), None, 2, "string")
    assert "where accents are composed" in mapped.reason
    alike = (unicodedata.normalize("NFD", "café"), "dog")
    assert _list(labels_for(Declared([0, 1], alike, numbering="sorted"), None, 2)) == [0, 1]


def test_an_order_that_nobody_has() -> None:
    with pytest.raises(SpecError, match=r"class_order='sorted'; .*Valid: natural, string"):
        load_model("torchvision:squeezenet1_1?class_order=sorted")
    with pytest.raises(ModelError, match=r"class_order='sorted', expected 'string' or 'natural'"):
        Model(torch.nn.Flatten(), class_order="sorted")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- which names


def test_names_are_compared_composed(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    write_folders(tmp_path / "val", {decomposed: 40, "dog": 200})
    model = Model(Levels([200, 40]), classes=["dog", "café"])
    assert accuracy(model, f"imagefolder:{tmp_path}/val") == 1
    assert accuracy(Model(model.module, classes=["dog", decomposed]), f"imagefolder:{tmp_path}/val") == 1
    assert target_classes([decomposed], ["dog", "café"]) == [1]
    (tmp_path / "names.txt").write_text("dog\ncafé\n")
    renamed = load_dataset(f"imagefolder:{tmp_path}/val?classes={tmp_path}/names.txt")
    assert sorted(set(renamed.labels.tolist())) == [0, 1]
    (tmp_path / "map.json").write_text('{"café": "café", "dog": "dog"}')
    mapped = load_dataset(f"imagefolder:{tmp_path}/val?classes={tmp_path}/map.json")
    assert _list(labels_for(mapped, ["dog", decomposed], 2)) == [1] * 4 + [0] * 4


def test_a_list_may_write_a_name_in_both_ways(tmp_path: Path) -> None:
    make_listed(tmp_path, ["café", "dog", unicodedata.normalize("NFD", "café"), "dog"])
    images = load_dataset("csv:val.csv", directory=tmp_path)
    assert (images.classes, images.labels.tolist()) == (("café", "dog"), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("name", "other"),
    [("breed_07", "Breed 07"), ("dog", "Dog"), ("dog", "dog "), ("dog", "dogs"), ("weiß", "weiss"), ("a-b c", "a_b_c")],
)
def test_names_that_differ_are_listed_beside_what_the_model_has(name: str, other: str) -> None:
    names = [*(f"breed_{number:02}" for number in (1, 2, 3)), name]
    model_classes = [other, *names[:3]]
    mapped = model_labels(Declared([0, 3], tuple(names)), model_classes, 4)
    assert mapped.indices is None
    assert (
        f"1 of the 4 classes of Declared are not classes of the model: {name!r} (the model has {other!r})"
        in mapped.reason
    )
    assert f'classes=FILE in the dataset\'s spec, a JSON object such as {{"{name}": "{other}"}}' in mapped.reason


def test_many_names_that_differ_are_counted() -> None:
    names = tuple(f"n{number}" for number in range(9))
    reason = model_labels(Declared([0], names), ["cat", "crane", "crane"], 3).reason
    assert (
        "9 of the 9 classes of Declared are not classes of the model: 'n0', 'n1', 'n2', 'n3', 'n4', and 4 more"
        in reason
    )
    twice = model_labels(Declared([0], ("cat", "crane")), ["cat", "crane", "crane"], 3).reason
    assert "'crane' (the model has 2 classes of this name)" in twice


def test_another_number_of_classes_names_those_without_images() -> None:
    reason = model_labels(Declared([0, 1], ("cat", "dog", "yak")), None, 2).reason
    assert "has 3 classes (cat, dog, yak), 1 of them without images (yak), and the model 2 outputs" in reason


def test_a_target_that_is_the_name_of_two_classes_is_not_guessed() -> None:
    with pytest.raises(BiasTransferError, match=r"target='crane': the model has several classes .*: 0 and 2"):
        target_classes(["crane"], ["crane", "dog", "crane"])


class Declared(LabelledImages):
    """Labels with names, and no image."""

    fingerprint = ""

    def __init__(self, labels: Sequence[int], classes: tuple[str, ...], numbering: Numbering = "declared") -> None:
        self.name = "Declared"
        self.classes = classes
        self.numbering = numbering
        self._labels = np.array(labels)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return self._labels

    def image(self, index: int) -> Any:
        raise AssertionError


def _list(labels: npt.NDArray[np.int64] | None) -> list[int] | None:
    return None if labels is None else labels.tolist()
