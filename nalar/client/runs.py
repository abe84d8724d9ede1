"""Runs: what the control bucket knows of a request that was submitted, and claims of its key."""

import hashlib
from typing import Any, cast

import orjson

from nalar.agents.spec import MethodSpec
from nalar.backend import Backend
from nalar.bus.codec import decode_record
from nalar.calls.draft import keyed, keyed_ref, other_arguments, same_arguments
from nalar.clock import Clock
from nalar.context import CallOptions
from nalar.errors import Conflict, InvalidToken, MalformedMessage, UnknownTarget, UsageError
from nalar.ids import Ref, RootId, encode_token
from nalar.settings import Settings
from nalar.statestore.port import KeyValueEntry
from nalar.values.signature import Bound

#: Where submitted runs are noted, in the control bucket.
RUNS = "run"


class Runs:
    """The notes of submitted runs."""

    def __init__(self, backend: Backend, settings: Settings, clock: Clock) -> None:
        self._backend = backend
        self._settings = settings
        self._clock = clock

    async def find(self, run: str) -> tuple[Ref, str]:
        """Return where the record of a run will stand, and its target; raises UnknownTarget."""
        entry = await self._get(run)
        if entry is None or entry.value is None:
            raise UnknownTarget(
                f"no run {run!r} was submitted here, or it is long past its deadline"
            )
        note = read_note(entry.value)
        try:
            return Ref.parse(str(note.get("ref"))), str(note.get("target"))
        except InvalidToken:
            raise UnknownTarget(f"what was noted of run {run!r} is none of our notes") from None

    async def note(self, ref: Ref, target: str) -> None:
        """Remember a run that is stored."""
        await self._put(ref, target, {})

    async def claim(self, spec: MethodSpec, bound: Bound, options: CallOptions) -> int:
        """Say, before a request with an idempotency key is made, what its key stands for.

        Returns the revision of the new note, 0 when there is one already. Raises UsageError when
        the key stands for other arguments: it is known as soon as they were submitted, not only
        when their run has ended.
        """
        root = keyed(spec, options)
        assert root is not None, "the request has a key"
        ref = keyed_ref(spec, options, root)
        found = (await self._backend.ledger.read([ref])).get(ref)
        if found is not None:
            self._check_record(spec, bound, ref, found.body)
        digest = "" if bound.dependencies else _digest(bound)
        try:
            return await self._put(ref, spec.target, {"arguments": digest}, expected=0)
        except Conflict:
            if found is None:
                await self._check_note(spec, root, digest)
            return 0

    async def release(self, spec: MethodSpec, options: CallOptions, revision: int) -> None:
        """Take back a claim whose request could not be made."""
        root = keyed(spec, options)
        try:
            await self._backend.control.delete(f"{RUNS}.{root}", expected=revision)
        except Conflict:
            return  # Somebody else's by now.

    def _check_record(self, spec: MethodSpec, bound: Bound, ref: Ref, body: bytes) -> None:
        try:
            record = decode_record(ref, body)
        except MalformedMessage:
            return  # Whoever awaits the run is told.
        if not same_arguments(record, bound.text, bound.dependencies):
            raise UsageError(other_arguments(spec.label))

    async def _check_note(self, spec: MethodSpec, root: RootId, digest: str) -> None:
        entry = await self._get(root)
        theirs = read_note((entry.value if entry is not None else None) or b"{}").get("arguments")
        if digest and theirs and theirs != digest:
            raise UsageError(other_arguments(spec.label))

    async def _get(self, run: str) -> KeyValueEntry | None:
        return await self._backend.control.get(f"{RUNS}.{encode_token(run)}")

    async def _put(
        self, ref: Ref, target: str, more: dict[str, Any], expected: int | None = None
    ) -> int:
        note = {"ref": str(ref), "target": target, "created": self._clock.now_s(), **more}
        ttl_s = self._settings.deadline_s + self._settings.retention_s
        return await self._backend.control.put(
            f"{RUNS}.{ref.root}", orjson.dumps(note), expected=expected, ttl_s=ttl_s
        )


def read_note(value: bytes) -> dict[str, Any]:
    """Return what a note says; nothing for what we cannot have written."""
    try:
        told: Any = orjson.loads(value)
    except ValueError:
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def _digest(bound: Bound) -> str:
    return hashlib.blake2b(bound.canonical, digest_size=16).hexdigest()
