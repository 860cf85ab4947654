"""``torchvision:CLASS?root=DIR&split=test``: a classification dataset of torchvision."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data.cached_index import CachedIndexImages, DatasetIndex
from pytest_biastransfer.data.spec_options import SHARED_KEYS
from pytest_biastransfer.errors import DatasetError, SpecError, nearest
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

if TYPE_CHECKING:
    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.map_style import MapStyleImages

KEYS: Final = None
_OWN_KEYS: Final = ("root", "split", "download")

# Security: datasets whose items are an image and one number, and whose code, in torchvision 0.29, neither unpickles
# unchecked files nor writes anything except downloads. CIFAR's files are pickles: torchvision compares their MD5 with
# that of the published files before it opens them. `torch.load` uses `weights_only`, which is torch's default.
# fmt: off
_CLASSES: Final = frozenset((
    "CIFAR10", "CIFAR100", "CLEVRClassification", "Country211", "DTD", "EMNIST", "EuroSAT", "FashionMNIST", "FER2013",
    "FGVCAircraft", "Flowers102", "Food101", "GTSRB", "Imagenette", "KMNIST", "LFWPeople", "MNIST", "Omniglot",
    "OxfordIIITPet", "PCAM", "Places365", "QMNIST", "RenderedSST2", "SEMEION", "StanfordCars", "STL10", "SUN397",
    "SVHN", "USPS",
))
# fmt: on
_REFUSED: Final = MappingProxyType(
    {
        "Caltech101": "it makes directories; use imagefolder:DIR with the folder 101_ObjectCategories",
        "Caltech256": "it makes directories; use imagefolder:DIR with the folder 256_ObjectCategories",
        "DatasetFolder": "use imagefolder:DIR",
        "FakeData": "it has no files; make the dataset with python:package.module:factory",
        "ImageFolder": "use imagefolder:DIR",
        "ImageNet": "it unpacks archives where they are; use imagefolder:DIR with the folder that they are unpacked to",
        "INaturalist": "it makes directories; use imagefolder:DIR with the folder of the version",
        "LSUN": "it unpickles a file that anybody may have written; export the images and use imagefolder:DIR",
        "LSUNClass": "it unpickles a file that anybody may have written; export the images and use imagefolder:DIR",
    }
)
# Parameters that a spec cannot set: transforms, as the images must come as they are in the files, and the root.
_NOT_SET: Final = ("self", "root", "download", "transform", "transforms", "target_transform", "loader", "kwargs")
_TRAIN: Final = MappingProxyType({"train": True, "test": False})
# The exceptions of the datasets for files that are missing, incomplete or damaged.
_BROKEN: Final = (RuntimeError, OSError, ValueError, LookupError, AssertionError, EOFError, struct.error, zlib.error)


def load(spec: Spec, facts: Facts | None) -> TorchvisionImages:
    """Return the dataset that a spec names; torchvision is imported, and files are read, at the first use of images."""
    if spec.rest in _REFUSED:
        raise SpecError(f"spec {spec.text!r}: torchvision's {spec.rest} cannot be used: {_REFUSED[spec.rest]}")
    if spec.rest not in _CLASSES:
        raise SpecError(
            f"spec {spec.text!r}: {spec.rest!r} is none of torchvision's classification datasets; "
            f"{nearest(spec.rest, _CLASSES)}"
        )
    if "root" not in spec.query:
        raise SpecError(f"spec {spec.text!r}: add &root= with the directory that has, or is to have, the dataset")
    root = spec.path(spec.query["root"])
    if not root.is_dir() and not spec.switch("download"):
        raise DatasetError(f"{_location(spec)}: no directory {root}{_how_to_download(spec)}")
    return TorchvisionImages(spec, root, facts)


class TorchvisionImages(CachedIndexImages):
    """A dataset of torchvision, which is only constructed if the index of the files under its root is not cached."""

    def __init__(self, spec: Spec, root: Path, facts: Facts | None = None) -> None:
        super().__init__(facts)
        split = spec.query.get("split")
        self.name = spec.rest if split is None else f"{spec.rest} {split}"
        self._spec = spec
        self._root = root

    def _sources(self) -> list[str]:
        files = _files_under(self._root)
        if not files:
            # No files yet: constructing the dataset downloads them, or raises an error that says how.
            self._images  # noqa: B018
            files = _files_under(self._root)
        return files

    def _cache_key(self) -> tuple[object, ...]:
        versions = [importlib.metadata.version(library) for library in ("torchvision", "pillow")]
        own = {key: value for key, value in self._spec.query.items() if key not in (*SHARED_KEYS, "root", "download")}
        return "torchvision", self._spec.rest, sorted(own.items()), str(self._root), versions

    def _read_index(self) -> DatasetIndex:
        images = self._images
        table = images.label_table
        return {
            "labels": [] if table is not None else images.labels.tolist(),
            "table": None if table is None else table.to_texts(),
            "classes": None if table is not None else _names(self._dataset, max(images.labels)),
            "sorted": False,
            "contents": images.fingerprint,
            "files": None if images.files is None else list(images.files),
            "attributes": {},
            "masks": [],
        }

    @functools.cached_property
    def _images(self) -> MapStyleImages:
        from pytest_biastransfer.data.map_style import MapStyleImages

        return MapStyleImages(self._dataset, _location(self._spec))

    @functools.cached_property
    def _dataset(self) -> Any:
        import torchvision.datasets

        make = getattr(torchvision.datasets, self._spec.rest, None)
        if make is None:
            version = importlib.metadata.version("torchvision")
            raise SpecError(f"spec {self._spec.text!r}: torchvision {version} has no {self._spec.rest}")
        parameters = _parameters(make)
        arguments = _arguments(self._spec, parameters)
        download = bool(self._spec.switch("download"))
        if "download" in parameters:
            # Passed always, as some datasets download by default.
            arguments["download"] = download
        elif download:
            raise SpecError(
                f"spec {self._spec.text!r}: torchvision cannot download {self._spec.rest}; remove download=1"
            )
        try:
            return make(str(self._root), **arguments)
        except _BROKEN as error:
            missing = isinstance(error, FileNotFoundError) or "download" in str(error)
            how = _how_to_download(self._spec) if missing and "download" in parameters else ""
            raise DatasetError(f"{_location(self._spec)}: {_message(error)}; looked in {self._root}{how}") from error

    def content_digests(self) -> Sequence[bytes]:
        """Return the hashes of the decoded images; all are read."""
        return self._images.content_digests()

    def image(self, index: int) -> Image:
        """Return one image of the dataset."""
        return self._images.image(index)


def _names(dataset: Any, largest: int) -> list[str] | None:
    """Return the names of a dataset's classes if there is one for each label; of synonyms the first, as models do."""
    classes = getattr(dataset, "classes", None) or ()
    names = [synonyms[0] if isinstance(synonyms, tuple) and synonyms else synonyms for synonyms in classes]
    return names if len(names) > largest and all(isinstance(name, str) for name in names) else None


def _parameters(make: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a dataset's class, and those of its base classes where it passes ``**kwargs`` on."""
    parameters: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(make):
        if "__init__" not in vars(base):
            continue
        own = inspect.signature(vars(base)["__init__"]).parameters
        parameters = {**own, **parameters}
        if "kwargs" not in own:
            return parameters
    return parameters


def _arguments(spec: Spec, parameters: dict[str, inspect.Parameter]) -> dict[str, Any]:
    settable = [name for name in parameters if name not in _NOT_SET]
    arguments: dict[str, Any] = {}
    if "split" in spec.query:
        if "split" not in settable and "train" not in settable:
            raise SpecError(f"spec {spec.text!r}: {spec.rest} has no splits; remove split=")
        arguments |= {"split": spec.query["split"]} if "split" in settable else {"train": _is_train(spec)}
    requested = [key for key in spec.query if key not in (*SHARED_KEYS, *_OWN_KEYS)]
    valid = [name for name in settable if name not in (*arguments, "split")]
    for key in requested:
        if key not in valid:
            raise SpecError(
                f"spec {spec.text!r}: {spec.rest} does not take {key!r}; "
                f"{nearest(key, [*valid, *_OWN_KEYS, *SHARED_KEYS])}"
            )
    return arguments | {key: _value(spec.query[key]) for key in requested}


def _is_train(spec: Spec) -> bool:
    split = spec.query["split"]
    if split not in _TRAIN:
        raise SpecError(f"spec {spec.text!r}: split={split!r}, but {spec.rest} has the splits train and test")
    return _TRAIN[split]


def _value(text: str) -> int | bool | str:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isascii() and text.isdecimal() else text


def _files_under(root: Path) -> list[str]:
    return [
        f"{parent}/{name}" for parent, _, names in sorted(os.walk(root, followlinks=True)) for name in sorted(names)
    ]


def _location(spec: Spec) -> str:
    return f"torchvision's {spec.rest}"


def _message(error: Exception) -> str:
    """Return torchvision's message without its advice, which is for callers in Python."""
    lines = str(error).partition(" You can use download=True")[0].splitlines()
    return lines[0].rstrip(".") if lines else f"its files are damaged ({type(error).__name__})"


def _how_to_download(spec: Spec) -> str:
    return "" if spec.switch("download") else "; to download it, add &download=1 to the spec"
