"""Its process and its HTTP are tried end to end; here, what it replies."""

from typing import Any

from examples.tool_calling.grade import grade
from examples.tool_calling.records import Call, Function, Question, Shape, Task
from examples.tool_calling.schema import InvalidCall, parse_call
from examples.tool_calling.scripted_endpoint import MISTAKE_EVERY, Script, right_call

NUMBER = Shape(type="dict", properties={"number": Shape(type="integer")}, required=("number",))
FUNCTIONS = tuple(
    Function(name=name, description=f"The {name}.", parameters=NUMBER)
    for name in ("root", "square")
)


def task(number: int) -> Task:
    return Task(
        question=Question(id=str(number), text=f"Square {number}.", functions=FUNCTIONS),
        user="ada",
        answer={"square": {"number": [number]}},
    )


TASKS = [task(number) for number in range(1, 3 * MISTAKE_EVERY + 1)]
SCRIPT = Script(TASKS)


def ask(*messages: str) -> dict[str, Any]:
    completion = SCRIPT.completion({"messages": [{"content": text} for text in messages]})
    assert completion is not None
    return completion


def outcome(asked: Task) -> str:
    [choice] = ask(asked.question.text)["choices"]
    try:
        call = parse_call(choice["message"]["content"], FUNCTIONS)
    except InvalidCall:
        return choice["finish_reason"]
    return grade(asked.question, asked.answer, call).reason


def test_marked_tasks_get_a_mistake_of_each_kind_and_the_others_none() -> None:
    outcomes = {asked.question.id: outcome(asked) for asked in TASKS}
    assert {id_: reason for id_, reason in outcomes.items() if reason} == {
        "5": "number is missing",
        "10": "length",
        "15": "the right function is square",
    }


def test_the_last_message_is_replied_to_and_all_are_counted() -> None:
    completion = ask("Square 1.", "Square 2.", "Square 12.")
    assert '"number":12' in completion["choices"][0]["message"]["content"]
    assert completion["usage"] == {"prompt_tokens": 6, "completion_tokens": 1, "total_tokens": 7}


def test_an_unknown_question_has_no_reply() -> None:
    assert SCRIPT.completion({"messages": [{"content": "Who are you?"}]}) is None


def test_right_call_takes_first_values_and_leaves_out_what_may_be() -> None:
    asked = task(1).model_copy(
        update={
            "answer": {
                "search": {
                    "place": ["Rome", "ROM"],
                    "unit": ["", "km"],
                    "budget": [{"min": ["", 0], "max": [10, 12]}],
                    "filters": [[{"field": ["price", "cost"]}]],
                }
            }
        }
    )
    assert right_call(asked) == Call(
        function="search",
        arguments={"place": "Rome", "budget": {"max": 10}, "filters": [{"field": "price"}]},
    )
