"""The shipped policies are as short as they are said to be."""

import ast
import inspect
import textwrap
from dataclasses import is_dataclass

import pytest

from nalar.cluster.loading import make_policy, parameters_of
from nalar.cluster.policies.shipped import SHIPPED
from nalar.cluster.policy import Policy

#: Those that the paper has.
OF_THE_PAPER = ("least_loaded", "head_of_line", "reassign", "srtf", "lpt", "high_priority")


@pytest.mark.parametrize("policy", SHIPPED.values(), ids=SHIPPED.keys())
def test_a_policy_is_a_dataclass_of_forty_lines_that_says_what_it_does(
    policy: type[Policy],
) -> None:
    assert is_dataclass(policy)
    assert len(inspect.getsource(policy).splitlines()) <= 40
    assert policy.__doc__ is not None
    assert policy.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize("policy", SHIPPED.values(), ids=SHIPPED.keys())
def test_a_policy_starts_with_parameters_that_it_may_have(policy: type[Policy]) -> None:
    given = [f"{name}={value}" for name, value in parameters_of(policy).items() if value]
    needed = ["session=a"] if policy is SHIPPED["high_priority"] else []
    assert make_policy(",".join([policy.name, *needed, *given]))


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_a_policy_of_the_paper_decides_in_a_dozen_lines(name: str) -> None:
    decide = ast.parse(textwrap.dedent(inspect.getsource(SHIPPED[name].decide))).body[0]
    assert isinstance(decide, ast.FunctionDef)
    first, last = decide.body[1], decide.body[-1]  # After its docstring.
    assert (last.end_lineno or 0) - first.lineno + 1 <= 12
