"""What every test gets from the folder it lies in. Fixtures do not belong here.

Markers, time limits and the xdist group: a file stays on one process, so that its server is started
once, and end-to-end tests share one process, so that they do not take each other's processor.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: The folders that need a server or processes: seconds that one of their tests may take.
TIMEOUTS_S = {"integration": 60, "faults": 120, "e2e": 120, "chaos": 120}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        _mark_by_folder(item)
        if item.get_closest_marker("chaos") and "chaos" not in str(config.getoption("markexpr")):
            item.add_marker(pytest.mark.skip(reason="takes long: `make chaos` runs it"))
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)  # the longest go first


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("nats") and not _has_nats_server():
        if os.environ.get("CI"):
            pytest.fail("there is no nats-server on this machine, and CI is set")
        pytest.skip("there is no nats-server on this machine")


def _mark_by_folder(item: pytest.Item) -> None:
    path = item.path.relative_to(TESTS)
    folder = path.parts[0]
    item.add_marker(pytest.mark.xdist_group("e2e" if folder == "e2e" else path.as_posix()))
    if folder in TIMEOUTS_S:
        item.add_marker("nats")
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUTS_S[folder]))
    if folder == "e2e":
        item.add_marker("e2e")


def _has_nats_server() -> bool:
    beside_python = Path(sys.executable).with_name("nats-server")
    return beside_python.exists() or shutil.which("nats-server") is not None
