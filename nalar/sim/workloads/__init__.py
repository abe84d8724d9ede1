"""The workloads that come with the simulator, by name."""

from collections.abc import Callable
from typing import Final

from nalar.errors import UsageError, suggest
from nalar.sim.workload import Size, Workload
from nalar.sim.workloads.financial import Financial
from nalar.sim.workloads.router import Router
from nalar.sim.workloads.software import Software

#: Makes a workload of a size, by name.
WORKLOADS: Final[dict[str, Callable[[Size], Workload]]] = {
    workload.name: workload for workload in (Financial, Router, Software)
}


def workload_of(name: str, size: Size) -> Workload:
    """Return a workload by its name; raises UsageError, with a suggestion, when there is none."""
    make = WORKLOADS.get(name)
    if make is None:
        known = list(WORKLOADS)
        raise UsageError(
            f"no workload is named {name!r}.{suggest(name, known)} There are: {', '.join(known)}"
        )
    return make(size)
