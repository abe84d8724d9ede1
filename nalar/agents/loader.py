"""Loading MODULE, a file or a dotted name, and finding what it declares.

A file is loaded as `python file.py` would: its folder comes first on `sys.path`, and its module
has the file's own name. So every process that loads it declares the same agents.
"""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from nalar.agents.functions import Function
from nalar.agents.method import SPEC
from nalar.agents.registry import REGISTRY, is_elsewhere, method_of, torn
from nalar.agents.spec import AgentSpec, MethodSpec
from nalar.errors import UsageError, suggest

#: Folders whose frames are not the user's.
_PYTHON = Path(os.__file__).resolve().parent
_NALAR = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Loaded:
    """A module and what a worker can serve from it."""

    module: ModuleType
    #: Declared in the module or imported into it, by name.
    agents: tuple[AgentSpec, ...]
    #: What `MODULE:ATTR` named; None without it.
    target: MethodSpec | None = None


def load(text: str, *, cwd: str | None = None) -> Loaded:
    """Load `MODULE` or `MODULE:ATTR`; raises UsageError naming what is missing.

    ATTR is a tool, a workflow, an agent with one method, or `Agent.method`.
    """
    where, _, attribute = _split(text)
    module = load_module(where, Path(cwd or Path.cwd()))
    agents = agents_of(module)
    if not agents and not attribute:
        raise UsageError(
            f"{where} declares no agent, tool or workflow: write @nalar.workflow on a function, "
            "@nalar.tool, or class X(nalar.Agent)"
        )
    if not attribute:
        return Loaded(module, agents)
    agent, method = _attribute(module, where, attribute)
    if agent.name not in {known.name for known in agents}:
        agents = (*agents, agent)
    return Loaded(module, agents, _one_method(agent, method))


def choose(agents: Sequence[AgentSpec], names: Sequence[str]) -> tuple[AgentSpec, ...]:
    """Return the agents called `names` (all, without names); raises UsageError."""
    by_name = {agent.name: agent for agent in agents}
    for name in names:
        if name not in by_name:
            raise UsageError(
                f"no agent is named {name!r} here.{suggest(name, list(by_name))} There are "
                f"{', '.join(by_name)}"
            )
    return tuple(by_name[name] for name in by_name if not names or name in names)


def agents_of(module: ModuleType) -> tuple[AgentSpec, ...]:
    """Return what `module` declares or imports that can be served, by name.

    Raises UsageError when two of them have one name.
    """
    found: dict[str, AgentSpec] = {}
    for value in list(vars(module).values()):
        spec = spec_of(value)
        if spec is None or not spec.methods or is_elsewhere(spec):
            continue
        if found.setdefault(spec.name, spec) is not spec:
            raise torn(found[spec.name], spec)
    return tuple(found[name] for name in sorted(found))


def spec_of(value: object) -> AgentSpec | None:
    """Return the spec of an agent class, served class, tool or workflow; None for the rest."""
    own: Any = getattr(value, "__dict__", {})
    spec: Any = own.get("agent") if isinstance(value, Function) else own.get(SPEC)
    return spec if isinstance(spec, AgentSpec) and spec.name in REGISTRY else None


def _split(text: str) -> tuple[str, str, str]:
    where, colon, attribute = text.rpartition(":")
    if not colon or "/" in attribute or "\\" in attribute:  # A drive letter, or no attribute.
        return text, "", ""
    return where, colon, attribute


def _attribute(module: ModuleType, where: str, attribute: str) -> tuple[AgentSpec, str]:
    name, _, method = attribute.partition(".")
    served = {str(spec.name): spec for spec in agents_of(module)}
    if name in served and spec_of(getattr(module, name, None)) is None:
        return served[name], method  # Its variable has another name, as serve_class lets it have.
    if not hasattr(module, name):
        known = list(served)
        listed = f" It declares {', '.join(known)}." if known else ""
        raise UsageError(f"{where} has no {name!r}.{suggest(name, known)}{listed}")
    spec = spec_of(getattr(module, name))
    if spec is None:
        raise UsageError(
            f"{where}:{name} is {getattr(module, name)!r:.80}, not an agent, tool or workflow: "
            "declare it with @nalar.workflow, @nalar.tool or class X(nalar.Agent)"
        )
    return spec, method


def _one_method(agent: AgentSpec, method: str) -> MethodSpec:
    if not method and len(agent.methods) == 1:
        return next(iter(agent.methods.values()))
    return method_of(agent, method)


# Importing.


def load_module(where: str, cwd: Path) -> ModuleType:
    """Load a file, from `cwd`, or a dotted name; raises UsageError saying what is wrong with it."""
    path = Path(where)
    if path.suffix == ".py" or os.sep in where or "/" in where:
        return _from_file(cwd / path, where)
    if not where:
        raise UsageError("MODULE is a file (flows.py) or a dotted name (package.flows)")
    return _from_name(where, cwd)


def _from_file(path: Path, where: str) -> ModuleType:
    if not path.is_file():
        raise UsageError(_no_file(path, where))
    path = path.resolve()
    name = path.stem
    folder = path.parent
    if not name.isidentifier():
        raise UsageError(
            f"{where} cannot be imported, its name is no Python identifier: rename it, for "
            f"instance {''.join(c if c.isalnum() else '_' for c in name)}.py"
        )
    while (folder / "__init__.py").is_file():  # Part of a package: its imports need its name.
        name = f"{folder.name}.{name}" if name != "__init__" else folder.name
        folder = folder.parent
    there = sys.modules.get(name)
    if there is None:
        _put_first(folder)
        there = _import(name, where)
    if _file_of(there) != path:
        raise UsageError(
            f"{where} would be module {name!r}, and that is {_file_of(there) or 'built in'} "
            "already: rename one of the two files"
        )
    return there


def _from_name(name: str, cwd: Path) -> ModuleType:
    _put_first(cwd)
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(_failed(name, error)) from error
        found = None
    except Exception as error:
        raise UsageError(_failed(name, error)) from error
    except SystemExit as error:
        raise UsageError(_failed(name, error)) from error
    if found is None and name not in sys.modules:
        file = cwd.joinpath(*name.split(".")).with_suffix(".py")
        other = f" There is a file {file}: give its path." if file.is_file() else ""
        raise UsageError(
            f"no module named {name!r} can be found from {cwd}.{other} MODULE is a file "
            "(flows.py) or a dotted name (package.flows)"
        )
    return _import(name, name)


def _no_file(path: Path, where: str) -> str:
    folder = path.parent
    if path.is_dir():
        return f"{where} is a folder: name a .py file in it"
    if not folder.is_dir():
        return f"there is no file {where}: the folder {folder} does not exist"
    known = sorted(file.name for file in folder.glob("*.py"))
    return f"there is no file {where} (looked in {folder.resolve()}).{suggest(path.name, known)}"


def _put_first(folder: Path) -> None:
    text = str(folder)
    if text not in sys.path:
        sys.path.insert(0, text)


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _import(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(_failed(where, error)) from error


def _failed(where: str, error: BaseException) -> str:
    """Return why importing `where` failed, with the frames of the user's own code only."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)
    ]
    hint = ""
    if isinstance(error, ModuleNotFoundError):
        hint = f"\nIs {error.name!r} installed in this environment ({sys.prefix})?"
    if isinstance(error, SystemExit):
        hint = '\nIt ends the program when imported: put that under if __name__ == "__main__":'
    lines = traceback.format_list(frames) + traceback.format_exception_only(error)
    return f"{where} could not be imported:\n{''.join(lines).rstrip()}{hint}"


def _is_own(file: str) -> bool:
    """Say whether a frame is of the user's code: no library's, Python's or ours."""
    path = Path(file)
    libraries = {"site-packages", "dist-packages"} & set(path.parts)
    return not (
        file.startswith("<")
        or libraries
        or path.is_relative_to(_PYTHON)
        or path.is_relative_to(_NALAR)
    )
