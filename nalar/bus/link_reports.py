"""Metric reports over core NATS: nothing of them is stored."""

import contextlib
from collections.abc import Callable

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.errors import MalformedMessage, ValueTooLarge
from nalar.reports import Report, decode_report, encode_report


class _Subscription:
    """`bus.port.Watch` of one subject."""

    def __init__(self, link: Link, sid: int) -> None:
        self._link = link
        self._sid = sid

    def close(self) -> None:
        self._link.unsubscribe(self._sid)


class LinkReports:
    """`bus.port.Reports` over a link."""

    def __init__(self, link: Link, max_bytes: int) -> None:
        self._link = link
        self._max_bytes = max_bytes

    def publish(self, report: Report) -> None:
        body = encode_report(report)
        if len(body) > self._max_bytes:  # The server would close the connection.
            raise ValueTooLarge(
                f"a metric report of {len(body):,} bytes; it may have {self._max_bytes:,}"
            )
        self._link.ask(subjects.metrics_subject(report.worker), "", body)

    def watch(self, deliver: Callable[[Report], None]) -> _Subscription:
        def received(_: bytes, __: bytes, payload: bytes, ___: bytes | None) -> None:
            with contextlib.suppress(MalformedMessage):  # A later version's, or a foreign hand's.
                deliver(decode_report(payload))

        watch = _Subscription(self._link, self._link.subscribe(subjects.METRICS_FILTER, received))
        self.ask()
        return watch

    def ask(self) -> None:
        self._link.ask(subjects.METRICS_ASK, "", b"")

    def on_ask(self, notify: Callable[[], None]) -> _Subscription:
        def received(_: bytes, __: bytes, ___: bytes, ____: bytes | None) -> None:
            notify()

        return _Subscription(self._link, self._link.subscribe(subjects.METRICS_ASK, received))
