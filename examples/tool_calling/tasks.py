"""The tasks, with the answers that count as right: BFCL's, or a few of our own in its format.

BFCL's files are read in place from the installed bfcl-eval; its code is never imported.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel

from examples.tool_calling.records import Answer, Function, Question, Task

#: "sample" needs no package, so that tests have tasks everywhere.
Source = Literal["bfcl", "sample"]
SOURCES: tuple[Source, ...] = get_args(Source)
SAMPLE = Path(__file__).parent / "sample"
INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"
#: Each user has a session of their own with the assistant.
USERS = ("ada", "alan", "edsger", "grace")
#: A simple task brings one function; these are added, from tasks a quarter and half a file away.
STRANGERS_AT = (4, 2)


class NoTasks(RuntimeError):
    """There are none of that kind, or not so many."""


def pick(count: int, source: Source = "bfcl") -> tuple[Task, ...]:
    """Return the first `count` tasks, the same ones every time; each user asks some in a row."""
    simple, multiple = _read(source, "simple_python"), _read(source, "multiple")
    count_max = 2 * min(len(simple), len(multiple))  # as both kinds take turns
    if not 1 <= count <= count_max:
        raise NoTasks(f"there are 1 to {count_max} tasks of {source}, not {count}")
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
    far = (index + len(pairs) // part for part in STRANGERS_AT)
    others = (pairs[place % len(pairs)][0].functions[0] for place in far)
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
def _read(source: Source, kind: str) -> tuple[Pair, ...]:
    questions, solutions = _files(source, kind)
    entries = [_Entry.model_validate_json(line) for line in _lines(questions)]
    truths = [_Truth.model_validate_json(line) for line in _lines(solutions)]
    answers = {truth.id: truth.ground_truth[0] for truth in truths}
    return tuple((_question(entry), answers[entry.id]) for entry in entries)


def _question(entry: _Entry) -> Question:
    [[message]] = entry.question
    return Question(id=entry.id, text=message.content, functions=entry.function)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _files(source: Source, kind: str) -> tuple[Path, Path]:
    """Return where the tasks of a kind stand, and their answers."""
    if source == "sample":
        return SAMPLE / f"{kind}.jsonl", SAMPLE / f"{kind}_answers.jsonl"
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or spec.origin is None:
        raise NoTasks(f"the tasks of BFCL are not installed; install them with: {INSTALL}")
    data, name = Path(spec.origin).parent / "data", f"BFCL_v4_{kind}.json"
    return data / name, data / "possible_answer" / name
