import importlib.util
from itertools import pairwise

import pytest

from examples.tool_calling import tasks
from examples.tool_calling.grade import grade
from examples.tool_calling.schema import misfit
from examples.tool_calling.scripted_endpoint import right_call
from examples.tool_calling.tasks import SOURCES, NoTasks, Source, pick

COUNT = 20
#: BFCL's too, where `make demo` has installed them; the rules are the same for ours.
AT_HAND = [kind for kind in SOURCES if kind == "sample" or importlib.util.find_spec("bfcl_eval")]


@pytest.fixture(params=AT_HAND)
def source(request: pytest.FixtureRequest) -> Source:
    return request.param


def test_every_task_has_a_right_answer_and_other_functions_to_choose_from(source: Source) -> None:
    for task in pick(COUNT, source):
        call = right_call(task)
        assert grade(task.question, task.answer, call).right, task.question.id
        names = [function.name for function in task.question.functions]
        assert len(names) == len(set(names)) > 1
        [function] = (
            offered for offered in task.question.functions if offered.name == call.function
        )
        assert misfit(function.parameters, call.arguments) is None


def test_the_right_function_stands_anywhere(source: Source) -> None:
    places = {
        [function.name for function in task.question.functions].index(right_call(task).function)
        for task in pick(COUNT, source)
    }
    assert places >= {0, 1, 2}


def test_each_user_asks_some_in_a_row_and_fewer_tasks_are_the_first_of_more(source: Source) -> None:
    picked = pick(COUNT, source)
    users = [task.user for task in picked]
    changes = sum(one != other for one, other in pairwise(users))
    assert changes == len(set(users)) - 1 == 3
    few = pick(6, source)
    assert [task.question for task in few] == [task.question for task in picked[:6]]


@pytest.mark.parametrize("count", [-1, 0, COUNT + 1])
def test_a_count_that_cannot_be_served_is_told(count: int) -> None:
    with pytest.raises(NoTasks, match=f"there are 1 to {COUNT} tasks of sample, not {count}"):
        pick(count, "sample")


def test_a_missing_package_is_told_with_its_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(name: str) -> None:
        assert name == "bfcl_eval"

    tasks._read.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    with pytest.raises(NoTasks, match="pip install --no-deps bfcl-eval"):
        pick(COUNT + 1, "bfcl")
