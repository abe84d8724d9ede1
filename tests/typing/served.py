"""What the stub generator is tried on: every kind of parameter, type and default."""

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

import nalar


class Color(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


@dataclasses.dataclass
class Node:
    name: str
    children: list["Node"] = dataclasses.field(default_factory=list["Node"])
    color: Color = Color.RED


@dataclasses.dataclass
class Simple:
    """A simple "thing"."""

    a: int
    b: str | None = None
    c: set[str] = dataclasses.field(default_factory=set[str])
    d: dict[str, float] = dataclasses.field(default_factory=dict[str, float])


class Cat(BaseModel):
    kind: Literal["cat"]
    born: dt.datetime = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    raw: bytes = b"\xff"


class Dog(BaseModel):
    kind: Literal["dog"]
    price: decimal.Decimal


class Partial(TypedDict):
    x: int
    y: NotRequired[str]


Odd = TypedDict("Odd", {"from": str, "a-b": int})


class Names(RootModel[list[str]]):
    pass


class Zoo(BaseModel):
    """Zoo.

    Of many lines, with a \\ and a triple \"\"\" quote.
    """

    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    pair: tuple[int, str]
    many: tuple[int, ...]
    partial: Partial
    odd: Odd
    names: Names
    id: uuid.UUID
    day: dt.date
    span: dt.timedelta
    free: Any = None


class Keeper(nalar.Agent, stateful=True):
    """Keeps a zoo."""

    log: nalar.ManagedList[str]

    @nalar.method(read_only=True)
    async def find(
        self,
        node: Node,
        color: Color = Color.RED,
        *,
        since: dt.datetime = dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        how: Literal["a", "b"] = "a",
    ) -> Zoo | None:
        """Find a zoo.

        Slowly.
        """

    @nalar.method
    def tell(
        self, first: Simple, /, second: int | None = None, *rest: int, **named: Simple
    ) -> list[Simple]:
        return [first, *named.values()] * (second or len(rest))


@nalar.tool
async def search(ticker: str, count: int = 3) -> list[str]:
    return [ticker] * count


@nalar.workflow(name="my-flow")
def my_flow(simple: Simple, colors: list[Color], blobs: dict[str, bytes]) -> None:
    """Do nothing with it."""
