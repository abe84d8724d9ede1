"""The values that travel in messages, from the question to the summary. They never change."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue


class Record(BaseModel):
    """A value that never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# What is asked.


class Shape(Record):
    """What a value must look like: a node of BFCL's dialect of JSON Schema."""

    model_config = ConfigDict(extra="ignore")  # defaults and formats, which stand in prose too

    type: Literal["dict", "array", "tuple", "string", "integer", "float", "boolean", "any"]
    properties: dict[str, "Shape"] | None = None
    #: Properties that may not be left out; None stands for all.
    required: tuple[str, ...] | None = None
    items: "Shape | None" = None
    enum: tuple[JsonValue, ...] | None = None

    def wants(self, name: str) -> bool:
        """Whether a value without the property `name` is incomplete."""
        return self.required is None or name in self.required


class Function(Record):
    """A function that the assistant may choose."""

    name: str
    description: str
    parameters: Shape

    @property
    def arguments(self) -> dict[str, Shape]:
        return self.parameters.properties or {}


class Question(Record):
    """What the assistant sees of a task."""

    id: str
    text: str
    functions: tuple[Function, ...]


#: The right function, and for each argument the accepted values; "" among them: may be left out.
Answer = dict[str, dict[str, list[JsonValue]]]


class Task(Record):
    """A question, who asks it, and what is right."""

    question: Question
    user: str
    answer: Answer


# What becomes of it.


class Call(Record):
    """A function and its arguments."""

    function: str
    arguments: dict[str, JsonValue]


class Usage(Record):
    """The tokens that an answer of the model took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Choice(Record):
    """A call that the model chose."""

    call: Call
    usage: Usage


class Exchange(Record):
    """An earlier question of a session, with the call that was chosen for it."""

    question: str
    call: Call


class Attempt(Record):
    """What came of asking the model: a call, or the problem with its answer."""

    call: Call | None
    problem: str = ""
    #: Whether the model said anything.
    answered: bool = True
    usage: Usage
    latency_s: float
    worker: str


class Execution(Record):
    """What came of carrying a call out."""

    executed: bool
    value: JsonValue = None
    #: Why it was not executed.
    note: str = ""


class Verdict(Record):
    """Whether a call is right, and if not, its first mistake."""

    right: bool
    reason: str = ""


class Row(Record):
    """Everything about one task."""

    task: str
    user: str
    attempt: Attempt
    execution: Execution
    verdict: Verdict


class Summary(Record):
    """The result of the workflow."""

    right: int
    total: int
    rows: tuple[Row, ...]
