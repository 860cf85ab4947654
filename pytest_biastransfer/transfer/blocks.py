"""The blocks of a network, counted from its input: units that can be frozen, in models of any library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from torch import nn

from pytest_biastransfer.errors import TransferError

if TYPE_CHECKING:
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.models.heads import Head

# Modules that only hold others in order: their members are the blocks.
_CONTAINERS: Final = (nn.Sequential, nn.ModuleList)
# A module of another type with more than this share of all weights is an encoder or a backbone, and no block of it.
_MOST_OF_A_BLOCK: Final = 1 / 2
# Normalization belongs to the layer before it. Names, as libraries have types of their own, such as LayerNorm2d.
_NORMALIZATION: Final = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")


def first_blocks(source: Model, module: nn.Module, head: Head, count: int) -> tuple[str, ...]:
    """Return the names of the modules in the first blocks of a network.

    Raises `TransferError` if it has fewer blocks; the message lists them.
    """
    blocks = _blocks(module, head)
    if count > len(blocks):
        listed = ", ".join(block[0] for block in blocks)
        raise TransferError(
            f"Recipe: freeze={count}, and model {source.name} has {len(blocks)} blocks before its last layer: "
            f"{listed:.300}"
        )
    return tuple(name for block in blocks[:count] for name in block)


def _blocks(module: nn.Module, head: Head) -> list[list[str]]:
    """Return the names of the modules of each block, in the order of their definition."""
    total = _weights(module)
    blocks: list[list[str]] = []
    for name, block in _members(module, "", total):
        if not _weights(block) or any(name == own or name.startswith(f"{own}.") for own in head.names):
            continue
        if blocks and any(kind in type(block).__name__ for kind in _NORMALIZATION):
            blocks[-1].append(name)
        else:
            blocks.append([name])
    return blocks


def _members(module: nn.Module, prefix: str, total: int) -> Iterator[tuple[str, nn.Module]]:
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        is_large = _weights(child) > _MOST_OF_A_BLOCK * total and any(True for _ in child.children())
        if isinstance(child, _CONTAINERS) or is_large:
            yield from _members(child, f"{name}.", total)
        else:
            yield name, child


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
