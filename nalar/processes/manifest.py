"""`nalar.toml`: what runs on a machine, read and checked. Pure.

All that is wrong with a file is told at once, each with its path in the file.
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from nalar.cluster.deployment import Declared, Deployment
from nalar.cluster.nodes import Group
from nalar.errors import UsageError, suggest
from nalar.ids import is_wire_token
from nalar.processes.toml_table import Table
from nalar.settings import Settings

#: Settings that `[server]` is for.
_OF_SERVER: Final = {"url", "creds"}
_CONCURRENCY_MAX: Final = 100_000
_PORT_MAX: Final = 65_535


class ManifestError(UsageError):
    """A file that cannot be what was meant; the message has a line for each flaw."""

    code = "manifest"


@dataclass(frozen=True, slots=True)
class ServerTable:
    """`[server]`: one that is there, or one to start."""

    url: str = ""
    creds: str = ""
    port: int = 4222
    store: str = ".nalar"
    sync: str = "always"


@dataclass(frozen=True, slots=True)
class NodeTable:
    """`[node]`: this machine."""

    name: str = ""
    max_workers: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class AgentsTable:
    """`[agents.NAME]`: agents that share their workers. What is None says the code."""

    name: str
    module: str
    #: Empty: the agent of the table's name; None: all of the module that no other table serves.
    serves: tuple[str, ...] | None = ()
    replicas: int | None = None
    concurrency: int | None = None
    min: int | None = None
    max: int | None = None
    resources: Mapping[str, float] | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The agents that it names."""
        return () if self.serves is None else self.serves or (self.name,)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One file."""

    #: None: whichever the command line or the environment names.
    server: ServerTable | None = None
    node: NodeTable = NodeTable()
    agents: tuple[AgentsTable, ...] = ()
    #: As `nalar controller --policy` takes them: `NAME,parameter=value`, in order of precedence.
    policies: tuple[str, ...] = ()
    #: Settings as the environment has them: text by name.
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def modules(self) -> list[str]:
        """The modules that it serves, once each."""
        return list(dict.fromkeys(table.module for table in self.agents))


def parse_manifest(text: str, where: str = "nalar.toml") -> Manifest:
    """Return what a file says; raises ManifestError, naming all that is wrong with it."""
    try:
        told: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{where} is no TOML: {error}") from error
    flaws: list[str] = []
    root = Table("", told, flaws)
    server = root.table("server")
    found = Manifest(
        _server(server) if "server" in told else None,
        _node(root.table("node")),
        _agents(root.table("agents")),
        _policies(root, flaws),
        _settings(root.table("settings")),
    )
    root.close()
    if root.told.get("agents", {}) == {}:
        flaws.append('nothing to serve: [agents.NAME] with module = "flows.py"')
    if flaws:
        raise ManifestError("\n".join(f"{where}: {flaw}" for flaw in flaws))
    return found


def deployed(
    manifest: Manifest, declared: Mapping[str, Sequence[Declared]], where: str = "nalar.toml"
) -> list[Deployment]:
    """Return what a manifest has to be run, given what its modules declare.

    Raises ManifestError, naming all that does not fit together.
    """
    flaws: list[str] = []
    named: dict[str, str] = {}
    for table in manifest.agents:
        known = [it.name for it in declared[table.module]]
        for agent in table.named:
            if agent not in known:
                flaws.append(_undeclared(table, agent, known))
            elif agent in named:
                flaws.append(f"{agent} is served by agents.{named[agent]} and agents.{table.name}")
            else:
                named[agent] = table.name
    found = [_deployment(it, declared[it.module], named, flaws) for it in manifest.agents]
    if flaws:
        raise ManifestError("\n".join(f"{where}: {flaw}" for flaw in flaws))
    return [it for it in found if it is not None]


def _undeclared(table: AgentsTable, agent: str, known: Sequence[str]) -> str:
    told = f"agents.{table.name}: {table.module} declares no {agent!r}.{suggest(agent, known)}"
    if not table.serves:
        listed = ", ".join(f'"{name}"' for name in known[:3])
        told += f" Its name is that of an agent, or say what it serves: serves = [{listed}]"
    return told


def _deployment(
    table: AgentsTable,
    declared: Sequence[Declared],
    named: dict[str, str],
    flaws: list[str],
) -> Deployment | None:
    """Return what a table has to be run; None, or a flaw, when there is nothing."""
    if table.serves is None:
        members = [it for it in declared if it.name not in named]
        named |= {it.name: table.name for it in members}
    else:
        members = [it for it in declared if it.name in table.named]
    path = f"agents.{table.name}"
    if not members:
        if table.serves is None:
            flaws.append(f"{path}: all that {table.module} declares is served by other tables")
        return None
    low = table.min if table.min is not None else max(it.min for it in members)
    bounds = [it.max for it in members if it.max is not None]
    high = table.max if table.max is not None else min(bounds, default=None)
    replicas = table.replicas if table.replicas is not None else max(1, low)
    if high is not None and high < low:
        flaws.append(f"{path}: max = {high} is below min = {low}")
    elif replicas < low:
        flaws.append(f"{path}: replicas = {replicas} is below min = {low}")
    elif high is not None and replicas > high:
        flaws.append(f"{path}: replicas = {replicas} is above max = {high}")
    needs: dict[str, float] = {}
    for it in members:
        needs |= {kind: max(need, needs.get(kind, 0.0)) for kind, need in it.resources.items()}
    resources = needs if table.resources is None else dict(table.resources)
    agents = tuple(it.name for it in members)
    group = Group(table.name, agents, replicas, low, high, resources)
    return Deployment(table.module, group, table.concurrency)


# Reading.


def _server(table: Table) -> ServerTable:
    url, default = table.text("url"), ServerTable()
    found = ServerTable(
        url,
        table.text("creds"),
        _or(table.count("port", 0, _PORT_MAX), default.port),
        table.text("store", default.store),
        table.text("sync", default.sync),
    )
    if found.sync not in ("always", "default"):
        table.refuse("sync", '"always" or "default"')
    table.close()
    if url and (ours := [key for key in ("port", "store", "sync") if key in table.told]):
        table.flaws.append(
            f"server: {ours[0]} is for a server that is started here, and url for one that is there"
        )
    return found


def _node(table: Table) -> NodeTable:
    name = table.text("name")
    if name and not is_wire_token(name):
        table.refuse("name", "made of letters, digits, - and _")
    found = NodeTable(name, table.count("max_workers", 1), table.amounts("resources") or {})
    table.close()
    return found


def _agents(table: Table) -> tuple[AgentsTable, ...]:
    found: list[AgentsTable] = []
    for name in table.told:
        one = table.table(name)
        module = one.text("module")
        if isinstance(table.told[name], dict) and "module" not in one.told:
            one.flaws.append(f'{one.path} needs a module, for instance module = "flows.py"')
        found.append(
            AgentsTable(
                name,
                module,
                _serves(one),
                one.count("replicas", 0),
                one.count("concurrency", 1, _CONCURRENCY_MAX),
                one.count("min", 0),
                one.count("max", 1),
                one.amounts("resources"),
            )
        )
        one.close()
    return tuple(found)


def _serves(table: Table) -> tuple[str, ...] | None:
    value = table.get("serves")
    if value == "all":
        return None
    names = cast("list[object]", value) if isinstance(value, list) else []
    if value is not None and not (names and all(isinstance(it, str) for it in names)):
        table.refuse("serves", 'a list of agents, or "all"')
        return ()
    return tuple(dict.fromkeys(map(str, names)))


def _policies(root: Table, flaws: list[str]) -> tuple[str, ...]:
    value = root.get("policies")
    if value is None:
        return ()
    if not isinstance(value, list):
        root.refuse("policies", "a list of names or tables: [[policies]]")
        return ()
    found: list[str] = []
    for number, it in enumerate(cast("list[object]", value), 1):
        table = Table(f"policies {number}", {}, flaws)
        if isinstance(it, str):
            found.append(it)
        elif isinstance(it, dict):
            table.told = cast("dict[str, object]", it)
            found.append(_policy(table))
        else:
            flaws.append(f"policies {number} is a name or a table, not {it!r:.100}")
    return tuple(found)


def _policy(table: Table) -> str:
    name = table.text("name")
    if not name:
        table.flaws.append(f'{table.path} needs a name, for instance name = "autoscale"')
    parts = [name]
    for key, value in table.told.items():
        if key == "name":
            continue
        if isinstance(value, bool):
            parts.append(f"{key}={str(value).lower()}")
        elif isinstance(value, str | int | float):
            parts.append(f"{key}={value}")
        else:
            table.refuse(key, "a text, a number or true or false")
    return ",".join(parts)


def _settings(table: Table) -> dict[str, str]:
    found: dict[str, str] = {}
    kinds: dict[str, type] = {
        it.name: type(it.default)
        for it in dataclasses.fields(Settings)
        if it.name not in _OF_SERVER
    }
    for name, kind in kinds.items():
        value: Any = table.get(name)
        if value is None:
            continue
        whole = kind is int and type(value) is int
        if whole or (kind is float and type(value) in (int, float)) or (kind is str is type(value)):
            found[name] = str(value)
        else:
            expected = {int: "a whole number", float: "a number", str: "a text"}[kind]
            table.refuse(name, expected)
    for key in table.told:
        if key not in kinds:
            table.flaws.append(f"{table.at(key)} is no setting.{suggest(key, list(kinds))}")
    return found


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
