"""The hooks that other plugins and conftest files may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import torch

    from pytest_biastransfer.evaluation.executor import Executor
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.specs.spec import Spec


@pytest.hookspec(firstresult=True)
def pytest_bias_load_model(spec: Spec) -> Model | torch.nn.Module | None:
    """Load the model that a spec string of your own scheme names; return None for other schemes.

    Called for ``scheme:rest?key=value`` where the scheme is none of this package's, for models and for ``arch=``,
    when the first test needs the model. The keys of preprocessing, ``classes`` and ``name`` are applied to what you
    return; all others are yours, in ``spec.query``::

        def pytest_bias_load_model(spec):
            if spec.scheme == "zoo":
                return Model(zoo.load(spec.rest, tag=spec.query.get("tag")), preprocess=Preprocess(size=224))

    Parameters
    ----------
    spec
        ``spec.scheme``, ``spec.rest`` and ``spec.query`` are its parts; ``spec.path(text)`` is a path in it, which is
        relative to the ini file; ``spec.text`` is all of it, for error messages.
    """


@pytest.hookspec(firstresult=True)
def pytest_bias_load_dataset(spec: Spec) -> object:
    """Load the dataset that a spec string of your own scheme names; return None for other schemes.

    Called for ``scheme:rest?key=value`` where the scheme is none of this package's, when the first test needs the
    dataset. Return what a fixture may return: a map-style dataset of (image, label), the result of ``load_dataset``,
    or the spec of a scheme of this package. The keys ``attributes``, ``classes``, ``limit``, ``name`` and ``seed`` are
    applied to it; all others are yours, in ``spec.query``::

        def pytest_bias_load_dataset(spec):
            if spec.scheme == "archive":
                return archive.fetch(spec.rest, year=spec.query.get("year"))

    Parameters
    ----------
    spec
        As in `pytest_bias_load_model`.
    """


@pytest.hookspec
def pytest_bias_interventions() -> Mapping[str, Intervention]:  # type: ignore[empty-body]
    """Return interventions by the names that markers can use.

    Called when markers are read. Those of a conftest file are for the tests of its directory::

        def pytest_bias_interventions():
            logo = Path(__file__).with_name("logo.png")
            return {"company-logo": Stencil(logo, size=0.2, anchor="bottom-right")}
    """


@pytest.hookspec(firstresult=True)
def pytest_bias_executor(config: pytest.Config) -> Executor | None:
    """Return what computes the predictions of a session, in place of the session's own process; None for that process.

    Called before the first measurement, in each process that runs tests. `PoolExecutor` takes pools of processes and
    clusters::

        def pytest_bias_executor(config):
            spawn = multiprocessing.get_context("spawn")
            return PoolExecutor(concurrent.futures.ProcessPoolExecutor(4, spawn), ahead=8)

    The protocol is `pytest_biastransfer.evaluation.executor.Executor`; its `close` is called when the session ends.

    Parameters
    ----------
    config
        The session's configuration.
    """


@pytest.hookspec
def pytest_bias_session_finish(report: Mapping[str, Any], config: pytest.Config) -> None:
    """Pass the results of a session on, for example to a tracker of experiments.

    Called once, in the process that collects the results of all workers, after the report files and the terminal
    summary are written; also after Ctrl+C, with the tests that ran. Not called if the session has no bias tests, with
    ``--collect-only``, and after a usage error::

        def pytest_bias_session_finish(report):
            failed = [test["name"] for test in report["tests"] if test["outcome"] in ("failed", "error", "lost")]
            requests.post(WEBHOOK, json={"failed": failed}).raise_for_status()

    A session with an implementation measures what a report shows, as with ``--bias-report``. An error in it ends the
    session with exit status 1.

    Parameters
    ----------
    report
        The content of ``--bias-report=FILE.json``, as dictionaries, lists, texts and numbers. It is described by
        ``docs/report.schema.json``; ``report["schema"]`` increases when older readers would misread it.
    config
        The session's configuration.
    """
