"""Commands as they answer before any process is started: help, and what cannot be meant."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from nalar.agents.registry import REGISTRY
from nalar_cli.main import main

Run = Callable[..., tuple[int, str, str]]

MODULE = """
import nalar

@nalar.workflow
async def cli_greet(names: list[str]) -> None: ...
"""


@pytest.fixture
def nalar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Run a command in a folder with a module in it; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = dict(sys.modules)
    (tmp_path / "cli_flows.py").write_text(MODULE)
    (tmp_path / "cli_broken.py").write_text("def (:\n")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nalar", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    yield run
    for name in set(sys.modules) - set(known):
        if name.startswith("cli_"):
            del sys.modules[name]
    REGISTRY._specs.pop("cli_greet", None)


@pytest.mark.parametrize(
    "command",
    [
        "run", "dev", "worker", "server", "call", "submit", "result", "doctor", "stubs",
        "housekeep", "agents ls", "workers ls", "sessions ls", "sessions get", "dlq ls", "dlq show",
        "dlq redrive", "dlq purge", "simulate", "controller", "policy ls", "policy show",
        "policy versions", "policy apply", "policy diff", "policy rollback", "policy log",
    ],
)  # fmt: skip
def test_every_command_has_help_with_an_example(nalar: Run, command: str) -> None:
    code, out, _ = nalar(*command.split(), "--help")
    assert code == 0
    assert "Example: " in out


def test_the_first_help_lists_every_command_in_full(nalar: Run) -> None:
    _, out, _ = nalar("--help")
    assert "..." not in out.partition("Commands:")[2]


@pytest.mark.parametrize("word", ["version", "--version", "-V"])
def test_the_version_is_told_however_it_is_asked_for(nalar: Run, word: str) -> None:
    assert nalar(word) == (0, f"nalar {version('nalar')}\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "cli_flows.py"], "write MODULE:WORKFLOW"),
        (["run", "cli_flow.py:cli_greet"], "Did you mean 'cli_flows.py'?"),
        (["run", "cli_flows.py:cli_gret"], "Did you mean 'cli_greet'?"),
        (["run", "cli_flows.py:cli_greet", "--json", '[["a" "b"]]'], "line 1, column 7"),
        (["run", "cli_flows.py:cli_greet", "--json", '{"name": []}'], "Did you mean 'names'?"),
        (["run", "cli_flows.py:cli_greet", "--json", "[7]"], "must be list[str]"),
        (["run", "cli_flows.py:cli_greet"], "misses 'names'"),
        (["run", "cli_flows.py:cli_greet", "--json", "@nowhere.json"], "No such file"),
        (["run", "cli_broken.py:cli_greet"], "SyntaxError"),
        (["run", "cli_flows.py:cli_greet", "--session", ""], "1 to 120 bytes"),
        (["run", "cli_flows.py:cli_greet", "--timeout", "-1"], "greater than or equal to 0"),
        (["run", "cli_flows.py:cli_greet", "--timeout", "nan"], "less than or equal to"),
        (["workers", "ls", "-s", "http://u:pass@db"], "'http://***@db' is no address of a NATS"),
        (["call", "cli_flows.py"], "cli_flows.py:NAME"),
        (["call", "x", "--creds", "nowhere.creds"], "there is no such file"),
        (["worker", "cli_flows.py", "--agents", "cli_gree"], "Did you mean 'cli_greet'?"),
        (["stubs"], "name a MODULE, or say --live"),
        (["stubs", "cli_flows.py", "--check"], "--out FILE"),
        (["stubs", "cli_flows.py", "--lang", "cobol"], "'cobol' is not one of"),
        (["call", "x", "--priority", "high"], "should be a valid integer"),
        (["simulate", "-w", "finacial"], "Did you mean 'financial'?"),
        (["policy", "apply", "srft"], "Did you mean 'srtf'?"),
        (["policy", "apply"], "name the policies to run, or say --none"),
        (["simulate", "--compare", "pined"], "Did you mean 'pinned'?"),
        (["nosuch"], "No such command 'nosuch'"),
    ],
)
def test_what_cannot_be_meant_is_told_in_plain_words(
    nalar: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # or a worker would begin again with it
    code, out, err = nalar(*words)
    assert (code, out) == (2, "")
    assert told in err
    assert "nalar_cli/" not in err, "no frames of our own"


def test_a_setting_that_is_none_is_told(nalar: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NALAR_SET_LEESE_S", "3")
    code, _, err = nalar("call", "x")
    assert code == 2
    assert "NALAR_SET_LEESE_S names no setting. Did you mean 'lease_s'?" in err
