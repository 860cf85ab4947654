"""The settings of a session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_biastransfer.names import Compare, Correction, Images, Precision, Update

# Where GitHub Actions shows what a step wrote.
SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True)
class Verify:
    """How many images of each key are verified (None for all), and the seed that selects them, if one is set."""

    images: int | None
    seed: str


@dataclass(frozen=True)
class Settings:
    """The settings of a session, from the command line and the ini file.

    Attributes
    ----------
    device, batch_size, max_images
        As in `pytest_biastransfer.measure`.
    order_seed
        Decides, with the content of a dataset, in which order its images are visited.
    store
        Directory of the prediction store. None means one in pytest's cache directory.
    store_url
        URL of the remote store whose cache the prediction store is, if any. It may have credentials: do not show it.
    specs
        Spec strings of the model and dataset fixtures, by fixture name.
    transfer
        How the transferred model is made, as in the ini file.
    directory
        The directory of the ini file; relative paths in specs start there.
    only
        Whether only bias tests run.
    workers_per_gpu
        How many workers share a GPU.
    pixel_cache
        Maximum size of the decoded pixels in the store, in bytes; None for the default.
    device_cache
        Maximum size of the decoded pixels on a GPU, in bytes; None for a share of what is free.
    share_across_devices
        Whether predictions of other models of GPUs are used.
    precision
        The precision on CUDA: ``"float32"``, ``"tf32"`` or ``"bf16"``.
    compiled
        Whether models are compiled.
    baseline
        The file of accepted measurements; it need not exist.
    update, compare, prune
        Which measurements are written to it, what a regression does, and whether entries without a test are removed.
    store_key
        The environment variable with the secret that seals the store, if any.
    correction
        How p-values are corrected for their number.
    alpha
        Level of the tests for regressions, in (0, 1).
    alpha_over_time
        Level of the tests of all runs on new images together, in (0, 1); None to test each run alone.
    verify
        How many stored predictions are verified; None for none.
    executor
        ``"local"``, ``"ray"``, or the address of a Ray cluster; None for what the hook returns, or this process.
    early_stop
        The probability of a wrong early verdict; None to measure on all images.
    reports
        Files that a report is written to.
    images
        The tests whose flipped images a report shows.
    saliency
        Whether a report shows where the model looks.
    html_path
        The file that pytest-html writes, if it does.
    """

    device: str
    batch_size: int | None
    max_images: int | None
    order_seed: int
    store: Path | None
    store_url: str | None = field(repr=False)
    workers_per_gpu: int
    pixel_cache: int | None
    device_cache: int | None
    share_across_devices: bool
    precision: Precision
    compiled: bool
    specs: Mapping[str, str]
    transfer: str | None
    directory: Path
    only: bool
    baseline: Path
    update: Update | None
    compare: Compare
    prune: bool
    store_key: str | None
    alpha: float
    alpha_over_time: float | None
    correction: Correction
    verify: Verify | None
    executor: str | None
    early_stop: float | None
    reports: tuple[Path, ...]
    images: Images
    saliency: bool
    html_path: str | None

    @property
    def wants_details(self) -> bool:
        """Whether an output of the session needs more of a test than its verdict."""
        return bool(self.reports or self.html_path) or SUMMARY_VARIABLE in os.environ

    @property
    def uses_ray(self) -> bool:
        """Whether a Ray cluster computes predictions."""
        return self.executor not in (None, "local")

    @property
    def fails_on_regression(self) -> bool:
        """Whether a regression fails its test. It does not if the session accepts all measurements."""
        return self.compare in ("fail", "require") and self.update != "all"
