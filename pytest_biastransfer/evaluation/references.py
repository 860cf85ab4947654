"""How a model and a dataset travel to another process: as a spec string if they come from one, else as the object."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pytest_biastransfer.errors import BiasTransferError, DatasetError, ModelError

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.specs.spec import Spec
    from pytest_biastransfer.store import Facts

Resource = TypeVar("Resource", "Model", "LabelledImages")


class Reference(ABC, Generic[Resource]):
    """A model or a dataset.

    In the process that made the reference it is the object itself. A pickled reference holds the spec instead where
    there is one, and opens it when the object is first asked for.

    Parameters
    ----------
    resource
        The object.
    content
        Its fingerprint, which has to be the same in another process; None if it has none there: then the object
        travels.
    """

    _error: ClassVar[type[BiasTransferError]]

    def __init__(self, resource: Resource, content: str | None) -> None:
        self._resource: Resource | None = resource
        self._content = content
        # Without a fingerprint another process could not tell whether its file has the same content.
        self._spec = None if content is None else resource.spec
        self.name = resource.name

    def get(self, facts: Facts | None = None) -> Resource:
        """Return the object.

        `facts` caches what takes long to find out about files. Raises `BiasTransferError` if the spec names another
        content in this process, or cannot be opened.
        """
        if self._resource is None:
            assert self._spec is not None
            resource = self._open(self._spec, facts)
            if resource.fingerprint != self._content:
                raise self._error(
                    f"{self._spec.text} on {platform.node()}: has the fingerprint {resource.fingerprint}, expected "
                    f"{self._content} as in the test's process; put the same files there, or return the object from a "
                    f"fixture, which sends it whole"
                )
            self._resource = resource
        return self._resource

    @property
    def identity(self) -> object:
        """What references to the same object have in common; each one that is sent as an object has its own."""
        return id(self) if self._spec is None else (type(self), self._spec.text, self._spec.directory, self._content)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) if self._spec is None else {**vars(self), "_resource": None}

    @abstractmethod
    def _open(self, spec: Spec, facts: Facts | None) -> Resource:
        """Return the object that a spec names."""


class ModelReference(Reference["Model"]):
    """A model."""

    _error = ModelError

    def _open(self, spec: Spec, facts: Facts | None) -> Model:
        from pytest_biastransfer.models.deferred import model_of_spec
        from pytest_biastransfer.store import Store

        return model_of_spec(spec.text, spec.directory, facts or Store().facts)


class ImagesReference(Reference["LabelledImages"]):
    """A dataset."""

    _error = DatasetError

    def _open(self, spec: Spec, facts: Facts | None) -> LabelledImages:
        from pytest_biastransfer.data import load_dataset

        return load_dataset(spec.text, directory=spec.directory, facts=facts)
