"""What computed the predictions of a measurement: two computations that differ round differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pytest_biastransfer.names import Precision


@dataclass(frozen=True)
class Computation:
    """The device, and how it computes.

    Attributes
    ----------
    device
        The type of the device, and its model: ``"cuda NVIDIA L4"``, ``"cpu x86_64 avx2"``. A type alone, such as
        ``"cuda"``, may be any device of that type.
    precision
        What the model computes in.
    compiled
        Whether the model is compiled.
    """

    device: str
    precision: Precision
    compiled: bool = False

    @property
    def device_type(self) -> str:
        """The type of the device, such as ``"cuda"``."""
        return self.device.partition(" ")[0]

    @property
    def is_any_of_its_type(self) -> bool:
        """Whether the model of the device is not known."""
        return self.device == self.device_type

    @classmethod
    def from_json(cls, content: Any) -> Computation:
        """Return the computation that was written as plain data; raises ValueError for anything else."""
        if not isinstance(content, dict) or content.keys() != {"device", "precision", "compiled"}:
            raise ValueError(f"computation: expected device, precision and compiled, found {content!r:.60}")
        device, precision, compiled = content["device"], content["precision"], content["compiled"]
        if not isinstance(device, str) or not device:
            raise ValueError(f"computation.device: expected a text, found {device!r:.60}")
        if precision not in get_args(Precision):
            raise ValueError(
                f"computation.precision: expected {', '.join(get_args(Precision))}, found {precision!r:.60}"
            )
        if type(compiled) is not bool:
            raise ValueError(f"computation.compiled: expected true or false, found {compiled!r:.60}")
        return cls(device, precision, compiled)
