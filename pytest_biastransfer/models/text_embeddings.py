"""Embeds the names of classes in sentences, such as "a photo of a {}.", by the tower of texts of CLIP or SigLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.observation import unobserved
from pytest_biastransfer.fingerprints.source_code import identities
from pytest_biastransfer.models.pretrained_module import OWN_CODE_ONLY, clear_errors, transformers_of
from pytest_biastransfer.models.safe_loading.tokenizer_config import require_plain_tokenizer
from pytest_biastransfer.models.towers import SavedTowers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.store import Facts

# The distributions whose versions decide about an embedding.
RUNTIMES: Final = ("sentencepiece", "tokenizers", "transformers")
# One size for all texts, as numbers are rounded otherwise in batches of other sizes.
_BATCH: Final = 64
# Of a configuration before the token was known: then the largest number in a text marks its end.
_UNKNOWN_END: Final = 2


class ClassTexts:
    """The names of classes in the sentences of templates, for one model.

    Parameters
    ----------
    towers
        The model.
    files
        The files that it depends on: weights, configuration, tokenizer.
    classes
        The names of the classes.
    templates
        Sentences, each with one ``{}`` for a name.
    """

    def __init__(
        self, towers: SavedTowers, files: Sequence[Path], classes: Sequence[str], templates: Sequence[str]
    ) -> None:
        self._towers = towers
        self._files = files
        self._classes = classes
        self._templates = templates

    def identity(self, facts: Facts) -> str:
        """Return a fingerprint of everything that decides about the embeddings, the same on any machine."""
        digests = {file.name: facts.digest(file) for file in self._files}
        versions = identities(("pytest-biastransfer", "torch", *RUNTIMES))
        return fingerprint("texts", digests, list(self._classes), list(self._templates), versions)

    def embeddings(self, facts: Facts, identity: str) -> npt.NDArray[np.float32]:
        """Return the embeddings [classes, width] of length 1, from an earlier session if it has computed the same.

        That of a class is the mean over the templates, as in Radford et al. 2021 (CLIP), section 3.1.4: of embeddings
        of length 1, scaled to length 1 again. `identity` is that of these texts. Raises `ModelError` for a tokenizer or
        texts that do not fit the model.
        """
        import numpy as np

        count = len(self._classes)

        def has_their_form(_chunk: range, content: Any) -> bool:
            array = content.get("embeddings")
            return array is not None and array.shape == (count, self._towers.width) and array.dtype == np.float32

        # What is read here is the store, and files that are a part of the identity.
        with unobserved():
            chunks = facts.arrays("texts").collect(
                identity, [range(count)], lambda _chunk: {"embeddings": self._computed()}, has_their_form
            )
            return next(np.array(content["embeddings"]) for _, content in chunks)

    def _computed(self) -> npt.NDArray[np.float32]:
        import torch

        # Before the tower, which is large.
        tokens = self._tokens()
        tower, output = self._towers.texts(), self._towers.pair.texts.output
        with torch.inference_mode():
            embedded = torch.cat([tower(input_ids=batch)[output] for batch in torch.split(tokens, _BATCH)])
            each = torch.nn.functional.normalize(embedded, dim=-1)
            means = each.view(len(self._templates), len(self._classes), -1).mean(dim=0)
            rows: npt.NDArray[np.float32] = torch.nn.functional.normalize(means, dim=-1).numpy()
        return rows

    def _tokens(self) -> torch.Tensor:
        """Return the tokens [texts, length] of all texts, those of the first template first."""
        spec, directory, pair = self._towers.spec, self._towers.directory, self._towers.pair
        texts = [template.replace("{}", name) for template in self._templates for name in self._classes]
        if pair.is_lower_case:
            texts = [text.lower() for text in texts]
        most = int(self._towers.config.text_config.max_position_embeddings)
        tokenizer = self._tokenizer()
        with clear_errors(spec, directory):
            lengths = list(map(len, tokenizer(texts)["input_ids"]))
            longest = max(lengths)
            if longest > most:
                raise ModelError(
                    f"spec {spec.text!r}: the text {texts[lengths.index(longest)]!r:.100} has {longest} tokens, "
                    f"expected {most} at most, as the model was trained; shorten the name or the template"
                )
            length = most if pair.padding == "max_length" else longest
            padded = tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt")
        tokens: torch.Tensor = padded["input_ids"]
        self._require_known(tokens)
        return tokens

    def _tokenizer(self) -> Any:
        spec, directory = self._towers.spec, self._towers.directory
        require_plain_tokenizer(spec, directory)
        with clear_errors(spec, directory):
            try:
                return transformers_of(spec).AutoTokenizer.from_pretrained(directory, **OWN_CODE_ONLY)
            except Exception as error:
                # The library tokenizers raises this class itself for a damaged file, and none of its own.
                if type(error) is not Exception:
                    raise
                raise ValueError(str(error)) from error

    def _require_known(self, tokens: torch.Tensor) -> None:
        """Raise `ModelError` if the model cannot have been trained with these tokens."""
        spec, directory, config = self._towers.spec, self._towers.directory, self._towers.config.text_config
        if int(tokens.max()) >= config.vocab_size:
            raise ModelError(
                f"spec {spec.text!r}: the tokenizer in {directory} has the token {int(tokens.max())}, and the model "
                f"has {config.vocab_size}; expected the tokenizer that the model was trained with"
            )
        end = config.eos_token_id
        if self._towers.pair.embeds_end and end != _UNKNOWN_END and not bool((tokens == end).any(1).all()):
            raise ModelError(
                f"spec {spec.text!r}: the tokenizer in {directory} ends a text without the token {end}, which "
                f"config.json names as eos_token_id; expected the tokenizer that the model was trained with"
            )
