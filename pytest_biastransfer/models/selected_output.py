"""A module whose output is one entry of another module's output, or the logits in it."""

from __future__ import annotations

import torch

from pytest_biastransfer.models.logits import entry_of, logits_of


class SelectedOutput(torch.nn.Module):
    """Returns one entry of a module's output; the entry's key is a part of what identifies it.

    Parameters
    ----------
    module
        Maps images [batch, channels, height, width] to a tuple, a list, a dictionary or a dataclass.
    output
        The key of the entry, as in ``output=KEY``; None for the logits as `logits_of` finds them.

    Examples
    --------
    >>> heads = torch.nn.ModuleDict()
    >>> heads.forward = lambda images: {"age": images.flatten(1), "sex": images.mean(dim=(2, 3))}
    >>> SelectedOutput(heads, "sex")(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, module: torch.nn.Module, output: str | None) -> None:
        super().__init__()
        self.module = module
        self.output = output

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the entry, [batch, classes] if it is logits."""
        output = self.module(images)
        if self.output is None:
            logits: torch.Tensor = logits_of(output, self.module)
            return logits
        selected: torch.Tensor = entry_of(output, self.output, f"module {type(self.module).__name__}")
        return selected


def with_output(module: torch.nn.Module, output: str) -> SelectedOutput:
    """Return the module with an entry of its output selected; another selection is replaced."""
    return SelectedOutput(without_selection(module), output)


def without_selection(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module as its author made it, whose weights have the names that files of weights have."""
    return module.module if isinstance(module, SelectedOutput) else module
