"""What every test gets from the folder it lies in. Fixtures do not belong here.

Markers, time limits and the order of the files: those that keep the processor busy lie beside those
that wait for leases, so that several at a time leave no core idle.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: The folders that need a server or processes: seconds that one of their tests may take.
TIMEOUTS_S = {"integration": 60, "faults": 120, "e2e": 120, "chaos": 120}
#: The folders whose tests are minutes long: theirs must not be the files that everyone waits for.
FIRST = ("e2e", "chaos", "integration", "contract", "faults", "simulation")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        _mark_by_folder(item)
        if item.get_closest_marker("chaos") and "chaos" not in str(config.getoption("markexpr")):
            item.add_marker(pytest.mark.skip(reason="takes long: `make chaos` runs it"))
    place = _places({item.path for item in items})
    items.sort(key=lambda item: place[item.path])


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("nats") and not _has_nats_server():
        if os.environ.get("CI"):
            pytest.fail("there is no nats-server on this machine, and CI is set")
        pytest.skip("there is no nats-server on this machine")


def _mark_by_folder(item: pytest.Item) -> None:
    path = item.path.relative_to(TESTS)
    folder = path.parts[0]
    if folder in TIMEOUTS_S:
        item.add_marker("nats")
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUTS_S[folder]))
    if folder == "e2e":
        item.add_marker("e2e")


def _places(files: set[Path]) -> dict[Path, tuple[bool, float, Path]]:
    """Return what to order the files by: each folder's spread over the run, its largest first."""
    folders: dict[str, list[Path]] = {}
    for file in sorted(files, key=lambda file: (-file.stat().st_size, file)):
        folders.setdefault(file.relative_to(TESTS).parts[0], []).append(file)
    return {
        file: (folder not in FIRST, place / len(listed), file)
        for folder, listed in folders.items()
        for place, file in enumerate(listed)
    }


def _has_nats_server() -> bool:
    beside_python = Path(sys.executable).with_name("nats-server")
    return beside_python.exists() or shutil.which("nats-server") is not None
