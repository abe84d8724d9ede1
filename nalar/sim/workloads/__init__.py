"""The workloads that come with the simulator, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from nalar.errors import UsageError, suggest
from nalar.sim.workload import Size, Workload
from nalar.sim.workloads.financial import Financial
from nalar.sim.workloads.recorded import Recorded
from nalar.sim.workloads.router import Router
from nalar.sim.workloads.software import Software

#: Makes a workload of a size, by name.
WORKLOADS: Final[dict[str, Callable[[Size], Workload]]] = {
    workload.name: workload for workload in (Financial, Router, Software)
}


def workload_of(name: str, size: Size) -> Workload:
    """Return a workload by its name, or that of a file: one with a dot or a slash in its name.

    Raises UsageError, with a suggestion, when there is none, or when the file is none.
    """
    make = WORKLOADS.get(name)
    if make is not None:
        return make(size)
    if "." in name or "/" in name:
        return Recorded(Path(name), size)
    known = list(WORKLOADS)
    raise UsageError(
        f"no workload is named {name!r}.{suggest(name, known)} There are: {', '.join(known)}; "
        "or name a file of recorded requests"
    )
