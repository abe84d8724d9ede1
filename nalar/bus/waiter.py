"""One request to the server and whoever waits for its reply; adapters make kinds of their own."""

import asyncio
from typing import Any, ClassVar

from nalar.errors import NalarError


class Waiter:
    """One request and whoever waits for its reply."""

    #: Whether a cluster does it only with a majority of its servers: what is stored, and no read.
    stores: ClassVar[bool] = False
    __slots__ = ("asked_at", "body", "deadline", "future", "headers", "resends", "subject", "token")

    def __init__(
        self, subject: str, body: bytes, headers: bytes | None = None, *, resends: bool = True
    ) -> None:
        self.subject = subject
        self.body = body
        self.headers = headers
        #: Whether it may be sent again: after a loss of the connection, and in a cluster's silence.
        self.resends = resends
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.deadline = 0.0
        #: When it was sent last, or when the newest part of its answer came.
        self.asked_at = 0.0
        self.token = b""

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        """Take a reply and say whether it was the last one; a NalarError raised is the result."""
        del headers
        self.resolve(data)
        return True

    def resolve(self, value: object) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: NalarError) -> None:
        """End without a reply."""
        if not self.future.done():
            self.future.set_exception(error)

    def before_resend(self) -> None:
        """Prepare for being sent again when the first time may have taken effect."""
