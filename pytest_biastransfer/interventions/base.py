"""The base class of interventions, checks of their fields and of what they return, and composition."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, final

from pytest_biastransfer.errors import InterventionError, percent_hint
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.source_code import versions
from pytest_biastransfer.interventions.batch_info import BatchInfo

if TYPE_CHECKING:
    import torch

# Digits of a hash in texts; enough to distinguish the files and arrays of a project.
_DIGITS: Final = 8
# Below the numbers that are too large to convert to float.
_MOST_ABSOLUTE: Final = 1e9

Stage = Literal["input", "source"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Intervention(ABC):
    """A deterministic, declared change of images. Subclasses are frozen dataclasses with a `render`.

    Parameters
    ----------
    stage
        When it is applied: ``"input"`` (default), after resizing and cropping and before normalization, so that the
        trigger has the same size on every image; or ``"source"``, to the original picture before resizing.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square
    >>> image = torch.zeros(1, 3, 8, 8)
    >>> Square(size=0.25).apply(image)[0, :, 0, 0]
    tensor([1., 1., 0.])
    """

    stage: Stage = "input"
    # Distributions whose version may change the rendering slightly: part of the fingerprint.
    libraries: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.stage not in ("input", "source"):
            raise InterventionError(f"{type(self).__name__}: stage={self.stage!r}, expected 'input' or 'source'")

    def __repr__(self) -> str:
        return self._written(lambda value, _: repr(value))

    def __str__(self) -> str:
        """Return the declaration as reports show it: files by name and hash, without directory; arrays by hash."""
        digest = getattr(self, "digest", None)
        return self._written(lambda value, field: _shown(value, field, digest))

    def _written(self, write: Callable[[Any, dataclasses.Field[Any]], str]) -> str:
        shown = [
            f"{field.name}=" * bool(field.kw_only) + write(getattr(self, field.name), field)
            for field in _fields(self)
            if not (field.name == "stage" or _is_quiet(field)) or getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __fingerprint__(self) -> Mapping[str, object]:
        """Return everything that the rendering depends on: the fields that take part in comparisons, and versions."""
        # Fields with compare=False, such as paths and names, do not affect the pixels.
        ignored = {field.name for field in dataclasses.fields(self) if not field.compare}
        fields = {name: value for name, value in sorted(vars(self).items()) if name not in ignored}
        return {**fields, **versions(self.libraries)}

    @abstractmethod
    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Return the changed images; called by `apply`, which checks its argument and what it returns.

        `images` is float BCHW in [0, 1] and must not be written to. Random numbers must be seeded from
        ``origin.indices``, the images' indices in the dataset. ``origin.masks`` has the masks of `mask_names`.
        """

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The names of the dataset's masks that it needs."""
        return ()

    @property
    def _renders_finite(self) -> bool:
        """Whether what it renders is known to be finite: code of users may return anything."""
        return type(self).__module__.startswith(f"{__package__}.")

    # Final: a subclass that overrides it would bypass the checks.
    @final
    def apply(
        self,
        images: torch.Tensor,
        indices: Sequence[int] | None = None,
        masks: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return changed images.

        Parameters
        ----------
        images
            Floating point tensor of shape [batch, 1 or 3, height, width], values in [0, 1].
        indices
            The images' indices in the dataset, which seed random numbers; default ``0, 1, 2, ...``
        masks
            The masks that it needs, by name: floating point tensors [batch, 1, height, width], values in [0, 1].

        Returns
        -------
        torch.Tensor
            A new tensor of the same shape, dtype and device, clipped to [0, 1].

        Raises
        ------
        InterventionError
            If `images`, a mask or the returned images do not have that form, or a mask is missing.
        """
        import torch

        if not isinstance(images, torch.Tensor) or images.ndim != 4 or not images.is_floating_point():
            actual = f"{images.dtype} {list(images.shape)}" if isinstance(images, torch.Tensor) else type(images)
            raise InterventionError(
                f"{self}: got {actual}, expected a float tensor [batch, channels, height, width] in [0, 1]"
            )
        if len(images) == 0:
            return images.clone()
        origin = BatchInfo(range(len(images)) if indices is None else indices, masks or {})
        origin.require_masks(self, self.mask_names, images)
        changed = self.render(images, origin)
        require_form(self, images, changed)
        if images.device.type != "cpu" and self._renders_finite:
            # To know the range, this process would wait for all that the device was given to compute.
            return changed.clamp(0.0, 1.0)
        low, high = range_of(self, changed)
        # Usually nothing exceeds the range, and clipping would be another pass over all pixels. It also copies, where
        # `render` returned a view of its input.
        if low < 0 or high > 1 or changed.untyped_storage().data_ptr() == images.untyped_storage().data_ptr():
            return changed.clamp(0.0, 1.0)
        return changed

    def __or__(self, other: object) -> Composition:
        """Compose from left to right: ``Grayscale() | Square()`` draws the square on the gray image."""
        if not isinstance(other, Intervention):
            return NotImplemented
        return Composition(steps=(*_steps(self), *_steps(other)), stage=self.stage)

    @property
    def fingerprint(self) -> str:
        """Hash of the type and the fields: equal if and only if the declarations are.

        Of a file, the content counts, not the path.
        """
        return fingerprint(self)

    @property
    def label(self) -> str:
        """Short, stable, readable text for test ids: the type and the non-default fields."""
        # Keys of the baseline contain labels: they must be the same in every session and on every machine.
        fields = [
            f"{field.name}-" * _is_quiet(field) + field.metadata.get("label", field_label)(getattr(self, field.name))
            for field in _fields(self)
            if getattr(self, field.name) != field.default
        ]
        return "-".join([type(self).__name__.lower(), *fields])


@dataclass(frozen=True, kw_only=True, repr=False)
class Composition(Intervention):
    """Several interventions, applied from left to right; made with ``|``.

    Examples
    --------
    >>> from pytest_biastransfer import Grayscale, Square
    >>> (Grayscale() | Square(size=0.5)).label
    'grayscale+square-0.5'
    """

    steps: tuple[Intervention, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = tuple(self.steps) if isinstance(self.steps, tuple | list) else (self.steps,)
        for step in steps:
            if not isinstance(step, Intervention):
                raise InterventionError(f"Composition: steps has {step!r:.100}, expected interventions")
        object.__setattr__(self, "steps", steps)
        if not self.steps:
            raise InterventionError("Composition: no steps, expected at least one intervention")
        # A composition runs at one stage: between the two stages, the image is resized.
        for step in self.steps:
            if step.stage != self.stage:
                raise InterventionError(
                    f"composition of interventions of several stages: {step} is not of stage {self.stage!r}; "
                    f"give all of them the same stage="
                )

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Apply the steps in order; each is checked."""
        # `apply`, not `render`: each step is checked and clipped as if it was alone.
        for step in self.steps:
            images = step.apply(images, origin.indices, origin.masks)
        return images

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The masks of all steps."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step.mask_names))

    @property
    def label(self) -> str:
        """The labels of the steps, joined by ``+``."""
        return "+".join(step.label for step in self.steps)


def _fields(intervention: Intervention) -> list[dataclasses.Field[Any]]:
    """Return the declared fields in the order of texts: positional, then keywords, then quiet ones (often default)."""
    declared = (field for field in dataclasses.fields(intervention) if field.init)
    return sorted(declared, key=lambda field: (field.kw_only, _is_quiet(field)))


def _shown(value: object, field: dataclasses.Field[Any], digest: str | None) -> str:
    """Return a field's value as text; a file or an array with the first digits of its hash."""
    if field.metadata.get("file") and value is not None:
        name = f"{PurePath(value).name!r}" if isinstance(value, str) else "array"
        return f"{name} {digest[:_DIGITS]}" if digest else name
    if isinstance(value, tuple) and all(isinstance(step, Intervention) for step in value):
        return f"({', '.join(map(str, value))}{',' * (len(value) == 1)})"
    return str(value) if isinstance(value, Intervention) else repr(value)


def _is_quiet(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("quiet"))


def _steps(intervention: Intervention) -> tuple[Intervention, ...]:
    return intervention.steps if isinstance(intervention, Composition) else (intervention,)


def field_label(value: object) -> str:
    """Return a field's value as a part of a label."""
    if isinstance(value, tuple) and all(isinstance(component, int) for component in value):
        # A colour.
        return "".join(f"{component:02x}" for component in value)
    if isinstance(value, tuple):
        return "x".join(field_label(member) for member in value)
    if isinstance(value, Intervention):
        return value.label
    return f"{value:g}" if isinstance(value, float) else str(value)


def require_form(intervention: Intervention, images: torch.Tensor, changed: object) -> None:
    """Raise unless `changed` has the form of `images`."""
    import torch

    if not isinstance(changed, torch.Tensor):
        raise InterventionError(f"{intervention} returned {type(changed).__name__}, expected a torch.Tensor")
    for attribute in ("shape", "dtype", "device"):
        expected, returned = getattr(images, attribute), getattr(changed, attribute)
        if expected != returned:
            expected, returned = (list(expected), list(returned)) if attribute == "shape" else (expected, returned)
            raise InterventionError(
                f"{intervention} returned {attribute} {returned} for images of {attribute} {expected}; "
                f"it must keep the {attribute} of its images"
            )


def range_of(intervention: Intervention, changed: torch.Tensor) -> tuple[float, float]:
    """Return the minimum and maximum of `changed`; raise unless it is finite."""
    import torch

    # One pass over the pixels; a NaN anywhere makes both ends NaN.
    low, high = (float(end) for end in torch.aminmax(changed))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InterventionError(f"{intervention} returned NaN or infinite values, expected values in [0, 1]")
    return low, high


def require_number(owner: object, name: str, expected: str, fits: Callable[[float], bool]) -> None:
    """Raise unless a field of an intervention is a number in its range; convert it to float."""
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MOST_ABSOLUTE or not fits(value):
        hint = percent_hint(value) if isinstance(value, int | float) and value > 2 and fits(value / 100) else ""
        raise InterventionError(f"{type(owner).__name__}: {name}={value!r}, expected a number {expected}{hint}")
    # Normalized at declaration (the dataclasses are frozen), so that 1 and 1.0 are the same declaration.
    object.__setattr__(owner, name, float(value))


def require_count(owner: object, name: str) -> None:
    """Raise unless a field of an intervention is a whole number above 0."""
    value = getattr(owner, name)
    if type(value) is not int or value < 1:
        raise InterventionError(f"{type(owner).__name__}: {name}={value!r}, expected a whole number above 0")


def require_share(owner: object, name: str) -> None:
    """Raise unless a field of an intervention is a number in (0, 1]; convert it to float."""
    require_number(owner, name, "above 0 and at most 1", lambda value: 0 < value <= 1)


def require_angle(owner: object) -> None:
    """Raise unless the field `angle` is a finite number of degrees; convert it to the range (-180, 180]."""
    require_number(owner, "angle", "that is finite", math.isfinite)
    object.__setattr__(owner, "angle", half_turn(owner.angle))  # type: ignore[attr-defined]


def half_turn(angle: float) -> float:
    """Return the same angle in degrees in (-180, 180].

    >>> half_turn(400.0), half_turn(-45.0), half_turn(360.0)
    (40.0, -45.0, 0.0)
    """
    turned = math.fmod(angle, 360.0)
    if -180 < turned <= 180:
        return turned + 0.0  # Turns -0.0 into 0.0, which prints differently.
    return turned - math.copysign(360.0, turned)


def require_seed(owner: object) -> None:
    """Raise unless the field `seed` is a whole number from 0 on."""
    seed = getattr(owner, "seed")  # noqa: B009 - of any intervention that has one
    if type(seed) is not int or seed < 0:
        raise InterventionError(f"{type(owner).__name__}: seed={seed!r}, expected a whole number from 0 on")
