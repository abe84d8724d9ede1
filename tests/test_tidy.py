"""The house rules that a linter cannot express.

A rule is a function from a file to its violations. Each is tried on a text that breaks it and on
one that does not, then on every file of the repository.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ("nalar", "cli", "tests", "benchmarks", "examples")
TEXT = (*CODE, "compose", "docs", ".ci")
TEXT_SUFFIXES = {".cfg", ".conf", ".json", ".md", ".py", ".sh", ".toml", ".ts", ".yaml", ".yml"}
TEXT_NAMES = {".editorconfig", ".gitignore", "Dockerfile", "LICENSE", "Makefile", "run"}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
SUBJECT_LITERALS = ("nalar.inv", "nalar.done", "$KV.", "$JS.")
SUBJECTS_HOME = "nalar/bus/subjects.py"
UNSAFE_IMPORTS = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "yaml.load"}

# The rules look at this file too, so what they forbid is spelled in halves.
UNFINISHED = re.compile(r"\b(" + "|".join(("FIX" + "ME", "TO" + "DO", "XX" + "X")) + r")\b")
REGISTRIES = re.compile(
    "|".join(
        f"{name}[.]{top}"
        for name, top in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "(org|com)"),
            ("npmmirror", "com"),
            ("yarnpkg", "com"),
            ("anaconda", "(org|com)"),
            ("crates", "io"),
            ("rubygems", "org"),
            ("proxy.golang", "org"),
        )
    )
)
MACHINE_PATHS = re.compile(r"(?<![\w.*$}-])/(root|work|Users)/\w")
BACKTICKED_PATH = re.compile(r"`([\w.-]+/[\w./-]*)`")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class File:
    path: str  # from the root, with slashes
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


Rule = Callable[[File], list[str]]


def file_is_short(file: File) -> list[str]:
    lines = file.text.count("\n")
    return [f"{lines} lines, {FILE_LINES_MAX} at most"] if lines > FILE_LINES_MAX else []


def functions_are_short(file: File) -> list[str]:
    return [
        f"line {node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES_MAX} at most"
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def subjects_are_spelled_in_one_place(file: File) -> list[str]:
    if file.path == SUBJECTS_HOME:
        return []
    return [
        f"line {line}: {literal!r} belongs in {SUBJECTS_HOME}"
        for line, text in _strings(file.tree)
        for literal in SUBJECT_LITERALS
        if literal in text
    ]


def nothing_is_unfinished(file: File) -> list[str]:
    return _lines_matching(UNFINISHED, file.text)


def no_registry_is_named(file: File) -> list[str]:
    return _lines_matching(REGISTRIES, file.text)


def no_machine_path_is_named(file: File) -> list[str]:
    return _lines_matching(MACHINE_PATHS, file.text)


def nothing_runs_data_as_code(file: File) -> list[str]:
    return [f"line {line}: {name}" for line, name in _uses(file.tree) if name in UNSAFE_CALLS] + [
        f"line {line}: import {name}"
        for line, name in _imports(file.tree)
        if name.split(".")[0] in UNSAFE_IMPORTS
    ]


def decider_awaits_nothing(file: File) -> list[str]:
    return [
        f"line {node.lineno}: a decider is pure, it does not use {type(node).__name__}"
        for node in ast.walk(file.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]


def paths_in_backticks_exist(file: File) -> list[str]:
    prose = FENCED.sub("", file.text)
    return [
        f"`{path}` does not exist"
        for path in BACKTICKED_PATH.findall(prose)
        if not (ROOT / path).exists()
    ]


def unit_test_has_its_module(file: File) -> list[str]:
    name = Path(file.path).name.removeprefix("test_")
    homes = ("nalar", "cli", "benchmarks", "examples")
    if any(any((ROOT / home).rglob(name)) for home in homes):
        return []
    return [f"there is no {name} in {', '.join(homes)}"]


def _lines_matching(pattern: re.Pattern[str], text: str) -> list[str]:
    return [
        f"line {number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string but docstrings, which may explain what they must not spell."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def _uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name and dotted name: an alias of eval is as bad as its call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def _text_files() -> list[str]:
    """What people wrote: below the known folders and at the root, never in .venv or a cache."""
    found = [*ROOT.iterdir(), *(path for folder in TEXT for path in (ROOT / folder).rglob("*"))]
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in found
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES)
    )


def _deciders() -> list[str]:
    """The sources of the contract "Deciders are pure", as paths."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    [contract] = (c for c in config["tool"]["importlinter"]["contracts"] if c["id"] == "pure")
    names = contract["source_modules"]
    return [name.replace(".", "/") + ".py" for name in names]


TEXT_FILES = _text_files()
PYTHON_FILES = [path for path in TEXT_FILES if path.endswith(".py")]
PRODUCT_FILES = [path for path in PYTHON_FILES if not path.startswith("tests/")]
UNIT_TESTS = [path for path in PYTHON_FILES if re.match(r"tests/unit/(.*/)?test_\w+\.py$", path)]
PURE = _deciders()
DRAWINGS = [path for path in TEXT_FILES if path == "ARCHITECTURE.md"]

RULES: list[tuple[Rule, list[str]]] = [
    (file_is_short, PYTHON_FILES),
    (functions_are_short, PYTHON_FILES),
    (subjects_are_spelled_in_one_place, PRODUCT_FILES),
    (nothing_is_unfinished, TEXT_FILES),
    (no_registry_is_named, TEXT_FILES),
    (no_machine_path_is_named, TEXT_FILES),
    (nothing_runs_data_as_code, PYTHON_FILES),
    (decider_awaits_nothing, PURE),
    (paths_in_backticks_exist, DRAWINGS),
    (unit_test_has_its_module, UNIT_TESTS),
]


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        pytest.param(rule, path, id=f"{rule.__name__}-{path}")
        for rule, paths in RULES
        for path in paths
    ],
)
def test_house_rule_is_kept(rule: Rule, path: str) -> None:
    assert rule(File(path, (ROOT / path).read_text("utf-8"))) == []


LONG_FUNCTION = "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX
CAUGHT: list[tuple[Rule, str, str]] = [
    (file_is_short, "nalar/a.py", "\n" * (FILE_LINES_MAX + 1)),
    (functions_are_short, "nalar/a.py", LONG_FUNCTION),
    (
        functions_are_short,
        "nalar/a.py",
        "class A:\n" + LONG_FUNCTION.replace("def", " async def", 1),
    ),
    *(
        (subjects_are_spelled_in_one_place, "nalar/bus/codec.py", f"x = f'{literal}{{agent}}'")
        for literal in SUBJECT_LITERALS
    ),
    (nothing_is_unfinished, "nalar/a.py", "x = 1  # TO" + "DO later"),
    (nothing_is_unfinished, "docs/a.md", "FIX" + "ME"),
    (nothing_is_unfinished, "Makefile", "# XX" + "X: why?"),
    (no_registry_is_named, "docs/a.md", "files.python" + "hosted.org/packages"),
    (no_registry_is_named, "Makefile", "--index-url https://py" + "pi.org/simple"),
    (no_machine_path_is_named, "docs/a.md", "cd /wo" + "rk/main"),
    (nothing_runs_data_as_code, "nalar/a.py", "import pickle"),
    (nothing_runs_data_as_code, "nalar/a.py", "from cloudpickle import loads"),
    (nothing_runs_data_as_code, "nalar/a.py", "import os, marshal"),
    (nothing_runs_data_as_code, "nalar/a.py", "eval('1')"),
    (nothing_runs_data_as_code, "nalar/a.py", "run = exec"),
    (nothing_runs_data_as_code, "nalar/a.py", "yaml.load(text)"),
    (decider_awaits_nothing, "nalar/ids.py", "async def f(): pass"),
    (decider_awaits_nothing, "nalar/ids.py", "async def f():\n    await g()"),
    (paths_in_backticks_exist, "ARCHITECTURE.md", "see `nalar/nowhere.py`"),
    (unit_test_has_its_module, "tests/unit/test_nowhere.py", ""),
]
LET_THROUGH: list[tuple[Rule, str, str]] = [
    (file_is_short, "nalar/a.py", "\n" * FILE_LINES_MAX),
    (functions_are_short, "nalar/a.py", LONG_FUNCTION.replace("    pass\n", "", 1)),
    (subjects_are_spelled_in_one_place, SUBJECTS_HOME, "x = 'nalar.inv'"),
    (subjects_are_spelled_in_one_place, "nalar/bus/codec.py", '"""Not nalar.inv."""'),
    (nothing_is_unfinished, "nalar/a.py", "x = 'todos'"),
    (no_registry_is_named, "docs/a.md", "from PyPI, or docker.io, the Debian package"),
    (no_machine_path_is_named, "docs/a.md", "cli/work/main and `nalar/work/x`"),
    (nothing_runs_data_as_code, "nalar/a.py", "yaml.safe_load(text)\nmodel.eval()"),
    (decider_awaits_nothing, "nalar/ids.py", "def f(): return 'await'"),
    (paths_in_backticks_exist, "ARCHITECTURE.md", "`tests/test_tidy.py`\n```\n`a/b`\n```\n"),
    (unit_test_has_its_module, "tests/unit/test_errors.py", ""),
]


@pytest.mark.parametrize(("rule", "path", "text"), CAUGHT)
def test_rule_catches_a_violation(rule: Rule, path: str, text: str) -> None:
    assert len(rule(File(path, text))) > 0


@pytest.mark.parametrize(("rule", "path", "text"), LET_THROUGH)
def test_rule_lets_the_harmless_through(rule: Rule, path: str, text: str) -> None:
    assert rule(File(path, text)) == []


def test_every_rule_is_seen_to_catch_and_to_let_through() -> None:
    rules = {rule for rule, _ in RULES}
    assert {rule for rule, _, _ in CAUGHT} == rules
    assert {rule for rule, _, _ in LET_THROUGH} == rules


def test_rules_are_applied_to_files() -> None:
    assert SUBJECTS_HOME in PRODUCT_FILES
    assert "tests/test_tidy.py" in PYTHON_FILES
    assert {"Makefile", "pyproject.toml", ".ci/run"} <= set(TEXT_FILES)
    assert len(PURE) > 0
