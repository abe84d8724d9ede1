"""A server whose disk is full. It needs a small disk: the right to mount one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import nalar
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.diagnose import Finding, diagnose
from tests.contract.worlds import kill_and_restart
from tests.faults.bank import Bank, opened
from tests.nodes import eventually

SIZE = "24m"
#: Larger than what a file may have left of its last page.
LARGE = "x" * 20_000


class FaultsShelf(nalar.Agent, stateful=True):
    """Remembers large texts."""

    lengths: nalar.ManagedList[int]

    @nalar.method
    async def put(self, text: str) -> list[int]:
        self.lengths.append(len(text))
        return list(self.lengths)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here: that needs privileges")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is; remove the file to give it back."""
    file = disk / "fill"
    with file.open("wb") as out:
        try:
            while True:
                out.write(b"0" * 65_536)
                out.flush()
        except OSError:
            os.fsync(out.fileno())
    return file


async def wrong(bank: Bank) -> list[Finding]:
    return [one for one in await diagnose(bank.cluster.settings) if one.state == "wrong"]


async def test_calls_wait_while_the_disk_is_full_and_the_doctor_says_so(
    disk: Path, tmp_path: Path, free_port: int
) -> None:
    options = ServerOptions(disk, port=free_port)
    async with EmbeddedServer(options) as server, opened(server.url, tmp_path) as bank:
        await bank.heir("FaultsShelf")
        shelf = FaultsShelf.options(session="s")
        assert await shelf.put("") == [0]
        assert await wrong(bank) == []
        full = fill(disk)
        asked = shelf.put(LARGE)
        [found] = await wrong(bank)
        assert "does not store" in found.what
        assert "restart" in found.remedy
        assert not asked.done(), "no answer is no failure"
        full.unlink()
        await kill_and_restart(server)
        assert await asked == [0, len(LARGE)]

        async def well() -> bool:
            return await wrong(bank) == []

        # While nothing could be stored the worker's entry has lapsed: it comes with its next beat.
        await eventually(well, "the worker is alive again")
