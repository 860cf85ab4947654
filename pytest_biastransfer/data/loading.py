"""Loads the dataset of a spec string: imports its scheme's module, and applies the options of its query."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from pytest_biastransfer.data.adapters import wrap_dataset
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.spec_options import SHARED_KEYS, with_declared
from pytest_biastransfer.errors import BiasTransferError, DatasetError
from pytest_biastransfer.specs.plugin_loader import PluginLoader, no_plugin
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts

# The module of each scheme. It is imported only for a spec of that scheme, as some need slow libraries.
_MODULES: Final = MappingProxyType(
    {
        "csv": "csv_file",
        "hf": "hugging_face",
        "imagefolder": "image_folder",
        "npz": "npz_file",
        "python": "python",
        "torchvision": "torchvision_datasets",
        "webdataset": "web_dataset",
    }
)
SCHEMES: Final = tuple(_MODULES)


class _Scheme(Protocol):
    KEYS: tuple[str, ...] | None

    def load(self, spec: Spec, facts: Facts | None) -> LabelledImages: ...


def load_dataset(
    spec: str, *, directory: Path | None = None, facts: Facts | None = None, plugins: PluginLoader = no_plugin
) -> LabelledImages:
    """Load the dataset that a spec string names.

    Images are read at their first use, so many errors in them are only raised then.

    Parameters
    ----------
    spec
        One of

        - ``imagefolder:DIR``: pictures in one folder a class;
        - ``csv:FILE?image=COLUMN&label=COLUMN``: a list of pictures, relative to the file and in its directory;
          the columns are called ``image`` and ``label`` by default, all others are attributes;
        - ``npz:FILE?image=NAME&label=NAME``: arrays of numpy, called ``images`` and ``labels`` by default;
        - ``torchvision:CLASS?root=DIR&split=NAME``: a classification dataset of torchvision, which is downloaded
          only with ``download=1``;
        - ``hf:NAME_OR_DIR?split=NAME&image=COLUMN&label=COLUMN``: a dataset of the ``datasets`` library, downloaded
          only with ``download=1&revision=COMMIT``; ``streaming=1&limit=N`` keeps its first N examples;
        - ``webdataset:DIR_OR_GLOB?image=jpg;png&label=cls``: samples in uncompressed tar files;
        - ``python:package.module:factory?key=value``: the dataset that your own code returns.

        All of them take ``name`` (in reports), ``limit`` with ``seed`` (at most so many images, drawn at random and
        the same on every machine), ``classes`` (a file with the names of the classes in the order of their numbers,
        or a JSON object from these classes to those of a model) and ``attributes`` (a CSV file with the images' file
        names in its first column). Those of picture files also take ``range=BLACK,WHITE`` or ``window=CENTER,WIDTH``
        for gray values of more than 8 bits, and ``window=file`` for DICOM files.
    directory
        The directory of relative paths; default: the current directory.
    facts
        The cache of the files' hashes and indices; default: none.
    plugins
        Loads specs of other schemes, and returns None for a scheme that no plugin has.

    Raises
    ------
    SpecError
        If the spec is malformed, or needs a library that is not installed.
    DatasetError
        If the dataset is missing, empty, unsafe, or has no labelled images.

    Examples
    --------
    >>> load_dataset("imagefolder:data/missing")
    Traceback (most recent call last):
    ...
    pytest_biastransfer.errors.DatasetError: imagefolder ...data/missing: no such directory
    """
    parsed = Spec.parse(spec, directory)
    if parsed.scheme not in _MODULES:
        # Without the spec: another process, which may lack the plugin, gets the object.
        return with_declared(_dataset_of_plugin(parsed, facts, plugins), parsed)
    module = _MODULES[parsed.scheme]
    scheme: _Scheme = importlib.import_module(f"{__package__}.schemes.{module}")
    if scheme.KEYS is not None:
        parsed.check_keys((*scheme.KEYS, *SHARED_KEYS))
    images = with_declared(scheme.load(parsed, facts), parsed)
    images.spec = parsed
    return images


def as_images(dataset: object, origin: str) -> LabelledImages:
    """Return a spec string or a dataset object as labelled images.

    `origin` says in error messages where the dataset came from.
    """
    return load_dataset(dataset) if isinstance(dataset, str) else wrap_dataset(dataset, origin)


def _dataset_of_plugin(spec: Spec, facts: Facts | None, plugins: PluginLoader) -> LabelledImages:
    dataset = plugins(spec)
    if dataset is None:
        spec.choose_scheme(_MODULES)
    origin = f"spec {spec.text!r}: hook pytest_bias_load_dataset"
    if not isinstance(dataset, str):
        return wrap_dataset(dataset, origin)
    try:
        # Another spec of this package. One of a plugin might lead back to this one, endlessly.
        return load_dataset(dataset, directory=spec.directory, facts=facts)
    except BiasTransferError as error:
        raise DatasetError(f"{origin}: returned a spec that cannot be loaded: {error}") from error
