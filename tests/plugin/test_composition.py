"""Markers compose with each other and with pytest's own ways of making tests."""

from __future__ import annotations

import pytest

from tests.conftest import Run, each_mode


@each_mode
def test_markers_on_functions_classes_and_modules(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        test_levels="""
        import pytest
        from pytest_biastransfer import Circle

        pytestmark = pytest.mark.bias_intervention("grayscale", max_asr=1)

        @pytest.mark.bias_intervention("yellow-square", Circle(color="#ccff00", size=0.3, anchor="bottom-right"), max_asr=1)
        @pytest.mark.bias_intervention("tennis-ball", max_skew=1)
        def test_function():
            pass

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        class TestClass:
            def test_method(self, bias):
                assert bias.n == 20

            @staticmethod
            def test_static(bias):
                assert bias.n == 20

        class TestOther:
            @pytest.mark.bias_intervention("yellow-square", model="other", dataset="few", max_asr=1)
            def test_own_fixtures(self, bias):
                # The module's marker makes a second test of it, with the usual fixtures.
                assert (bias.n, bias.model) in ((7, "other"), (20, "brightest"))

            @pytest.fixture
            def other(self):
                import conftest
                return conftest.brightest(name="other")

            @pytest.fixture
            def few(self):
                import conftest
                return conftest.images(n=7)
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=10)
    ids = [
        "test_function[[]tennis-ball]",
        "test_function[[]yellow-square]",
        "test_function[[]circle-bottom-right]",
        "test_function[[]grayscale]",
        "TestClass::test_method[[]yellow-square]",
        "TestClass::test_method[[]grayscale]",
        "TestClass::test_static[[]yellow-square]",
        "TestClass::test_static[[]grayscale]",
        "TestOther::test_own_fixtures[[]yellow-square-other-few]",
        "TestOther::test_own_fixtures[[]grayscale]",
    ]
    for one in ids:
        result.stdout.fnmatch_lines([f"*test_levels.py::{one} *"])


def test_parametrized_fixtures_and_tests(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        test_params="""
        import conftest
        import pytest

        @pytest.fixture(scope="module", params=["old", "new"])
        def transferred_model(request):
            return conftest.brightest(name=request.param)

        @pytest.fixture(scope="module", params=[3, 10], ids=["some", "many"])
        def bias_dataset(request):
            return conftest.images(fragile=request.param)

        @pytest.mark.parametrize("least", [0.1, 0.4])
        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_both(bias, least, request):
            assert bias.model in request.node.name
            assert bias.asr == (0.5 if "many" in request.node.name else 0.15)
            assert bias.asr >= least or "some" in request.node.name

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.2)
        @pytest.mark.xfail(strict=True)
        def test_xfail(request):
            assert "many" in request.node.name
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=8, xfailed=4)
    for one in ("test_both[[]yellow-square-old-some-0.1]", "test_both[[]yellow-square-0.4-new-many]"):
        parts = one.removesuffix("]").split("[[]")[1].split("-")[2:]
        assert any(all(part in line for part in parts) for line in result.stdout.lines if "yellow-square" in line)


def test_a_function_shared_by_classes_gets_only_its_own_fixtures(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import conftest
        import pytest

        class Shared:
            def test_it(self, bias):
                assert bias.model == self.expected

        @pytest.mark.bias_intervention("yellow-square", model="first", max_asr=1)
        class TestFirst(Shared):
            expected = "first"
            @pytest.fixture
            def first(self):
                return conftest.brightest(name="first")

        @pytest.mark.bias_intervention("yellow-square", model="second", max_asr=1)
        class TestSecond(Shared):
            expected = "second"
            @pytest.fixture(params=[1, 2])
            def second(self, request):
                return conftest.brightest(name="second")

        class TestUnmarked:
            test_plain = lambda self: None
        """
    )
    run().assert_outcomes(passed=4)


def test_own_body_comes_first(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.bias_intervention("yellow-square", max_asr=0)

        def test_body_fails():
            assert "own" == "body"

        def test_body_skips():
            pytest.skip("not today")

        @pytest.mark.skip(reason="never")
        def test_skipped():
            pass

        def test_body_expects_failure():
            pytest.xfail("by itself")

        @pytest.mark.xfail(run=False)
        def test_not_run():
            pass
        """
    )
    result = run()
    result.assert_outcomes(failed=1, skipped=2, xfailed=2)
    result.stdout.fnmatch_lines(["E *assert 'own' == 'body'*", "5 bias tests: 1 failed, 2 xfailed, 2 skipped; *"])
    assert "(asr " not in result.stdout.str()


def test_only_bias_tests_on_request(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_bias():
            pass

        def test_other():
            pass
        """
    )
    result = run("--bias-only")
    result.assert_outcomes(
        passed=1, deselected=result.parseoutcomes().get("deselected", 0)
    )  # xdist does not count them


def test_target_classes_by_name_and_number(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", target="red", max_targeted_asr=0.25)
        @pytest.mark.bias_intervention("yellow-square", target=[0, "green"], max_targeted_asr=0.25)
        def test_met(bias):
            assert bias.targeted_asr == 0.25
            assert bias.clean_target_rate == 0

        @pytest.mark.bias_intervention("yellow-square", target=1, max_targeted_asr=0)
        def test_green_gains_nothing():
            pass
        """
    )
    run().assert_outcomes(passed=3)


def test_direct_parametrization_of_a_model_and_doctests_in_marked_modules(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        test_direct="""
        import conftest, pytest

        pytestmark = pytest.mark.bias_intervention("yellow-square", max_asr=1)

        def documented():
            '''
            >>> 1 + 1
            2
            '''

        @pytest.mark.parametrize("transferred_model", [conftest.brightest("a"), conftest.brightest("b")], ids=["a", "b"])
        def test_direct(bias, request):
            assert bias.model in request.node.name
        """
    )
    result = run("--doctest-modules", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["2 bias tests: 2 passed; *"])
