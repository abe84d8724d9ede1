"""Cancelling runs and single calls that some program, maybe another, has made."""

import asyncio
from dataclasses import dataclass
from typing import Final

from nalar.bus.codec import decode_record
from nalar.calls.cancel import commit_end, put_notice
from nalar.client.runs import Runs
from nalar.errors import MalformedMessage, UsageError
from nalar.ids import FutureId, Ref, RootId, is_wire_token
from nalar.loops import set_within
from nalar.messages import ErrorInfo, bare_record
from nalar.processes.host import Host
from nalar.statestore.port import LedgerEntry

#: How long a record is waited for that a worker is to write, in seconds.
WAIT_S: Final = 5.0
#: What a call is known to have ended in whose record cannot be read here.
_UNREADABLE: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What came of cancelling a run or a call."""

    run: str
    #: The call; the run's own unless another was named.
    call: str
    #: How it ended: `cancelled`, or what it had ended in before; empty while it has no record.
    status: str
    #: It had ended before the cancellation: nothing was changed.
    too_late: bool

    @property
    def done(self) -> bool:
        """Whether it ended as cancelled."""
        return self.status == "cancelled"


class Cancellations:
    """Cancels by id, for one client."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._backend = host.backend
        self._settings = host.settings

    async def cancel(self, run: str, call: str = "", *, wait_s: float = WAIT_S) -> Cancellation:
        """Cancel `run` with all its calls, or its `call` with all that came of that.

        The run itself is ended here, even if no worker is alive; its other calls, and a single
        one, by the workers that hold or receive them: for a single one they get `wait_s` seconds
        before this returns without a status. Raises UnknownTarget for a run that was never
        submitted, UsageError for what is no id, and Unavailable when the server does not answer.
        """
        runs = Runs(self._backend, self._settings, self._host.clock)
        ref, _ = await runs.find(run)
        call = call or ref.future
        if not is_wire_token(call):
            raise UsageError(f"{call[:200]!r} is no id of a call")
        pattern = f"call.*.*.*.{ref.root}.*.{call}"
        if (status := await self._status(pattern)) is not None:
            return Cancellation(run, call, status, too_late=True)
        heard = asyncio.Event()
        watch = self._backend.ledger.watch(pattern, lambda _: heard.set())
        try:
            await self._ask(ref, FutureId(call))
            status = await self._status(pattern)
            if status is None:
                await set_within(heard, wait_s)
                status = await self._status(pattern)
        finally:
            watch.close()
        return Cancellation(run, call, status or "", too_late=False)

    async def _ask(self, ref: Ref, call: FutureId) -> None:
        now_s = self._host.clock.now_s()
        # The deadline is not known here: longer does no harm.
        until_s = now_s + self._settings.deadline_s + self._settings.retention_s
        await put_notice(self._backend, ref.root, call, now_s, until_s)
        if call == ref.future:
            error = ErrorInfo("cancelled", "Cancelled", f"run {RootId(ref.root)} was cancelled")
            record = bare_record(ref, "cancelled", error, now_s)
            await commit_end(self._backend, self._settings, record, until_s)

    async def _status(self, pattern: str) -> str | None:
        entries: list[LedgerEntry] = await self._backend.ledger.find(pattern)
        if not entries:
            return None
        try:
            return decode_record(entries[0].ref, entries[0].body).status
        except MalformedMessage:
            return _UNREADABLE
