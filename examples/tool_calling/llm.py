"""Asking a language model which function to call, at any OpenAI-compatible endpoint."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from openai import AsyncOpenAI, OpenAIError
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from examples.tool_calling.endpoint import API_KEY, BASE_URL, NO_KEY
from examples.tool_calling.records import Choice, Exchange, Function, Question, Usage
from examples.tool_calling.schema import InvalidCall, call_schema, parse_call

#: Enough for the longest call that the schema allows in practice; what is longer is an error.
COMPLETION_TOKENS_MAX = 320
#: Seconds for one answer: a small machine takes a few, and requests may queue.
TIMEOUT_S = 120
#: An error may quote a whole web page.
REASON_CHARACTERS_MAX = 200
#: Earlier exchanges that the model is shown at most.
RECALLED_MAX = 2

INSTRUCTIONS = """\
You answer questions by calling a function. Choose the function that answers the question and take \
its arguments from the question. Functions:
{functions}
Answer as JSON: {{"function": name, "arguments": {{...}}}}"""


class NoModel(RuntimeError):
    """Nothing says which model to ask."""


@dataclass(frozen=True)
class ModelSettings:
    """Which model to ask, and where."""

    base_url: str
    api_key: str
    model: str

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables that OpenAI's clients read, and OPENAI_MODEL."""
        base_url = os.environ.get(BASE_URL)
        if not base_url:
            raise NoModel(f"{BASE_URL} is not set: it names the endpoint of the model to ask")
        return cls(
            base_url=base_url,
            api_key=os.environ.get(API_KEY) or NO_KEY,
            model=os.environ.get("OPENAI_MODEL", "default"),  # a local server has only one
        )


class NoAnswer(RuntimeError):
    """The endpoint gave no answer, although OpenAI's client asked again where that made sense."""


class InvalidAnswer(RuntimeError):
    """The model's answer is not a call of a function on offer."""

    def __init__(self, reason: str, usage: Usage) -> None:
        super().__init__(reason)
        self.usage = usage


async def choose_call(
    settings: ModelSettings, question: Question, history: Iterable[Exchange] = ()
) -> Choice:
    """Ask the model; raises InvalidAnswer for what it says, NoAnswer if it says nothing."""
    try:
        completion = await _complete(settings, question, history)
    except (OpenAIError, ValueError) as error:  # ValueError: the reply is no JSON
        raise NoAnswer(f"no answer: {str(error)[:REASON_CHARACTERS_MAX]}") from error
    # The client takes any reply for a completion: a web page too, if the URL leads to one.
    if not getattr(completion, "choices", None):
        raise NoAnswer(f"no answer: what {settings.base_url} replies is no chat completion")
    return read_choice(completion, question)


async def _complete(
    settings: ModelSettings, question: Question, history: Iterable[Exchange]
) -> ChatCompletion:
    async with AsyncOpenAI(
        base_url=settings.base_url, api_key=settings.api_key, timeout=TIMEOUT_S
    ) as client:
        return await client.chat.completions.create(
            model=settings.model,
            messages=list(messages_for(question, history)),
            temperature=0,
            max_tokens=COMPLETION_TOKENS_MAX,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "call", "schema": call_schema(question.functions)},
            },
        )


def messages_for(
    question: Question, history: Iterable[Exchange]
) -> Iterator[ChatCompletionMessageParam]:
    """Yield what the model is shown: the functions, what is recalled, and the question."""
    functions = "\n".join(map(describe, question.functions))
    yield {"role": "system", "content": INSTRUCTIONS.format(functions=functions)}
    for exchange in _recalled(question, history):
        yield {"role": "user", "content": exchange.question}
        yield {"role": "assistant", "content": exchange.call.model_dump_json()}
    yield {"role": "user", "content": question.text}


def _recalled(question: Question, history: Iterable[Exchange]) -> list[Exchange]:
    """Return the last exchanges in which a function was chosen that is on offer again.

    Others would lead a small model astray: it copies arguments from whatever it is shown.
    """
    offered = {function.name for function in question.functions}
    return [exchange for exchange in history if exchange.call.function in offered][-RECALLED_MAX:]


def describe(function: Function) -> str:
    """Return one line for the prompt: signature, with `?` for optional arguments, and purpose."""
    arguments = (
        f"{name}{'' if function.parameters.wants(name) else '?'}: {shape.type}"
        for name, shape in function.arguments.items()
    )
    return f"{function.name}({', '.join(arguments)}): {function.description}"


def read_choice(completion: ChatCompletion, question: Question) -> Choice:
    """Return the call in the model's answer; raises InvalidAnswer."""
    usage = _usage(completion)
    choice = completion.choices[0]
    text = choice.message.content or ""
    if choice.finish_reason == "length":
        raise InvalidAnswer(f"cut after {usage.completion_tokens} tokens: {text!r}", usage)
    try:
        return Choice(call=parse_call(text, question.functions), usage=usage)
    except InvalidCall as error:
        raise InvalidAnswer(str(error), usage) from error


def _usage(completion: ChatCompletion) -> Usage:
    if completion.usage is None:
        return Usage()
    return Usage(
        prompt_tokens=completion.usage.prompt_tokens,
        completion_tokens=completion.usage.completion_tokens,
    )
