"""The tasks of BFCL, with the answers that count as right.

The data files are read in place from the installed bfcl-eval; its code is never imported.
"""

import importlib.util
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from examples.tool_calling.records import Answer, Function, Question, Task

#: Each user has a session of their own with the assistant.
USERS = ("ada", "alan", "edsger", "grace")
#: Simple and multiple tasks take turns, and there are 200 of the rarer kind.
COUNT_MAX = 400
#: A simple task brings one function; these are added, from tasks that far away in the file.
STRANGERS_AT = (100, 200)
INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"


class TasksMissing(RuntimeError):
    """The package with the tasks is not installed."""


def pick(count: int) -> tuple[Task, ...]:
    """Return the first `count` tasks, the same ones every time; each user asks some in a row."""
    if not 1 <= count <= COUNT_MAX:
        raise ValueError(f"count is {count}; there are tasks for 1 to {COUNT_MAX}")
    simple, multiple = _read("simple_python"), _read("multiple")
    picked: list[Task] = []
    for index in range(count):
        turn, is_multiple = divmod(index, 2)
        question, answer = multiple[turn] if is_multiple else _with_strangers(simple, turn)
        user = USERS[index * len(USERS) // count]
        picked.append(Task(question=question, user=user, answer=answer))
    return tuple(picked)


Pair = tuple[Question, Answer]


def _with_strangers(pairs: tuple[Pair, ...], index: int) -> Pair:
    """Offer functions of other tasks beside the task's own, which does not always stand first."""
    question, answer = pairs[index]
    [own] = question.functions
    others = (pairs[(index + far) % len(pairs)][0].functions[0] for far in STRANGERS_AT)
    functions = (own, *(other for other in others if other.name != own.name))
    first = index % len(functions)
    turned = functions[first:] + functions[:first]
    return question.model_copy(update={"functions": turned}), answer


class _Message(BaseModel):
    content: str


class _Entry(BaseModel):
    """A line of a file of tasks: one turn of one message."""

    id: str
    question: tuple[tuple[_Message]]
    function: tuple[Function, ...]


class _Truth(BaseModel):
    """A line of a file of answers: one call."""

    id: str
    ground_truth: tuple[Answer]


@cache
def _read(kind: str) -> tuple[Pair, ...]:
    folder, name = _data(), f"BFCL_v4_{kind}.json"
    entries = [_Entry.model_validate_json(line) for line in _lines(folder / name)]
    truths = [
        _Truth.model_validate_json(line) for line in _lines(folder / "possible_answer" / name)
    ]
    answers = {truth.id: truth.ground_truth[0] for truth in truths}
    return tuple((_question(entry), answers[entry.id]) for entry in entries)


def _question(entry: _Entry) -> Question:
    [[message]] = entry.question
    return Question(id=entry.id, text=message.content, functions=entry.function)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _data() -> Path:
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or spec.origin is None:
        raise TasksMissing(f"the tasks are not installed; install them with: {INSTALL}")
    return Path(spec.origin).parent / "data"
