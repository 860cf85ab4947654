"""The work: images, weights, and the projects that are generated around them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
RESNET20: Final = HERE.parent / "examples" / "imagenet_to_cifar10" / "resnet20.py"
NORMALIZATION: Final = "mean=0.485,0.456,0.406&std=0.229,0.224,0.225"
# Files that have just been written may change again without a trace in their time; those of a CI job are older.
_AGE_SECONDS: Final = 600


@dataclass(frozen=True)
class Workload:
    """Pictures in one folder a class, and the weights of a ResNet-20 for them."""

    images: Path
    weights: Path

    def __len__(self) -> int:
        return sum(1 for _ in self.images.glob("*/*"))


def workload(data: Path, place: Path, per_class: int | None = None, copies: int = 1) -> Workload:
    """Return the test images of CIFAR-10, or, as links in `place`, the first so many of each class, several times."""
    images, weights = data / "cifar10" / "test", data / "weights" / "resnet20_cifar10.safetensors"
    if per_class is None and copies == 1:
        return Workload(images, weights)
    chosen = place / f"{per_class}-a-class-{copies}"
    for folder in images.iterdir() if not chosen.exists() else ():
        (chosen / folder.name).mkdir(parents=True)
        for picture in sorted(folder.iterdir())[:per_class]:
            for copy in range(copies):
                (chosen / folder.name / f"{copy}-{picture.name}").symlink_to(picture)
    return Workload(chosen, weights)


def model_spec(weights: Path, arch: str) -> str:
    """Return the spec of a model in a file, for images of ImageNet's statistics."""
    return f"checkpoint:{weights}?arch={arch}&{NORMALIZATION}"


def make_project(project: Path, copies: Mapping[str, str], model: str, dataset: str) -> Path:
    """Write a project in place of any that is there, and return its directory.

    Parameters
    ----------
    project
        The directory.
    copies
        Names in the project, and the files of ``benchmarks/projects`` that are to have them.
    model, dataset
        The specs that the ini file names.
    """
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir(parents=True)
    (project / "pytest.ini").write_text(f"[pytest]\nbias_transferred_model = {model}\nbias_dataset = {dataset}\n")
    shutil.copy(RESNET20, project)
    for name, source in ({"conftest.py": "imported_modules.py"} | dict(copies)).items():
        shutil.copy(HERE / "projects" / source, project / name)
    for path in project.iterdir():
        make_old(path)
    return project


def make_old(path: Path) -> None:
    """Let a file look as if it had been written some minutes ago."""
    then = time.time() - _AGE_SECONDS
    os.utime(path, (then, then))


def write_random_weights(path: Path, arch: str) -> Path:
    """Write untrained weights of a network of torchvision."""
    import torchvision
    from safetensors.torch import save_file

    save_file(torchvision.models.get_model(arch, weights=None).state_dict(), path)
    make_old(path)
    return path


def write_tiny_weights(path: Path) -> Path:
    """Write weights of ``projects/tiny.py``, under which colours decide between the classes."""
    import numpy as np
    from safetensors.numpy import save_file

    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False, dtype=np.float32)
    weight = np.stack([np.cos(angles), np.sin(angles), np.cos(2 * angles)], axis=1)
    save_file({"linear.weight": weight, "linear.bias": np.zeros(10, dtype=np.float32)}, path)
    make_old(path)
    return path
