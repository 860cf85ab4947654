"""The names that users type: fixtures, words of settings, and the marker with its documentation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import pytest

SOURCE_FIXTURE: Final = "source_model"
MODEL_FIXTURE: Final = "transferred_model"
CONTROL_FIXTURE: Final = "control_model"
DATASET_FIXTURE: Final = "bias_dataset"
FINETUNING_FIXTURE: Final = "bias_finetuning_dataset"
DEVICE_FIXTURE: Final = "bias_device"
BIAS_FIXTURE: Final = "bias"

# What `scan` writes.
FIRST_TESTS: Final = "test_bias.py"

# So many kept predictions of each key are made again.
CANARY_IMAGES: Final = 16
Precision = Literal["float32", "tf32", "bf16"]
Rule = Literal["point", "certain", "significant"]
GapMetric = Literal["fpr", "tpr", "accuracy", "auc", "selection_rate"]
OperatingPoint = Literal["argmax", "prevalence"]
Negatives = Literal["own", "shared"]
Update = Literal["new", "all"]
Compare = Literal["fail", "warn", "off", "require"]
Images = Literal["none", "failed", "all"]

INTERVENTION_MARKER: Final = "bias_intervention"
SEARCH_MARKER: Final = "bias_search"
GAP_MARKER: Final = "bias_gap"
MARKERS: Final = (INTERVENTION_MARKER, SEARCH_MARKER, GAP_MARKER)

INTERVENTION_MARKER_HELP: Final = (
    f"{INTERVENTION_MARKER}(*interventions, model='{MODEL_FIXTURE}', dataset='{DATASET_FIXTURE}', control=None, "
    "target=None, max_asr=None, max_conditional_asr=None, max_targeted_asr=None, max_skew=None, "
    "max_accuracy_drop=None, max_asr_excess=None, max_skew_excess=None, rule='point', confidence=0.95, "
    "max_regression=0, max_accuracy_regression=0, early_stop=None, allow_degenerate=False): "
    "measure how the predictions of the fixture `model` change on the images of the fixture `dataset` under each "
    "of the interventions (objects or registered names), and fail the test if a limit is exceeded. Each marker "
    "and each intervention in it is a test of its own. Limits on an excess compare with the fixture `control` "
    f"(by default '{CONTROL_FIXTURE}'); max_targeted_asr needs target=, a class or several, by name or number. "
    "The limits are judged after the test's own body has passed, by the observed value, or with rule='certain' or "
    "'significant' by its interval at the given confidence. max_regression is how much worse than in the baseline "
    "a limited metric may be, max_accuracy_regression how much lower the accuracy without the intervention; "
    "early_stop=True, or a probability of error, stops once the verdict is certain. A limit that holds for a model "
    "that does not tell its classes apart is an error, unless allow_degenerate=True."
)


SEARCH_MARKER_HELP: Final = (
    f"{SEARCH_MARKER}(space, model='{MODEL_FIXTURE}', dataset='{DATASET_FIXTURE}', control=None, target=None, "
    "max_asr=None, ..., confidence=0.95, budget=200, images=512, seed=0, allow_degenerate=False): "
    "look for an intervention in `space`, a "
    "strategy such as pytest_biastransfer.strategies.patches(), that breaks the one given limit, on so many images and "
    "with at most so many evaluations. What is found is shrunk to the smallest and plainest one with as many again, "
    "confirmed on all images, and shown as a marker to paste."
)

GAP_MARKER_HELP: Final = (
    f"{GAP_MARKER}(attribute, metric='fpr', max_gap=None, max_gap_excess=None, positive=None, "
    f"operating_point='argmax', negatives='own', min_group_size=30, model='{MODEL_FIXTURE}', "
    f"dataset='{DATASET_FIXTURE}', control=None, rule='point', confidence=0.95, max_regression=0, "
    "max_accuracy_regression=0, allow_degenerate=False): measure how far the "
    "groups of images that the attribute of the dataset makes are apart in a metric: fpr, tpr, accuracy, auc or "
    "selection_rate. All but accuracy need positive=, a class or several, by name or number. "
    "operating_point='prevalence' predicts as many positives as there are; negatives='shared' compares each group's "
    "positives with all negatives. Groups with fewer images than min_group_size are named and not judged. "
    f"max_gap_excess compares with the fixture `control` (by default '{CONTROL_FIXTURE}')."
)

ALL_MARKERS_HELP: Final = (INTERVENTION_MARKER_HELP, SEARCH_MARKER_HELP, GAP_MARKER_HELP)


def typed_name(config: pytest.Config, nodeid: str) -> str:
    """Return the name of a test as pytest's own summary has it: it can be typed where the user is."""
    here = config.invocation_params.dir
    if here == config.rootpath:
        return nodeid
    path, *parts = nodeid.split("::")
    return "::".join([os.path.relpath(config.rootpath / path, here), *parts])
