"""Every knob, with its unit, default and reason. The environment is read by `from_environment`."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from nalar.call_policy import LONGEST_S
from nalar.errors import UsageError, suggest

MIB = 1024 * 1024
_SCHEMES = ("nats", "tls", "ws", "wss")
#: In a list of addresses: who we are at one of them.
_WHO = re.compile(r"(^|//|,\s*)[^/,]*@")


@dataclass(frozen=True, slots=True)
class Settings:
    """How one process of Nalar behaves. Frozen; `dataclasses.replace` makes a variant."""

    #: Where the server is; several are separated by commas.
    url: str = "nats://127.0.0.1:4222"
    #: Path of a credentials file (JWT and seed), as the `nats` tool writes them.
    creds: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    nkey: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    #: Copies of each stream on a cluster of servers; one that stands alone keeps one.
    replicas: int = 3
    #: How long to try for a first connection before saying what was tried.
    connect_timeout_s: float = 5.0

    #: Calls that run at the same time in one worker process.
    concurrency: int = 16
    #: Messages asked for ahead of free execution slots, per execution slot.
    prefetch_factor: float = 2.0
    #: Stable mailboxes of a stateful agent; the same in every process for ever.
    slots: int = 16
    #: How long a worker owns a slot, and a message, without a sign of life.
    lease_s: float = 12.0
    #: How long running calls may go on after Ctrl-C or SIGTERM.
    grace_s: float = 20.0
    #: How long code may go on after it was told to stop (its call was cancelled, or ran for too
    #: long): then its worker process drains and ends, and the code with it.
    stop_grace_s: float = 30.0
    #: How long code may block a worker's event loop: then the process ends, as if it had crashed.
    block_max_s: float = 300.0

    #: A request's deadline unless it names one: seven days.
    deadline_s: float = 7 * 86_400.0
    #: How much longer than its deadline a result is kept.
    retention_s: float = 7 * 86_400.0
    #: How long a publish or commit may stay unanswered before it counts as unknown.
    reply_timeout_s: float = 10.0
    #: How long a resumed call may rest on a new call that is withheld from it (`on_orphan`) before
    #: it ends with NonDeterminismError: something else of it may still be at work.
    orphan_patience_s: float = 5.0
    #: How long a call waits for a timer or a signal, or is about to, before it is suspended: then
    #: no worker holds anything of it, and its code runs again when the wait is over.
    suspend_after_s: float = 5.0
    #: The same for one that waits for nothing but calls it has made. Longer: most of those end
    #: soon, and its code may never have asked to be begun again.
    suspend_on_calls_after_s: float = 60.0
    #: How often the oldest awaited results are read again, in case a notification was lost.
    reread_s: float = 5.0

    #: Deaths of a worker during one call, those of the first delivery aside, after which the call
    #: ends as crashed instead of being started again.
    crashes_max: int = 5

    #: Largest argument list, result or state of one call; larger ones are refused by name.
    value_max_bytes: int = 64 * MIB
    #: Deepest nesting of a value.
    depth_max: int = 100
    #: Commits between two snapshots of a busy session.
    snapshot_every: int = 100
    #: How long a session's snapshot remembers which calls are part of it: longer than any
    #: message may be redelivered after its call has committed.
    horizon_s: float = 3_600.0
    #: Sessions whose state a worker keeps in memory.
    sessions_cached: int = 10_000

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value: object = getattr(self, each.name)
            if not isinstance(value, int | float):
                continue
            if not 0 < value < math.inf:
                raise UsageError(f"setting {each.name} must be a number above 0, not {value!r}")
            if each.name.endswith("_s") and value > LONGEST_S:
                raise UsageError(
                    f"setting {each.name} is a number of seconds up to {LONGEST_S:,.0f}, not "
                    f"{value!r}"
                )
        for address in self.addresses or [""]:
            _check_address(address)

    @property
    def addresses(self) -> list[str]:
        """Where the servers are, one by one."""
        return [text.strip() for text in self.url.split(",") if text.strip()]


def without_secrets(text: str) -> str:
    """Return addresses as they may be shown: without who we are there, and the password."""
    return _WHO.sub(r"\1***@", text)


def _check_address(address: str) -> None:
    """Raise UsageError unless `address` can be a NATS server's."""
    scheme, there, _ = address.partition("://")
    try:
        parts = urlsplit(address if there else f"nats://{address}")
        fits = bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or (there and scheme not in _SCHEMES) or any(map(str.isspace, address)):
        raise UsageError(
            f"{without_secrets(address)!r} is no address of a NATS server: write "
            "nats://HOST:PORT (or tls, ws, wss), several with commas between them"
        )


#: The names that the `nats` tool knows, then our own prefix for everything.
_NATS_NAMES = {
    "NATS_SERVER": "url",
    "NATS_URL": "url",
    "NATS_CREDS": "creds",
    "NATS_USER": "user",
    "NATS_PASSWORD": "password",
    "NATS_TOKEN": "token",
    "NATS_NKEY": "nkey",
    "NATS_CA": "ca",
    "NATS_CERT": "cert",
    "NATS_KEY": "key",
}
_PREFIX = "NALAR_SET_"


def from_environment(environ: Mapping[str, str], **overrides: object) -> Settings:
    """Return the settings that `environ` names; `overrides` that are not None win.

    `NATS_URL`, `NATS_CREDS` and their kin mean what they mean to the `nats` tool;
    `NALAR_SET_<NAME>` sets any field, for instance `NALAR_SET_LEASE_S=5`.
    Raises UsageError for a name that is no setting or a value that does not parse.
    """
    values: dict[str, object] = {
        setting: environ[name] for name, setting in _NATS_NAMES.items() if environ.get(name)
    }
    kinds: dict[str, Callable[[str], object]] = {
        each.name: type(each.default) for each in dataclasses.fields(Settings)
    }
    for name, text in environ.items():
        if not name.startswith(_PREFIX):
            continue
        setting = name.removeprefix(_PREFIX).lower()
        if setting not in kinds:
            raise UsageError(f"{name} names no setting.{suggest(setting, list(kinds))}")
        try:
            values[setting] = kinds[setting](text)
        except ValueError as error:
            raise UsageError(f"{name}={text!r} is not a valid number") from error
    values |= {name: value for name, value in overrides.items() if value is not None}
    return Settings(**values)  # type: ignore[arg-type]  -- checked field by field above
