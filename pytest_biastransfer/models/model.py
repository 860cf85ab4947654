"""A model under test: its module, preprocessing and class names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, get_args

from pytest_biastransfer.errors import ModelError, first_of, nearest
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold, require_threshold
from pytest_biastransfer.names import Outputs
from pytest_biastransfer.specs.class_order import ClassOrder
from pytest_biastransfer.specs.spec import or_its_spec

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.specs.spec import Spec


@dataclass(frozen=True, eq=False)
class Model:
    """An image classifier and what belongs to it.

    Parameters
    ----------
    module
        Maps a float tensor [batch, channels, height, width], preprocessed, to logits [batch, classes], or to one output
        for each label, [batch, labels]; see `outputs`.
    preprocess
        What happens to an image before it reaches the module. Default: only scaling to [0, 1].
    classes
        The class names, in the order of the logits; labels are matched with them by name. Without class names, labels
        are indices of the logits, and reports show the dataset's names or the numbers.
    name
        The name in reports; default: the name of the module's class.
    class_order
        Without class names: how the library that trained the model sorts the names of class folders, ``"string"`` as
        torchvision does or ``"natural"`` as timm does. It matters only where the two orders differ.
    outputs
        ``"softmax"`` (default): one logit a class, of which the largest is predicted. ``"sigmoid"``: one logit a label,
        each a decision of its own. ``"probabilities"``: the same after a sigmoid that the module applies itself.
    threshold
        From which probability on a label of a sigmoid is predicted: for all labels, by name for some of them, or
        ``"prevalence"``: the one above which as many images are as have the label.
    output
        Which entry of the module's output is the logits, if it returns a tuple, a list, a dictionary or a dataclass and
        its library does not say so: ``"scores"``, ``0``, ``"head.age"``. `module` is then the one that returns this
        entry.

    Examples
    --------
    >>> import torch
    >>> model = Model(torch.nn.Flatten(), preprocess=Preprocess(size=8, mean=0.5, std=0.5))
    >>> model.name
    'Flatten'
    """

    module: torch.nn.Module
    preprocess: Preprocess = dataclasses.field(default_factory=Preprocess)
    classes: Sequence[str] | None = None
    name: str = ""
    class_order: ClassOrder | None = None
    outputs: Outputs = "softmax"
    threshold: Threshold = DEFAULT
    output: str | int | None = None
    # The spec that gives the same model in any process; None if there is none, or if its weights are drawn at random.
    spec: Spec | None = dataclasses.field(default=None, init=False, repr=False)
    # Whether its outputs are logits for certain, as those of a layer that was trained here. Of other models, outputs
    # that are all in [0, 1] are taken for probabilities.
    has_known_logits: bool = dataclasses.field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        import torch

        if not isinstance(self.module, torch.nn.Module):
            raise ModelError(f"Model: got a {type(self.module).__name__} as module, expected a torch.nn.Module")
        if not isinstance(self.preprocess, Preprocess):
            raise ModelError(
                f"Model: got a {type(self.preprocess).__name__} as preprocess, expected Preprocess(size=, mean=, std=)"
            )
        if self.classes is not None:
            if isinstance(self.classes, str) or not all(isinstance(name, str) for name in self.classes):
                raise ModelError(f"Model: classes={self.classes!r}, expected the class names as a list of strings")
            object.__setattr__(self, "classes", tuple(self.classes))
        if self.class_order not in (None, *get_args(ClassOrder)):
            raise ModelError(f"Model: class_order={self.class_order!r}, expected 'string' or 'natural'")
        if self.outputs not in get_args(Outputs):
            raise ModelError(f"Model: outputs={self.outputs!r:.60}; {nearest(str(self.outputs), get_args(Outputs))}")
        threshold = require_threshold(self.threshold, self.outputs, "Model", self.classes)
        object.__setattr__(self, "threshold", threshold)
        if not self.name:
            object.__setattr__(self, "name", type(self.module).__name__)
        if self.output is not None:
            self._select_output(self.output)

    def __repr__(self) -> str:
        return f"model {self.name}"

    @property
    def is_loaded(self) -> bool:
        """Whether the module is in memory."""
        return True

    @property
    def fingerprint(self) -> str:
        """Hash of the module's content: its weights, its structure, the code of its classes.

        It is computed at each access, as weights change in place. Raises `NotFingerprintableError` for a module whose
        state cannot be hashed, and `ModelError` for one whose parameters have no values yet.
        """
        self._require_values()
        return fingerprint(self.module)

    @property
    def judging(self) -> tuple[object, ...]:
        """Everything besides the module that decides how its outputs are read."""
        threshold = sorted(self.threshold.items()) if isinstance(self.threshold, Mapping) else self.threshold
        return self.classes, self.class_order, self.outputs, threshold

    def _select_output(self, output: str | int) -> None:
        from pytest_biastransfer.models.selected_output import with_output

        if isinstance(output, bool) or not isinstance(output, str | int) or output == "":
            raise ModelError(
                f"Model: output={output!r:.60}, expected the key of an entry of the module's output, such as 'logits', "
                f"'0' or 'head.age'"
            )
        object.__setattr__(self, "output", str(output))
        object.__setattr__(self, "module", with_output(self.module, str(output)))

    def _require_values(self) -> None:
        from torch.nn.parameter import is_lazy

        lazy = [name for name, tensor in self.module.named_parameters() if is_lazy(tensor)]
        if lazy:
            raise ModelError(
                f"model {self.name}: {first_of(lazy, 3)}: no values yet, as a lazy layer gets them in its first "
                f"call; call the module once, then load its weights"
            )


def with_spec(model: Model, spec: Spec) -> Model:
    """Record the spec that a model was made of, and return it; another process can make the same model of it."""
    object.__setattr__(model, "spec", spec)
    return model


def with_known_logits(model: Model, is_known: bool) -> Model:
    """Record whether a model's outputs are logits for certain, and return it."""
    object.__setattr__(model, "has_known_logits", is_known)
    return model


def wrap_module(module: object, origin: str) -> Model:
    """Return a module as a `Model`; `origin` says in the error message where the module came from."""
    if isinstance(module, Model):
        return module
    import torch

    if isinstance(module, torch.nn.Module):
        return Model(module)
    raise ModelError(
        f"{origin}: got {module!r:.100}, expected a torch.nn.Module, or "
        f"pytest_biastransfer.Model(module, preprocess=Preprocess(size=, mean=, std=), classes=[...])"
        f"{or_its_spec(module)}{_no_instance(module)}"
    )


def _no_instance(module: object) -> str:
    """Return a hint for what is often passed in place of a module."""
    if isinstance(module, type | FunctionType):
        kind = "class" if isinstance(module, type) else "function"
        return f"; {module.__name__} is a {kind}: call it, as in {module.__name__}(...)"
    if isinstance(module, Mapping):
        return "; these are weights: make the module, and call its load_state_dict(...)"
    return ""
