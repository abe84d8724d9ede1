"""`nalar run`: a file of the user's own, served and run with one command."""

import json
import signal
import sys

import pytest

from tests.e2e.commands import Nalar, until


def test_run_prints_the_result_and_nothing_else_on_stdout(nalar: Nalar) -> None:
    done = nalar("run", "flows.py:greet", "--json", '{"names": ["ada", "grace"]}')
    assert json.loads(done.stdout) == {"ada": "ADA!", "grace": "GRACE!"}
    assert "a tool that prints" in done.stderr
    assert "a workflow that prints" in done.stderr


def test_run_works_on_a_dotted_name_with_several_processes(nalar: Nalar) -> None:
    run = ("run", "flows:greet", "--json", "-", "--processes", 2, "-c", 4)
    assert nalar.json(*run, stdin='{"names": ["ada"]}') == {"ada": "ADA!"}


def test_store_keeps_sessions_between_runs(nalar: Nalar) -> None:
    add = ("run", "flows.py:Counter.add", "--json", "[5]", "--session", "s", "--store", "kept")
    assert [nalar.json(*add), nalar.json(*add)] == [5, 10]


def test_failure_shows_path_and_remote_traceback_and_returns_1(nalar: Nalar) -> None:
    done = nalar("run", "flows.py:doomed", "--json", '["a hint"]', code=1)
    assert done.stdout == ""
    assert "doomed failed: ValueError: cannot take a hint" in done.stderr
    assert "doomed > burst" in done.stderr
    assert 'raise ValueError(f"cannot take {text}")' in done.stderr
    assert "nalar_cli" not in done.stderr, "the traceback is the agent's, not ours"


def test_a_module_that_cannot_be_loaded_starts_nothing(nalar: Nalar) -> None:
    (nalar.folder / "broken.py").write_text("def (:\n")
    done = nalar("run", "broken.py:greet", code=2)
    assert "SyntaxError" in done.stderr
    assert "nalar_cli/" not in done.stderr, "no frames of our own"


def test_ctrl_c_ends_everything_and_returns_130(nalar: Nalar) -> None:
    running = nalar.start("run", "flows.py:patient", "--json", '["interrupted"]')
    nalar.entered("interrupted")
    assert len(nalar.family()) >= 3, "a server, a worker and the command"
    running.signal(signal.SIGINT)
    assert running.ends() == 130
    assert nalar.family() == []
    assert not list(nalar.folder.glob("nalar-*")), "the temporary store is gone"


@pytest.mark.skipif(sys.platform == "darwin", reason="looks into /proc")
def test_nothing_outlives_a_command_that_is_killed(nalar: Nalar) -> None:
    running = nalar.start("run", "flows.py:patient", "--json", '["killed"]', "--processes", 2)
    nalar.entered("killed")
    running.signal(signal.SIGKILL)
    running.ends()
    until(lambda: nalar.family() == [], "all processes are gone")


def test_timeout_ends_the_wait_with_a_code_of_its_own(nalar: Nalar) -> None:
    run = ("run", "flows.py:patient", "--json", '["slow"]', "--timeout", 1)
    assert "has not ended within 1 s" in nalar(*run, code=3).stderr
    assert nalar.family() == []
