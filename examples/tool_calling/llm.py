"""Asking a language model which function to call, at any OpenAI-compatible endpoint."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from examples.tool_calling.records import Choice, Exchange, Function, Question, Usage
from examples.tool_calling.schema import InvalidCall, call_schema, parse_call

BASE_URL = "OPENAI_BASE_URL"
#: Enough for the longest call that the schema allows in practice; what is longer is an error.
COMPLETION_TOKENS_MAX = 320
#: Seconds for one answer: a small machine takes a few, and requests may queue.
TIMEOUT_S = 120

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
        if BASE_URL not in os.environ:
            raise NoModel(f"{BASE_URL} is not set: it names the endpoint of the model to ask")
        return cls(
            base_url=os.environ[BASE_URL],
            api_key=os.environ.get("OPENAI_API_KEY", "none"),  # a local server wants no key
            model=os.environ.get("OPENAI_MODEL", "default"),  # nor does it read the name
        )


class InvalidAnswer(RuntimeError):
    """The model's answer is not a call of a function on offer."""

    def __init__(self, reason: str, usage: Usage) -> None:
        super().__init__(reason)
        self.usage = usage


class TruncatedAnswer(InvalidAnswer):
    """The answer was cut: at the limit for its length, or by the endpoint."""


async def choose_call(
    settings: ModelSettings, question: Question, history: Sequence[Exchange] = ()
) -> Choice:
    """Ask the model once; raises InvalidAnswer, or openai.OpenAIError if there is no answer."""
    async with AsyncOpenAI(
        base_url=settings.base_url, api_key=settings.api_key, timeout=TIMEOUT_S
    ) as client:
        completion = await client.chat.completions.create(
            model=settings.model,
            messages=list(_messages(question, history)),
            temperature=0,
            max_tokens=COMPLETION_TOKENS_MAX,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "call", "schema": call_schema(question.functions)},
            },
        )
    return _read(completion, question)


def _messages(
    question: Question, history: Sequence[Exchange]
) -> Iterable[ChatCompletionMessageParam]:
    functions = "\n".join(map(describe, question.functions))
    yield {"role": "system", "content": INSTRUCTIONS.format(functions=functions)}
    for exchange in history:
        yield {"role": "user", "content": exchange.question}
        yield {"role": "assistant", "content": exchange.call.model_dump_json()}
    yield {"role": "user", "content": question.text}


def describe(function: Function) -> str:
    """Return one line for the prompt: signature, with `?` for optional arguments, and purpose."""
    arguments = (
        f"{name}{'' if function.parameters.wants(name) else '?'}: {shape.type}"
        for name, shape in function.arguments.items()
    )
    return f"{function.name}({', '.join(arguments)}): {function.description}"


def _read(completion: ChatCompletion, question: Question) -> Choice:
    usage = _usage(completion)
    [choice] = completion.choices
    text = choice.message.content or ""
    if choice.finish_reason == "length":
        raise TruncatedAnswer(f"cut after {usage.completion_tokens} tokens: {text!r}", usage)
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
