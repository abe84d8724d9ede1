"""Hearing of directives: every worker watches them, and lists what it may have missed.

So does every client those that say which requests are let in.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from nalar.backend import Backend
from nalar.bus.port import Watch
from nalar.directives import (
    BY_HAND,
    DIRECTIVE,
    Directive,
    Drain,
    Issued,
    Kill,
    Limit,
    Route,
    SetPriority,
    decode_directive,
)
from nalar.errors import MalformedMessage
from nalar.loops import at_turns
from nalar.statestore.heard import Heard
from nalar.statestore.port import KeyValueEntry

log = logging.getLogger("nalar.worker")

#: How often all directives are listed again, in case a notice was lost, in seconds.
_LIST_S: Final = 30.0

#: Called with each directive that stands from now on, or that no longer does.
Obey = Callable[[Directive, bool], None]


class DirectiveWatch:
    """Keeps one process to the standing directives, all of them or those under a prefix."""

    def __init__(self, backend: Backend, obey: Obey, prefix: str = DIRECTIVE) -> None:
        self._control = backend.control
        self._prefix = prefix
        self._obey = obey
        #: What stands, by key.
        self._standing: dict[str, Issued] = {}
        self._told = Heard()
        self._again = asyncio.Event()
        self._watch: Watch | None = None
        backend.on_reconnect(self._again.set)

    @property
    def applied(self) -> int:
        """Revision of the newest directive that is obeyed, or of its withdrawal."""
        return self._told.newest

    async def begin(self) -> None:
        """Watch, and obey what stands: no call may be started before. May be called again."""
        if self._watch is None:
            self._watch = self._control.watch(self._prefix, self._heard)
            await self._list()

    async def run(self) -> None:
        """List the directives again after each reconnect and now and then, until cancelled."""
        await at_turns(self._again, _LIST_S, self._list)

    async def _list(self) -> None:
        since = self._told.newest
        listed = await self._control.scan(self._prefix)
        for entry in self._told.news(self._prefix, listed, since=since):
            self._apply(entry)

    def _heard(self, entry: KeyValueEntry) -> None:
        if self._told.note(entry.key, entry.revision):
            self._apply(entry)

    def _apply(self, entry: KeyValueEntry) -> None:
        if not entry.value:
            self._withdraw(entry.key)
            return
        try:
            issued = decode_directive(entry.key, entry.value)
        except MalformedMessage as error:
            log.warning("a directive is not obeyed: %s", error)
            self._withdraw(entry.key)
            return
        before = self._standing.get(entry.key)
        self._standing[entry.key] = issued
        same = before is not None and before.directive == issued.directive
        if same and not isinstance(issued.directive, Drain | Kill):
            return  # It was renewed; an end that is asked for once more is meant once more.
        why = f" ({issued.reason})" if issued.reason else ""
        log.log(_level(issued), "%s directs%s: %s", issued.by, why, issued.directive)
        self._obey(issued.directive, False)

    def _withdraw(self, key: str) -> None:
        issued = self._standing.pop(key, None)
        if issued is not None:
            log.log(_level(issued), "no longer directed: %s", issued.directive)
            self._obey(issued.directive, True)


def _level(issued: Issued) -> int:
    """Return how loud to be of a directive: policies issue thousands of some kinds."""
    many = issued.by != BY_HAND and isinstance(issued.directive, Route | SetPriority | Limit)
    return logging.DEBUG if many else logging.INFO
