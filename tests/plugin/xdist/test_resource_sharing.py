"""Workers share the machine."""

from __future__ import annotations

import os

import pytest

from pytest_biastransfer.plugin.xdist.resource_sharing import threads_of_worker


@pytest.mark.parametrize(
    ("environment", "cores", "threads"),
    [
        ({}, 8, None),
        ({"PYTEST_XDIST_WORKER_COUNT": "2"}, 8, 4),
        ({"PYTEST_XDIST_WORKER_COUNT": "3"}, 8, 2),
        ({"PYTEST_XDIST_WORKER_COUNT": "8"}, 2, 1),
        ({"PYTEST_XDIST_WORKER_COUNT": "2", "OMP_NUM_THREADS": "8"}, 8, None),
    ],
)
def test_threads_are_divided_among_the_workers(environment: dict[str, str], cores: int, threads: int | None) -> None:
    assert threads_of_worker(environment, cores) == threads


@pytest.mark.usefixtures("warm_executable")
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="counts the cores as Linux does")
def test_torch_uses_the_workers_share(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    colors.makepyfile(
        f"""
        import pytest, torch

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_it(bias):
            assert torch.get_num_threads() == {share}
        """
    )
    colors.runpytest_inprocess("-n2").assert_outcomes(passed=1)
