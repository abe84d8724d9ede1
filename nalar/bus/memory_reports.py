"""Metric reports in memory, through the real codec."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from nalar.bus.memory import check_size
from nalar.reports import Report, decode_report, encode_report


class ReportFeed:
    """Who listens; shared by the clients of one process."""

    def __init__(self) -> None:
        self.listeners: dict[ReportWatch, Callable[[Report], None]] = {}
        #: Who is asked for full reports.
        self.asked: dict[ReportWatch, Callable[[], None]] = {}

    def tell(self, body: bytes) -> None:
        """Tell all listeners, soon."""
        loop = asyncio.get_running_loop()
        for watch, deliver in self.listeners.items():
            loop.call_soon(watch.unless_closed, partial(deliver, decode_report(body)))

    def ask(self) -> None:
        """Ask all workers, soon."""
        loop = asyncio.get_running_loop()
        for watch, notify in self.asked.items():
            loop.call_soon(watch.unless_closed, notify)


class ReportWatch:
    """`bus.port.Watch` of reports, or of those who ask for them."""

    def __init__(self, watches: dict["ReportWatch", Any]) -> None:
        self._watches = watches

    def unless_closed(self, notify: Callable[[], None]) -> None:
        if self in self._watches:
            notify()

    def close(self) -> None:
        self._watches.pop(self, None)


class MemoryReports:
    """`bus.port.Reports` in memory."""

    def __init__(self, feed: ReportFeed) -> None:
        self.closed = False
        self._feed = feed

    def publish(self, report: Report) -> None:
        if self.closed or not self._feed.listeners:
            return
        body = encode_report(report)
        check_size(len(body), f"a metric report of {report.worker}")
        self._feed.tell(body)

    def watch(self, deliver: Callable[[Report], None]) -> ReportWatch:
        watch = ReportWatch(self._feed.listeners)
        self._feed.listeners[watch] = deliver
        self.ask()
        return watch

    def ask(self) -> None:
        if not self.closed:
            self._feed.ask()

    def on_ask(self, notify: Callable[[], None]) -> ReportWatch:
        watch = ReportWatch(self._feed.asked)
        self._feed.asked[watch] = notify
        return watch
