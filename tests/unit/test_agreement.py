"""What the processes of a cluster agree on when one of them begins."""

import pytest

from nalar.client.agreement import SLOTS, agreed
from nalar.errors import Unavailable
from nalar.settings import Settings
from nalar.statestore.port import KeyValueEntry


class Electing:
    """A control bucket whose servers elect a leader while the first few read."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    async def get(self, key: str) -> KeyValueEntry | None:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("reading KV_nalar_control: JetStream system temporarily unavailable")
        return KeyValueEntry(key, 1, b"32")


async def test_who_begins_while_servers_elect_a_leader_waits_for_it() -> None:
    control = Electing(refusals=2)
    settings = await agreed(control, Settings())  # pyright: ignore[reportArgumentType] -- reads alone
    assert (settings.slots, control.refusals) == (32, 0)


async def test_what_is_no_number_is_told_at_once() -> None:
    class Strange(Electing):
        async def get(self, key: str) -> KeyValueEntry | None:
            return KeyValueEntry(key, 1, b"many")

    with pytest.raises(Unavailable, match=SLOTS):
        await agreed(Strange(0), Settings())  # pyright: ignore[reportArgumentType] -- reads alone
