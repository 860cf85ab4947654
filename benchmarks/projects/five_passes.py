"""Time five passes over the images by two processes of one thread each: Ray's actors, or two that share a store."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from pytest_biastransfer import Blur, Circle, Grayscale, Intervention, Square, load_dataset, load_model
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.executor import Executor
from pytest_biastransfer.evaluation.ray_executor import RayExecutor
from pytest_biastransfer.store import Store

PROCESSES = 2
NORMALIZATION = "mean=0.485,0.456,0.406&std=0.229,0.224,0.225"
INTERVENTIONS = (
    None,
    Square(),
    Circle(color="#ccff00", size=0.3, anchor="center"),
    Grayscale(),
    Circle(color="#ccff00", size=0.3, anchor="bottom-right"),
)


class Passes:
    """Passes of one model over one dataset; all processes that compute them share a store."""

    def __init__(self, images: str, weights: str, executor: Executor | None = None) -> None:
        self._model = load_model(f"checkpoint:{weights}?arch=python:resnet20:ResNet20&{NORMALIZATION}")
        self._images = load_dataset(f"imagefolder:{images}")
        self._evaluator = Evaluator("cpu", Store(Path("store")), executor=executor)

    def run(self, *interventions: Intervention | None) -> None:
        """Predict under each of the interventions."""
        for intervention in interventions:
            self._evaluator.predictions(self._model, self._images, intervention)


def by_ray(images: str, weights: str) -> float:
    """Return the seconds that actors take, from the second pass on."""
    executor = RayExecutor(device="cpu", actors=PROCESSES)
    passes = Passes(images, weights, executor)
    # Starts Ray, imports torch, opens the model, and decodes the images.
    passes.run(Blur())
    start = time.perf_counter()
    passes.run(*INTERVENTIONS)
    seconds = time.perf_counter() - start
    executor.close()
    return seconds


def in_process(images: str, weights: str, ready: Barrier) -> None:
    """Make the same passes together with other processes."""
    torch.set_num_threads(1)
    try:
        passes = Passes(images, weights)
        passes.run(Blur())
        ready.wait()
        passes.run(*INTERVENTIONS)
        ready.wait()
    except BaseException:
        # The others would wait for ever.
        ready.abort()
        raise


def by_processes(images: str, weights: str) -> float:
    """Return the seconds that processes take which share a store, as the workers of pytest-xdist do."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(PROCESSES + 1)
    processes = [context.Process(target=in_process, args=(images, weights, ready)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    ready.wait()
    start = time.perf_counter()
    ready.wait()
    seconds = time.perf_counter() - start
    for process in processes:
        process.join()
    return seconds


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("by", choices=("ray", "processes"))
    parser.add_argument("images")
    parser.add_argument("weights")
    options = parser.parse_args()
    seconds = (by_ray if options.by == "ray" else by_processes)(options.images, options.weights)
    sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
