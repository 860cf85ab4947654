"""The models that this process has loaded, each with the reason: with ``-v`` the summary shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.models.deferred import DeferredModel
from pytest_biastransfer.models.loading_reasons import NEEDED, LoadingReason

if TYPE_CHECKING:
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.store import Facts


class LoadedModels:
    """Why models were loaded: a reason for each, which is handed out once."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._reasons: dict[str, tuple[str, str]] = {}
        self._pending: list[str] = []
        # What needs no reason, or has one. Kept, so that no other object gets the identity of one.
        self._objects: list[object] = []

    def note_spec(self, spec: str, model: Model, reason: LoadingReason) -> None:
        """Note why the model of a spec was loaded."""
        if reason is NEEDED:
            from pytest_biastransfer.evaluation.forward_reads import ForwardReads

            # Its code is as it was, so this is the fingerprint by which it is known.
            for verb in ForwardReads(self._facts).elsewhere(model.fingerprint)[:1]:
                text = f"while it predicts, it {verb}, so its predictions are not kept"
                reason = LoadingReason(text, lasts=True)
        self._note(spec, model, reason)

    def note_object(self, fixture_value: object, model: Model, origin: str) -> None:
        """Note that a model was made by a fixture or a test, and what to give instead."""
        if isinstance(model, DeferredModel) or any(fixture_value is other for other in self._objects):
            return
        self._objects.append(fixture_value)
        is_fixture = origin.startswith("fixture ")
        text = "its fixture returns it as an object; return" if is_fixture else f"the {origin} is an object; give"
        text += " its spec as a text, such as 'checkpoint:FILE?arch=...'"
        self._note(f"{origin} {model.name}", model, LoadingReason(text, lasts=True))

    def note_finetuned(self, model: Model) -> None:
        """Note a model that was finetuned, unless an earlier session did it."""
        self.add_own(model)
        if not isinstance(model, DeferredModel):
            self._note(f"finetuned {model.name}", model, LoadingReason("it was finetuned in this session"))

    def add_own(self, model: Model) -> None:
        """Add a model that the plugin has made: a fixture that returns it has not."""
        self._objects.append(model)

    def take(self) -> dict[str, tuple[str, str]]:
        """Return names of models and their reasons that were not taken yet; a model has one key in all processes."""
        taken, self._pending = self._pending, []
        return {key: self._reasons[key] for key in taken}

    def _note(self, key: str, model: Model, reason: LoadingReason) -> None:
        """Note why a model was loaded, the first time that something is noted under its key."""
        if key not in self._reasons:
            self._reasons[key] = model.name, str(reason)
            self._pending.append(key)
