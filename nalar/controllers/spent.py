"""What the meter is told of a call that has ended. Pure."""

from typing import Protocol

from nalar.controllers.ranking import Traits


class Spent(Protocol):
    """A call that has ended here, and what it took; times in seconds."""

    @property
    def traits(self) -> Traits: ...

    @property
    def failed(self) -> bool: ...

    @property
    def deadline(self) -> float: ...

    @property
    def arrived_s(self) -> float: ...

    @property
    def started_s(self) -> float: ...

    @property
    def ended_s(self) -> float: ...

    @property
    def busy_s(self) -> float:
        """For how long its code has run; in a batch, its share of that."""
        ...

    @property
    def tokens(self) -> dict[str, int] | None:
        """By model."""
        ...
