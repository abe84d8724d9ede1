"""Keeps house in a run, far more eagerly than `nalar server`: logs are cut as they grow."""

import asyncio

from nalar import connect
from nalar.client import housekeeping
from nalar.client.archiving import Bounds
from nalar.client.housekeeping import Housekeeper, Swept
from tests.chaos import counted

#: So short that whoever was frozen for a while finds entries gone.
BOUNDS = Bounds(long=8, kept=3)
ROUND_S = 0.3
#: A keeper that was killed at work keeps the other away for so long only.
TURN_S = 1.0


def _count(swept: Swept | None) -> None:
    if swept is not None and swept.archived:
        counted.note("archived")


async def main() -> None:
    """Keep house until killed."""
    housekeeping.KEEPER_S = TURN_S  # type: ignore[misc]  -- a constant, elsewhere
    async with connect() as client:
        keeper = Housekeeper(client.host.backend, client.host.settings, bounds=BOUNDS)
        await keeper.run(ROUND_S, tell=_count)


if __name__ == "__main__":
    asyncio.run(main())
