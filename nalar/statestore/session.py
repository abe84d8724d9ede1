"""A session's state is the fold of its log; this is the fold, and the language of its deltas.

Pure. A delta is JSON, `{"<field>": [op, ...]}`, and means the same in every language:

    ["splice", at, remove, [item, ...]]   in a list: at `at`, take `remove` out, put items in
    ["put", key, value]                   in an object; a key that is there keeps its place
    ["drop", key]                         from an object; the key must be there
    ["set", value]                        the whole field, whatever it was
    ["unset"]                             the field is gone; it must be there

A field that is absent counts as an empty list for "splice" and an empty object for "put".
What a field means to user code is `nalar.statestore.managed`'s business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeAlias, cast

import orjson

from nalar.bus.fields import blob_of, dump_again, load_object
from nalar.errors import LaterProtocol, MalformedMessage
from nalar.ids import FutureId
from nalar.messages import BlobRef
from nalar.statestore.committed import JSON, Committed

#: One operation, as it stands in JSON.
Op: TypeAlias = "list[JSON]"
#: Operations by field, applied in order.
Delta: TypeAlias = "Mapping[str, list[Op]]"

#: Version of the snapshot's form; another one is refused.
SNAPSHOT_VERSION = 1
#: Longest piece of bad data that a message quotes.
SHOWN_MAX = 120


def parse_delta(text: bytes) -> dict[str, list[Op]]:
    """Return the delta written as `text`; the operations are checked by `apply`."""
    try:
        delta = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedMessage(f"a session delta is not JSON: {error}") from error
    if not isinstance(delta, dict):
        raise MalformedMessage(f"a session delta is a JSON object; this is {short(delta)}")
    return cast("dict[str, list[Op]]", delta)


def apply(state: dict[str, JSON], delta: Delta) -> None:
    """Change `state` in place by `delta`: all of it, or nothing and MalformedMessage.

    Costs as much as the delta is long, not the state. The values in `delta` become part of
    the state: do not change them afterwards.
    """
    # Checked whole before the first change, because undoing would cost more than looking.
    for name, ops in delta.items():
        _Check(name, state).all(ops)
    for name, ops in delta.items():
        for op in ops:
            _apply_one(state, name, op)


def _apply_one(state: dict[str, JSON], name: str, op: Op) -> None:
    match op:
        case ["splice", int(at), int(remove), list(items)]:
            cast("list[JSON]", state.setdefault(name, []))[at : at + remove] = items
        case ["put", str(key), value]:
            cast("dict[str, JSON]", state.setdefault(name, {}))[key] = value
        case ["drop", str(key)]:
            del cast("dict[str, JSON]", state[name])[key]
        case ["set", value]:
            state[name] = value
        case _:  # ["unset"]: `_Check` lets nothing else through.
            del state[name]


class _Check:
    """Follows the operations on one field without doing them, and refuses the first that fails.

    Of a list it follows the length; of an object, the keys that the operations add or remove.
    """

    def __init__(self, name: str, state: Mapping[str, JSON]) -> None:
        self._name = name
        self._begin(state.get(name), present=name in state)

    def _begin(self, value: JSON, *, present: bool) -> None:
        self._value = value
        self._present = present
        self._length = len(value) if isinstance(value, list) else 0
        self._keys: dict[str, bool] = {}

    def all(self, ops: object) -> None:
        """Refuse `ops` unless each of them can be applied when its turn comes."""
        if not isinstance(ops, list):
            raise MalformedMessage(f"field {self._name!r}: operations stand in a list")
        for op in cast("list[JSON]", ops):
            if not isinstance(op, list):
                self._refuse(op, "an operation is a list")
            self._one(op)

    def _one(self, op: Op) -> None:
        match op:
            case ["splice", int(at), int(remove), list(items)]:
                self._splice(op, at, remove, len(items))
            case ["put", str(key), _]:
                self._need(dict, op)
                self._keys[key] = True
            case ["drop", str(key)]:
                self._drop(op, key)
            case ["set", value]:
                self._begin(value, present=True)
            case ["unset"] if self._present:
                self._begin(None, present=False)
            case ["unset"]:
                self._refuse(op, "the field is not set")
            case _:
                self._refuse(op, "no such operation")

    def _splice(self, op: Op, at: int, remove: int, insert: int) -> None:
        self._need(list, op)
        if isinstance(at, bool) or isinstance(remove, bool):  # To Python, true is a number.
            self._refuse(op, "a position is a number")
        if at < 0 or remove < 0 or at + remove > self._length:
            self._refuse(op, f"the list has {self._length} items")
        self._length += insert - remove

    def _drop(self, op: Op, key: str) -> None:
        self._need(dict, op)
        if not self._keys.get(key, key in cast("dict[str, JSON]", self._value)):
            self._refuse(op, "there is no such key")
        self._keys[key] = False

    def _need(self, kind: type, op: Op) -> None:
        if not self._present:
            self._begin([] if kind is list else {}, present=True)
        elif not isinstance(self._value, kind):
            self._refuse(op, f"the field holds {_KINDS.get(type(self._value), 'a single value')}")

    def _refuse(self, op: JSON, why: str) -> NoReturn:
        raise MalformedMessage(f"field {self._name!r}: cannot apply {short(op)}: {why}")


#: How messages call what a field may hold.
_KINDS: dict[type, str] = {list: "a list", dict: "an object"}


def short(value: object) -> str:
    """Return `value` as a message quotes it."""
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the fold needs of one record in a session's log."""

    revision: int
    future: FutureId
    #: The record's delta as JSON text, fetched if it was kept as a blob; None if it has none.
    delta: bytes | None
    #: When the record was finished, Unix time in seconds.
    at_s: float


@dataclass(slots=True)
class SessionFold:
    """One copy of a session: the state at a revision, and which futures are part of it."""

    revision: int = 0
    #: JSON by field. Whoever reads it lazily (ManagedFields) shares this very object.
    state: dict[str, JSON] = field(default_factory=dict[str, JSON])
    #: The calls that are part of it, those finished within the horizon.
    committed: Committed = field(default_factory=Committed)

    @classmethod
    def empty(cls) -> "SessionFold":
        """Return the fold of an empty log."""
        return cls()

    @classmethod
    def load(cls, snapshot: bytes) -> "SessionFold":
        """Return the fold that `dump` wrote; raises MalformedMessage for anything else."""
        try:
            parsed: object = orjson.loads(snapshot)
        except orjson.JSONDecodeError as error:
            raise MalformedMessage(f"a session snapshot is not JSON: {error}") from error
        match cast("JSON", parsed):
            case {"v": int(version)} if version != SNAPSHOT_VERSION:
                kind = LaterProtocol if version > SNAPSHOT_VERSION else MalformedMessage
                raise kind(
                    f"a session snapshot of version {version}; this program reads "
                    f"version {SNAPSHOT_VERSION}"
                )
            case {"v": int(), "upto": int(upto), "ids": dict(ids), "state": dict(state)}:
                pages = cast("dict[str, JSON]", parsed).get("pages", [])
                if not isinstance(pages, list):
                    raise MalformedMessage("not a session snapshot: 'pages' is not a list")
                return cls(upto, state, Committed.load(ids, pages))
            case _:
                raise MalformedMessage(f"not a session snapshot: {short(parsed)}")

    def dump(self, *, now_s: float, horizon_s: float) -> bytes:
        """Return the snapshot, to be stored by compare-and-set with a growing `upto`.

        Forgets, here and in the snapshot, ids finished more than `horizon_s` before `now_s`;
        without that they would grow for ever. The horizon must be longer than an invocation
        may be redelivered plus the difference between the workers' clocks. Raises
        MalformedMessage for a state that was read and is nested too deep to be written.
        """
        self.committed.forget_before(now_s - horizon_s)
        return dump_again(
            {
                "v": SNAPSHOT_VERSION,
                "upto": self.revision,
                **self.committed.as_json(),
                "state": self.state,
            }
        )

    def has(self, future: FutureId) -> bool:
        """Say whether the call is part of this state (if it finished within the horizon)."""
        return future in self.committed

    def advance(self, revision: int, future: FutureId, delta: bytes | None, at_s: float) -> bool:
        """Take in the log's next entry; False when it is at or below this revision already.

        Costs as much as the delta. After MalformedMessage the fold is as it was.
        """
        if revision <= self.revision:
            return False
        if delta is not None:
            apply(self.state, parse_delta(delta))
        self.committed.add(future, revision, at_s)
        self.revision = revision
        return True


def spilled_to(snapshot: bytes) -> BlobRef | None:
    """Return where a snapshot is kept that is too large for an entry; None for one that is not.

    Raises MalformedMessage when it does not say where.
    """
    if not snapshot.startswith(b'{"blob":'):
        return None
    return blob_of(load_object(snapshot).get("blob"))


def after_lost(
    fold_before: SessionFold, entries_since: Iterable[LogEntry], own_future: FutureId
) -> Literal["done", "commit_again", "rerun"]:
    """Say what to do when a commit was refused, or nobody knows whether it was stored.

    `fold_before` is what the call ran on, `entries_since` the session's log after it, read
    through the leader. "done": the call is part of the log. "commit_again": nothing changed
    the state it ran on, so the same content holds at the newest revision. "rerun": advance
    the fold by the entries, then run the call again on the state as it is now.
    """
    if fold_before.has(own_future):
        return "done"
    foreign_change = False
    for entry in entries_since:
        if entry.future == own_future:
            return "done"
        if entry.revision > fold_before.revision and entry.delta is not None:
            foreign_change = True
    return "rerun" if foreign_change else "commit_again"
