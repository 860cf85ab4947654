"""What a person can do about an exceeded limit: commands that work when they are pasted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.names import CONTROL_FIXTURE
from pytest_biastransfer.plain_text import path_from
from pytest_biastransfer.plugin.node_names import typed_name
from pytest_biastransfer.plugin.repeated_command import command_of
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.reporting.failure_text import NextStep

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest

_PAGE: Final = "bias.html"


def next_steps(item: pytest.Item, test: MeasuredTest, verdict: Verdict) -> list[NextStep]:
    """Return how to look at the images, how to compare with a control model, and how to accept the figures."""
    steps = [_look(item, test), _control(test, verdict), _accept(item, test)]
    return [step for step in steps if step is not None]


def _look(item: pytest.Item, test: MeasuredTest) -> NextStep:
    purpose = f"look at the {'groups' if test.intervention is None else 'images'}"
    directory = item.config.invocation_params.dir
    for path in item.config.stash[SETTINGS].reports:
        if path.suffix == ".html":
            return NextStep(purpose, f"{path_from(path, directory)}, which this session writes")
    command = command_of(item.config, [typed_name(item.config, item.nodeid)], f"--bias-report={_PAGE}")
    return NextStep(purpose, command)


def _control(test: MeasuredTest, verdict: Verdict) -> NextStep | None:
    """Return how to tell what the source causes from what every model does, where no control model is there."""
    if test.case.control is not None or not test.case.has_baseline:
        return None
    excesses = {metric.excess_of: metric.keyword for metric in METRICS.values() if metric.excess_of is not None}
    broken = [limit for limit in verdict.limits if limit.holds is False and limit.metric in excesses and not limit.at]
    if not broken:
        return None
    return NextStep(
        "compare with a model without the suspected source",
        f"return it from the fixture {CONTROL_FIXTURE}, and add {excesses[broken[0].metric]}= to the marker",
    )


def _accept(item: pytest.Item, test: MeasuredTest) -> NextStep | None:
    """Return how to accept the figures where a baseline is used; the limit stays a limit."""
    if not (test.case.has_baseline and item.config.stash[SETTINGS].baseline.exists()):
        return None
    command = command_of(item.config, [typed_name(item.config, item.nodeid)], "--bias-update=all")
    return NextStep("if it is meant, raise the limit in the marker and accept the figures", command)
