"""The names that users type: fixtures, markers, and the words of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

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
Compile = Literal["off", "on"]
# What a model's outputs are: one logit a class, one logit a label, or one probability a label.
Outputs = Literal["softmax", "sigmoid", "probabilities"]
# How p-values are corrected for their number: Tarone and Holm, Benjamini and Hochberg, or not at all.
Correction = Literal["holm", "fdr", "none"]
Rule = Literal["point", "certain", "significant"]
GapMetric = Literal[
    "fpr",
    "tpr",
    "accuracy",
    "auc",
    "selection_rate",
    "precision",
    "equalized_odds",
    "average_precision",
    "calibration",
]
OperatingPoint = Literal["argmax", "prevalence"]
Negatives = Literal["own", "shared"]
# What becomes of groups that are too small to be judged: they are listed, warned of, or make the test fail.
Unjudged = Literal["list", "warn", "fail"]
# What a limit bounds: the value from above or from below, or its absolute value from above.
Bound = Literal["at most", "at least", "size at most"]
# What stands before the number of a limit.
BOUND_SIGNS: Final[Mapping[str, str]] = {"at most": "", "at least": "at least ", "size at most": "±"}
# What is written to the baseline: what it lacks, further seeds besides that, all, or the counts of a run on new images.
Update = Literal["new", "add", "all", "history"]
Compare = Literal["fail", "warn", "off", "require"]
Images = Literal["none", "failed", "all"]

INTERVENTION_MARKER: Final = "bias_intervention"
SEARCH_MARKER: Final = "bias_search"
GAP_MARKER: Final = "bias_gap"
MARKERS: Final = (INTERVENTION_MARKER, SEARCH_MARKER, GAP_MARKER)
