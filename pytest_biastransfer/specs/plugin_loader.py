"""Schemes of plugins: what loads the model or the dataset of a spec whose scheme is none of this package's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_biastransfer.specs.spec import Spec

# Returns the model or the dataset of a spec whose scheme belongs to a plugin, or None if no plugin has the scheme.
PluginLoader = Callable[[Spec], object]


def no_plugin(spec: Spec) -> None:
    """Return None: no plugin adds schemes."""


@dataclass(frozen=True)
class PluginLoaders:
    """The schemes that plugins add for models and for datasets."""

    models: PluginLoader = no_plugin
    datasets: PluginLoader = no_plugin
