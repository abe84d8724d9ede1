"""`nalar dlq`, and calls that kill the processes they run in."""

import socket

import pytest

from tests.e2e.commands import Nalar, Started

SHORT = {"NALAR_SET_LEASE_S": "1.5", "NALAR_SET_CRASHES_MAX": "1"}


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_call_that_kills_its_worker_ends_as_crashed_and_others_pass(
    served: Nalar, how: str
) -> None:
    pool = served.start("worker", "flows.py", "--processes", 2, **SHORT)
    pool.says("worker ready")
    run = served("submit", "poison", "--json", f'["{how}"]').stdout.strip()
    others = [
        served("submit", "shout", "--json", f'["guest {n}"]').stdout.strip() for n in range(4)
    ]
    done = served("result", run, "--timeout", 40, code=1)
    assert "WorkerCrashed: its worker died once or more while it ran" in done.stderr
    assert [served.json("result", other) for other in others] == [f"GUEST {n}!" for n in range(4)]
    victims = (served.folder / f"poisoned-{how}").read_text().split()
    assert len(victims) == len(set(victims)) == 2
    [letter] = [row for row in served.json("dlq", "ls", "--agent", "poison", "-o", "json")
                if row["id"] == run]  # fmt: skip
    assert letter["reason"].startswith("WorkerCrashed")
    assert served("call", "shout", "--json", '["still there"]').stdout == '"STILL THERE!"\n'


def test_a_call_that_blocks_its_worker_for_ever_ends_as_crashed_and_others_pass(
    served: Nalar,
) -> None:
    pool = served.start("worker", "flows.py", "--processes", 2, **SHORT, NALAR_SET_BLOCK_MAX_S="3")
    pool.says("worker ready")
    run = served("submit", "block", "--json", '["never"]').stdout.strip()
    assert len(set(served.entered("never"))) == 1
    assert served.json("call", "shout", "--json", '["hi"]') == "HI!"
    pool.says(r"event loop has been blocked for \d s by _log_and_wait \(\S+flows.py:\d+\)")
    done = served("result", run, "--timeout", 40, code=1)
    assert "WorkerCrashed" in done.stderr
    letters = served.json("dlq", "ls", "--agent", "block", "-o", "json")
    assert [(row["id"], row["reason"].partition(":")[0]) for row in letters] == [
        (run, "WorkerCrashed")
    ]


@pytest.fixture
def worker(served: Nalar) -> Started:
    started = served.start("worker", "flows.py")
    started.says("worker ready")
    return started


@pytest.mark.usefixtures("worker")
def test_dead_letters_are_listed_shown_redriven_and_purged(served: Nalar) -> None:
    for text in ("one", "two"):
        served("call", "mends", "--json", f'["{text}"]', code=1)
    rows = served.json("dlq", "ls", "--agent", "mends", "-o", "json")
    assert [row["reason"] for row in rows] == [
        "ConnectionError: two: nobody is there", "ConnectionError: one: nobody is there"
    ]  # fmt: skip
    assert [row["attempts"] for row in rows] == [2, 2]
    two, one = (row["id"] for row in rows)
    table = served("dlq", "ls").stdout
    assert one in table
    assert "mends.run" in table

    told = served.json("dlq", "show", one, "-o", "json")
    assert told["arguments"] == {"text": "one"}
    shown = served("dlq", "show", one).stdout
    assert "in mends" in shown
    assert '{"text": "one"}' in shown

    (served.folder / "mended").touch()
    run = served("dlq", "redrive", one).stdout.strip()
    assert served.json("result", run) == "one"
    assert run in served("dlq", "redrive", one, code=1).stderr
    [other] = served("dlq", "redrive", "--all", "--agent", "mends").stdout.split()
    assert served.json("result", other) == "two"
    assert served.json("dlq", "show", two, "-o", "json")["redriven_as"] == [other]

    served("dlq", "purge", one, stdin="n\n", code=1)
    assert served.json("dlq", "show", one, "-o", "json")["id"] == one
    served("dlq", "purge", one, "-y")
    assert "there is no dead letter" in served("dlq", "show", one, code=2).stderr
    served("dlq", "purge", "--all", "--agent", "mends", "--yes")
    assert served.json("dlq", "ls", "--agent", "mends", "-o", "json") == []


@pytest.mark.usefixtures("worker")
def test_a_message_that_was_no_call_is_listed_and_cannot_be_redriven(
    served: Nalar, url: str
) -> None:
    publish_nonsense(url)
    letters: list[dict[str, str]] = []
    while not letters:
        rows = served.json("dlq", "ls", "-o", "json")
        letters = [row for row in rows if row["kind"] == "malformed"]
    [letter] = letters
    assert "Nalar-Protocol is missing" in letter["reason"]
    assert (
        "it is a message that was no call" in served("dlq", "redrive", letter["id"], code=1).stderr
    )
    assert "nonsense" in served("dlq", "show", letter["id"]).stdout
    served("dlq", "purge", letter["id"], "-y")


def publish_nonsense(url: str) -> None:
    host, _, port = url.removeprefix("nats://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        reader = connection.makefile("rb")
        reader.readline()
        connection.sendall(
            b'CONNECT {"verbose":false}\r\nPUB nalar.inv.shout.q.normal.x 8\r\nnonsense\r\nPING\r\n'
        )
        assert reader.readline() == b"PONG\r\n"


@pytest.mark.parametrize("words", [["redrive"], ["purge"], ["redrive", "x", "--all"],
                                   ["purge", "x", "--agent", "y"]])  # fmt: skip
def test_what_is_to_be_redriven_or_purged_must_be_said(nalar: Nalar, words: list[str]) -> None:
    assert "--all" in nalar("dlq", *words, code=2).stderr
