"""What a call yields before it ends: pieces of its result, and how a reader puts them together.

Pure. Pieces are a preview: the record with the whole result is the truth, and a reader that lacks
a piece gets it from there. An execution that is begun again (its worker died, it is retried) has
another *epoch*: what it yields need not be what the first one did.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

import orjson

from nalar.errors import MalformedMessage
from nalar.ids import Ref

T_co = TypeVar("T_co", covariant=True)


class Stream(Protocol[T_co]):
    """The values that one call yields, in order; made by `Future.stream`.

    Iterate with `async for`, or with `for` in a thread. It ends when the call has ended.
    """

    @property
    def position(self) -> int:
        """How many values have come; `future.stream(after=position)` goes on from there."""
        ...

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def __iter__(self) -> Iterator[T_co]: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Values that one execution has yielded, one after the other."""

    ref: Ref
    #: Names the execution among those of the same call.
    epoch: str
    #: Position of the first value in the result.
    at: int
    #: A JSON array.
    values: bytes


def encode_chunk(chunk: Chunk) -> bytes:
    """Return the body of `chunk`; where it is published says whose it is."""
    return orjson.dumps(
        {"epoch": chunk.epoch, "at": chunk.at, "values": orjson.Fragment(chunk.values)}
    )


def decode_chunk(ref: Ref, body: bytes) -> Chunk:
    """Return the chunk that was published for `ref`; raises MalformedMessage, never another."""
    told: Any
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedMessage(f"a chunk is not JSON: {error}") from error
    if isinstance(told, dict):
        fields = cast("dict[str, Any]", told)
        epoch, at, values = fields.get("epoch"), fields.get("at"), fields.get("values")
        if type(at) is int and at >= 0 and isinstance(epoch, str) and isinstance(values, list):
            return Chunk(ref, epoch, at, _dumped(cast("list[Any]", values)))
    raise MalformedMessage("not a chunk: it has an epoch, a position and values")


def _dumped(values: list[Any]) -> bytes:
    try:
        return orjson.dumps(values)
    except TypeError as error:  # Nested deeper than can be written.
        raise MalformedMessage(f"the values of a chunk: {error}") from error


@dataclass(slots=True)
class Assembly:
    """Puts the chunks of one call in order, from a position on."""

    #: How many values have been handed on, those before the reader began included.
    position: int = 0
    #: The execution that is being read.
    epoch: str = ""
    #: True from when another execution has begun what was partly handed on already.
    restarted: bool = False
    #: Values that wait for the ones before them, by position.
    _waiting: dict[int, Any] = field(default_factory=dict[int, Any])
    _epochs: set[str] = field(default_factory=set[str])

    @property
    def lacks(self) -> bool:
        """True while values wait for one before them that has not come."""
        return bool(self._waiting)

    def begin(self, epochs: Iterable[str]) -> None:
        """Begin with the newest of the executions that have yielded so far, oldest first.

        Does nothing once one has been begun with.
        """
        told = list(dict.fromkeys(epochs))
        if told and not self.epoch:
            self._epochs.update(told)
            self.epoch = told[-1]

    def take(self, epoch: str, at: int, values: list[Any]) -> list[Any]:
        """Take one chunk in and return the values that can be handed on now."""
        if epoch != self.epoch:
            if epoch in self._epochs:
                return []  # An execution that is over, or a zombie.
            self._epochs.add(epoch)
            self.restarted = self.restarted or (bool(self.epoch) and self.position > 0)
            self.epoch = epoch
            self._waiting.clear()
        self._waiting.update(enumerate(values, at))
        ready: list[Any] = []
        while self.position in self._waiting:
            ready.append(self._waiting.pop(self.position))
            self.position += 1
        for stale in [place for place in self._waiting if place < self.position]:
            del self._waiting[stale]
        return ready

    def finish(self, result: list[Any]) -> list[Any]:
        """Return what is left of the whole result."""
        rest = result[self.position :]
        self.position = max(self.position, len(result))
        return rest
