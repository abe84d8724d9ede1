"""A folder of the user's own, outside the repository, and a server for each test module."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import MARK, Nalar

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nalar]:
    """A folder outside the repository with `flows.py` in it; no server."""
    folder = tmp_path_factory.mktemp("workshop")
    shutil.copy(HERE / "flows.py", folder)
    # What this machine happens to be set to must not be what makes the commands work.
    ours = ("NATS_", "NALAR_", "PYTHONUNBUFFERED")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ |= {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli"))),
        "TMPDIR": str(folder),
        "NALAR_SET_GRACE_S": "10",
    }
    made = Nalar(folder, environ)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture
def nalar(workshop: Nalar, request: pytest.FixtureRequest) -> Iterator[Nalar]:
    """Commands that find no server by themselves; what a test starts ends with it."""
    mark = {MARK: f"{request.node.nodeid}-{os.getpid()}"}
    made = Nalar(workshop.folder, workshop.environ | mark)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture(scope="module")
def url(workshop: Nalar) -> str:
    """Address of a server that `nalar server` runs for this module."""
    server = workshop.start("server", "--port", 0, "--store", workshop.folder / "store",
                            "--sync", "default")  # fmt: skip
    return server.says(r"nats-server on (nats://\S+),").group(1)


@pytest.fixture
def served(nalar: Nalar, url: str) -> Nalar:
    """Commands that find this module's server, as NATS_URL says."""
    return Nalar(nalar.folder, nalar.environ | {"NATS_URL": url}, nalar.started)
