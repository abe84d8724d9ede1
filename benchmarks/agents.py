"""What Nalar serves in the benchmark: calls that do as little as a call can."""

import asyncio

import nalar


@nalar.tool
async def noop(value: int) -> int:
    """Return the value: all that is measured is the way there and back."""
    return value


class Counter(nalar.Agent, stateful=True):
    """A session whose state every call changes."""

    total: nalar.ManagedValue[int]

    @nalar.method
    async def add(self, amount: int) -> int:
        """Add to the total and return it."""
        total = self.total.get(0) + amount
        self.total.value = total
        return total


@nalar.workflow
async def fan(width: int) -> int:
    """Call `width` children at once and join them."""
    return sum(await nalar.gather(*(noop(value) for value in range(width))))


@nalar.tool
async def nap(seconds: float) -> None:
    """Sleep: what an agent does while a model answers."""
    await asyncio.sleep(seconds)
