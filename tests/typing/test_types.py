"""The type-checker's view: of our own stubs, and of those that we generate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nalar.agents.describe import describe_agent
from nalar.agents.loader import load
from nalar.agents.stubgen import python_stubs

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

#: A program written against the generated stubs.
CALLER = """
from typing import assert_type
from uuid import UUID
import nalar
from served_stubs import Color, Keeper, Node, Simple, Zoo, my_flow, search

names = search("NVDA", count=2)
assert_type(names, nalar.Future[list[str]])
found = Keeper.options(session="s").find(Node(name="x"), color=Color.RED, how="b")
assert_type(found, nalar.Future[Zoo | None])
assert_type(Keeper.tell(Simple(a=1), 2, 3, name=Simple(a=4)), nalar.Future[list[Simple]])
assert_type(my_flow(Simple(a=1), colors=[Color.DARK_BLUE], blobs={}), nalar.Future[None])
search(ticker=names)  # pyright: ignore[reportCallIssue, reportArgumentType]
search(tickr="x")  # pyright: ignore[reportDeprecated]
Keeper.find(5)  # pyright: ignore[reportCallIssue, reportArgumentType]

def by_keyword(ticker: nalar.Future[str], color: nalar.Future[Color]) -> None:
    assert_type(search(ticker=ticker), nalar.Future[list[str]])
    assert_type(Keeper.find(Node(name="x"), color=color), nalar.Future[Zoo | None])

def result(zoo: Zoo) -> None:
    assert_type(zoo.id, UUID)
    assert_type(zoo.pair, tuple[int, str])
    assert_type(zoo.odd["a-b"], int)
"""


def check_strictly(folder: Path, *files: Path) -> list[str]:
    """Return what basedpyright finds; an expected error that it misses is an error too."""
    config = folder / "pyrightconfig.json"
    settings = {
        "include": [str(file) for file in files],
        "extraPaths": [str(ROOT)],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    config.write_text(json.dumps(settings))
    run = subprocess.run(
        [sys.executable, "-m", "basedpyright", "-p", config, "--pythonpath", sys.executable,
         "--outputjson"],
        capture_output=True, text=True, check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == len(files)
    return [
        f"{Path(found['file']).name}:{found['range']['start']['line'] + 1}: {found['message']}"
        for found in report["generalDiagnostics"]
    ]


@pytest.mark.timeout(120)
def test_a_strict_checker_knows_every_stub_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    assert check_strictly(tmp_path, HERE / "stubs_typed.py") == []


@pytest.mark.timeout(120)
def test_generated_stubs_pass_a_strict_checker_and_type_their_callers(tmp_path: Path) -> None:
    agents = load(str(HERE / "served.py")).agents
    (tmp_path / "served_stubs.py").write_text(python_stubs([describe_agent(a) for a in agents]))
    (tmp_path / "caller.py").write_text(CALLER)
    files = [tmp_path / "served_stubs.py", tmp_path / "caller.py"]
    assert check_strictly(tmp_path, *files) == []


@pytest.mark.timeout(120)
def test_the_check_sees_an_error_that_is_no_longer_made(tmp_path: Path) -> None:
    (tmp_path / "fits.py").write_text("x: int = 5  # pyright: ignore[reportAssignmentType]\n")
    assert check_strictly(tmp_path, tmp_path / "fits.py") != []
