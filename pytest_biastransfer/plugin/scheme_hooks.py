"""The schemes that other plugins and conftest files add, by the hooks that load a model and a dataset."""

from __future__ import annotations

import pytest

from pytest_biastransfer.specs.plugin_loader import PluginLoaders
from pytest_biastransfer.specs.spec import Spec


def plugin_loaders(config: pytest.Config) -> PluginLoaders:
    """Return the loaders that ask the hooks of a session."""

    def model(spec: Spec) -> object:
        return config.hook.pytest_bias_load_model(spec=spec)

    def dataset(spec: Spec) -> object:
        return config.hook.pytest_bias_load_dataset(spec=spec)

    return PluginLoaders(model, dataset)
