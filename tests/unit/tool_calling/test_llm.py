"""Its HTTP is tried end to end; here, what the model is shown, and what its answer is taken for."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from examples.tool_calling.llm import (
    RECALLED_MAX,
    InvalidAnswer,
    ModelSettings,
    NoModel,
    describe,
    messages_for,
    read_choice,
)
from examples.tool_calling.records import Call, Exchange, Function, Question, Shape, Usage

ROOT, SQUARE = (
    Function(
        name=name,
        description=f"The {name}.",
        parameters=Shape(
            type="dict",
            properties={"number": Shape(type="integer"), "digits": Shape(type="integer")},
            required=("number",),
        ),
    )
    for name in ("root", "square")
)
QUESTION = Question(id="q", text="Square 7.", functions=(ROOT, SQUARE))


def completion(text: str | None, finish: str = "stop", **more: Any) -> ChatCompletion:
    message = {"role": "assistant", "content": text}
    return ChatCompletion.model_validate(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            **more,
        }
    )


USAGE = {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35}


def asked(function: str, number: int) -> Exchange:
    call = Call(function=function, arguments={"number": number})
    return Exchange(question=f"{function} of {number}?", call=call)


def test_model_is_shown_every_function_with_its_optional_arguments_marked() -> None:
    system, user = messages_for(QUESTION, [])
    assert describe(SQUARE) == "square(number: integer, digits?: integer): The square."
    for function in QUESTION.functions:
        assert describe(function) in str(system.get("content"))
    assert user == {"role": "user", "content": "Square 7."}


def test_only_the_last_calls_of_functions_on_offer_are_recalled() -> None:
    assert RECALLED_MAX == 2
    history = [asked("square", 1), asked("root", 4), asked("cube", 2), asked("square", 3)]
    _, *recalled, _ = messages_for(QUESTION, history)
    assert [message.get("content") for message in recalled] == [
        "root of 4?",
        '{"function":"root","arguments":{"number":4}}',
        "square of 3?",
        '{"function":"square","arguments":{"number":3}}',
    ]


def test_call_and_tokens_are_read_from_the_answer() -> None:
    answer = completion('{"function": "square", "arguments": {"number": 7}}', usage=USAGE)
    choice = read_choice(answer, QUESTION)
    assert choice.call == Call(function="square", arguments={"number": 7})
    assert choice.usage == Usage(prompt_tokens=30, completion_tokens=5)


def test_an_endpoint_need_not_count_tokens() -> None:
    choice = read_choice(completion('{"function": "square", "arguments": {}}'), QUESTION)
    assert choice.usage == Usage()


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("The answer is 49.", "stop", "not a call"),
        (None, "content_filter", "not a call"),
        ('{"function": "square", "argu', "length", "cut after 5 tokens"),
    ],
)
def test_what_is_no_call_is_invalid_and_its_tokens_count(
    text: str | None, finish: str, reason: str
) -> None:
    with pytest.raises(InvalidAnswer, match=reason) as raised:
        read_choice(completion(text, finish, usage=USAGE), QUESTION)
    assert raised.value.usage.completion_tokens == 5


def test_settings_need_an_address_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    with pytest.raises(NoModel, match="OPENAI_BASE_URL is not set"):
        ModelSettings.from_environment()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost/v1")
    assert ModelSettings.from_environment().base_url == "http://localhost/v1"
