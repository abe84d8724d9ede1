"""Metric reports in memory, through the real codec."""

import asyncio
from collections.abc import Callable

from nalar.bus.memory import check_size
from nalar.reports import Report, decode_report, encode_report


class ReportFeed:
    """Who listens; shared by the clients of one process."""

    def __init__(self) -> None:
        self.listeners: dict[ReportWatch, Callable[[Report], None]] = {}

    def tell(self, body: bytes) -> None:
        """Tell all listeners, soon."""
        loop = asyncio.get_running_loop()
        for watch in self.listeners:
            loop.call_soon(self._deliver, watch, decode_report(body))

    def _deliver(self, watch: "ReportWatch", report: Report) -> None:
        deliver = self.listeners.get(watch)
        if deliver is not None:
            deliver(report)


class ReportWatch:
    """`bus.port.Watch` of all reports."""

    def __init__(self, feed: ReportFeed) -> None:
        self._feed = feed

    def close(self) -> None:
        self._feed.listeners.pop(self, None)


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
        watch = ReportWatch(self._feed)
        self._feed.listeners[watch] = deliver
        return watch
