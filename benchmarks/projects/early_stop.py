"""One measurement under a yellow square, with or without stopping early. Prints its seconds and its images."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from resnet20 import ResNet20  # type: ignore[import-not-found]
from safetensors.torch import load_file

from pytest_biastransfer import Model, Preprocess, load_dataset
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.judgement.early_stop import EarlyStop
from pytest_biastransfer.judgement.expectation import Expectation
from pytest_biastransfer.judgement.verdict import judge
from pytest_biastransfer.measurement.measure import measure_loaded

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Measure once, from the first picture to the verdict, with everything imported and the model loaded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("weights")
    parser.add_argument("--alpha", type=float)
    options = parser.parse_args()
    module = ResNet20()
    module.load_state_dict(load_file(options.weights))
    model = Model(module, preprocess=Preprocess(mean=MEAN, std=STD), name="resnet20")
    images = load_dataset(f"imagefolder:{Path(options.images)}")
    expectation = Expectation((("asr", 0.05),))
    stop = None if options.alpha is None else EarlyStop.of(expectation, options.alpha)
    # What the first pass of a process alone pays for is in neither.
    module.eval()(torch.zeros(64, 3, 32, 32))
    start = time.perf_counter()
    found = measure_loaded(Evaluator("cpu"), model, images, BUILT_IN.named("yellow-square"), stop=stop)
    verdict = judge(expectation, found)
    seconds = time.perf_counter() - start
    content = {"seconds": seconds, "images": found.n, "share": found.n / found.total, "holds": int(verdict.holds)}
    sys.stdout.write(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
