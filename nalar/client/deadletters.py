"""What operators do with dead letters: list, look, make the request anew, throw away."""

import os
from collections.abc import Iterable

from nalar.calls.letters import DEAD, DeadLetter, decode_letter, invocation_of, noted, redriven
from nalar.client.runs import Runs
from nalar.errors import Conflict, MalformedMessage, UnknownTarget, UsageError
from nalar.ids import encode_token, new_name, new_root
from nalar.processes.host import Host
from nalar.statestore.port import KeyValueEntry


class DeadLetters:
    """The dead letters of one cluster, through one connection."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._control = host.backend.control

    async def all(self, agent: str = "") -> list[DeadLetter]:
        """Return all of them, or those of one agent; newest first."""
        found = [_opened(entry) for entry in await self._control.scan(DEAD)]
        chosen = [letter for letter in found if not agent or letter.agent == agent]
        return sorted(chosen, key=lambda letter: letter.at, reverse=True)

    async def get(self, letter_id: str) -> DeadLetter:
        """Return one; raises UnknownTarget when there is none."""
        entry = await self._control.get(f"{DEAD}.{encode_token(letter_id)}")
        if entry is None:
            raise UnknownTarget(
                f"there is no dead letter {letter_id!r}: it was purged, or is past its retention"
            )
        return _opened(entry)

    async def redrive(self, letter_id: str, *, again: bool = False) -> str:
        """Make a new request of a dead letter and return its run id.

        It has the same target, arguments, session, tenant and priority; the record of the call
        that failed stays as it is. The letter is kept, and notes the new run first: of two who
        redrive it at the same time, one is refused. Raises UsageError for what was no call, and
        for a letter that has been redriven, unless `again`; Unavailable when nobody knows
        whether the request is stored.
        """
        letter = await self.get(letter_id)
        if letter.redriven_as and not again:
            raise UsageError(
                f"{letter_id} was redriven already, as {letter.redriven_as[-1]}: look there first"
            )
        host, now_s = self._host, self._host.clock.now_s()
        root = new_root(int(now_s * 1000), os.urandom(10))
        invocation = redriven(
            invocation_of(letter),
            root,
            new_name("c", os.urandom(10)),
            now_s=now_s,
            deadline_s=host.settings.deadline_s,
        )
        await self._note(letter, root)
        await Runs(host.backend, host.settings, host.clock).note(invocation.ref, invocation.target)
        # A read-only method of a stateful agent is passed on to its session's slot.
        lane = host.calls.routes.lane(invocation, stateful=invocation.ref.effect == "s")
        await host.backend.queue.publish(lane, invocation)
        return root

    async def _note(self, letter: DeadLetter, run: str) -> None:
        key, ttl_s = f"{DEAD}.{letter.id}", self._host.settings.retention_s
        try:
            value = noted(letter, run)
            await self._control.put(key, value, expected=letter.revision, ttl_s=ttl_s)
        except Conflict as error:
            raise UsageError(
                f"{letter.id} was redriven or purged by somebody else at this moment"
            ) from error

    async def purge(self, letter_ids: Iterable[str]) -> int:
        """Delete letters for good and return how many; raises UnknownTarget for one not there."""
        letters = [await self.get(letter_id) for letter_id in letter_ids]
        for letter in letters:
            await self._control.delete(f"{DEAD}.{letter.id}")
        return len(letters)


def _opened(entry: KeyValueEntry) -> DeadLetter:
    try:
        return decode_letter(entry.key, entry.value, entry.revision)
    except MalformedMessage as error:
        told = {"reason": f"the entry itself is no dead letter: {error}"}
        name = entry.key.removeprefix(f"{DEAD}.")
        return DeadLetter(name, "malformed", 0.0, told["reason"], told, entry.revision)
