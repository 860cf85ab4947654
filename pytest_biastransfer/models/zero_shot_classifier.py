"""A classifier whose weights are embeddings of texts, on the tower of images of CLIP or SigLIP."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar

import torch

from pytest_biastransfer.models.text_embeddings import RUNTIMES


class ClassEmbeddings(torch.nn.Module):
    """The embeddings [classes, width] of the names of classes, float32.

    Another machine computes them with other rounding. So what identifies them is what they were computed from, as long
    as they are unchanged.
    """

    embeddings: torch.Tensor

    def __init__(self, embeddings: torch.Tensor, identity: str) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)
        self._identity = identity
        self._digest = _digest(embeddings)

    def __fingerprint__(self) -> object:
        """Return what identifies this module: what the embeddings were computed from, or changed ones themselves."""
        is_unchanged = _digest(self.embeddings) == self._digest
        return (self._identity, None) if is_unchanged else (self._identity, self.embeddings)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the cosines [batch, classes] of embeddings of images [batch, width], which have the length 1."""
        return images @ self.embeddings.t()


class ZeroShotClassifier(torch.nn.Module):
    """Maps images to logits: cosines of embeddings, scaled and shifted as the model was trained.

    Parameters
    ----------
    images
        The tower of images of transformers.
    output
        The field of its output that is the embedding.
    texts
        The embeddings of the classes.
    scalars
        ``logit_scale``, the logarithm of the factor, and ``logit_bias`` where the model has one.
    """

    # The text embeddings depend on their versions.
    runtimes: ClassVar[tuple[str, ...]] = RUNTIMES

    logit_scale: torch.Tensor
    logit_bias: torch.Tensor

    def __init__(
        self, images: torch.nn.Module, output: str, texts: ClassEmbeddings, scalars: Mapping[str, torch.Tensor]
    ) -> None:
        super().__init__()
        self.images = images
        self.texts = texts
        self._output = output
        self.register_buffer("logit_scale", scalars["logit_scale"].reshape(()))
        self.register_buffer("logit_bias", scalars.get("logit_bias", torch.zeros(1)).reshape(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [batch, classes] of images [batch, channels, height, width]."""
        embedded = self.images(pixel_values=images)[self._output]
        cosines: torch.Tensor = self.texts(embedded / embedded.norm(p=2, dim=-1, keepdim=True))
        return cosines * self.logit_scale.exp() + self.logit_bias


def _digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()
