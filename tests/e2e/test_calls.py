"""Commands against agents that others serve: call, submit, result, listings, stubs, doctor."""

import time

import pytest

from tests.e2e.commands import Nalar, until


@pytest.fixture(scope="module", autouse=True)
def worker(workshop: Nalar, url: str) -> None:
    """A worker that serves all tests of this module."""
    running = workshop.start("worker", "flows.py", "--name", "steady", NATS_URL=url)
    running.says("worker ready name=steady")


def test_call_prints_the_result(served: Nalar) -> None:
    assert served.json("call", "shout", "--json", '["hi"]') == "HI!"
    assert served.json("call", "flows.py:greet", "--json", '[["a"]]') == {"a": "A!"}


def test_sessions_keep_state_apart_and_show_it(served: Nalar) -> None:
    for session, amount in (("one", 1), ("two", 2), ("one", 3)):
        total = served.json("call", "Counter.add", "--json", f"[{amount}]", "--session", session)
    assert total == 4
    shown = served.json("sessions", "get", "Counter", "one", "-o", "json")
    assert shown["state"] == {"totals": {"all": 4}}
    assert shown["revision"] > 0
    assert '{"all": 2}' in served("sessions", "get", "Counter", "two").stdout
    listed = served.json("sessions", "ls", "--agent", "Counter", "-o", "json")
    assert {"agent": "Counter", "session": "two"} in listed


def test_tables_are_bounded_and_obey_no_name(served: Nalar) -> None:
    for session in ("wipe\x1b[2J", "plain"):
        served("call", "Counter.add", "--json", "[1]", "--session", session)
    listed = served("sessions", "ls", "--agent", "Counter", "--limit", 100).stdout
    assert r"wipe\x1b[2J" in listed
    assert "\x1b" not in listed
    short = served("sessions", "ls", "--agent", "Counter", "--limit", 1)
    assert len(short.stdout.splitlines()) == 2
    assert " more: --limit " in short.stderr
    assert len(served.json("sessions", "ls", "--limit", 1, "-o", "json")) == 1


def test_submit_prints_a_run_that_another_process_can_wait_for(served: Nalar) -> None:
    run = served("submit", "hold", "--json", '["later"]').stdout.strip()
    served.entered("later")
    assert "has not ended" in served("result", run, "--no-wait", code=3).stderr
    served.open("later")
    result = served.json("result", run)
    assert served.json("result", run, "--no-wait") == result
    by_module = served("submit", "flows.py:doomed", "--json", '["it"]').stdout.strip()
    assert "doomed > burst" in served("result", by_module, code=1).stderr


def test_what_a_call_yields_is_printed_as_it_comes(served: Nalar) -> None:
    told = served.start(
        "call", "tell", "--json", '["slow", ["one", "t\u00f4", "three"]]', "--stream"
    )
    until(lambda: told.out.read_text("utf-8").splitlines() == ['"one"', '"t\u00f4"'])
    served.open("slow")
    assert told.ends() == 0
    assert told.out.read_text("utf-8").splitlines()[2:] == ['"three"']
    run = served("submit", "flows.py:tell", "--json", '["slow", ["a", "b"]]').stdout.strip()
    assert served("result", run, "--stream").stdout == '"a"\n"b"\n'
    assert served.json("result", run) == ["a", "b"]
    assert (
        served("call", "flows.py:tell", "--json", '["slow", ["c"]]', "--stream").stdout == '"c"\n'
    )


def test_a_call_that_yields_nothing_has_nothing_to_stream(served: Nalar) -> None:
    for target in ("shout", "flows.py:shout"):
        said = served("call", target, "--json", '["hi"]', "--stream", code=2).stderr
        assert "shout yields nothing" in said


def test_a_mistake_inside_an_agent_is_a_failed_call_and_shows_the_place(served: Nalar) -> None:
    said = served("call", "misusing", "--json", '["abc"]', code=1).stderr
    assert "misusing failed: ArgumentError: " in said
    assert "shout(len(text))" in said
    assert "--help" not in said


def test_a_key_that_stands_for_other_arguments_is_an_error(served: Nalar) -> None:
    key = ["--idempotency-key", "greeting"]
    assert served.json("call", "shout", "--json", '["hi"]', *key) == "HI!"
    assert served.json("call", "shout", "--json", '{"text": "hi"}', *key) == "HI!"
    for command in ("call", "submit"):
        said = served(command, "shout", "--json", '["ho"]', *key, code=2).stderr
        assert "idempotency_key was used for shout with other arguments" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["call", "Conter.add"], "Did you mean 'Counter'?"),
        (["call", "Counter.ad"], "Did you mean 'add'?"),
        (["call", "Counter"], "name a method too, one of add"),
        (["call", "shout", "--json", '{"txt": ""}'], "Did you mean 'text'?"),
        (["result", "nosuchrun"], "no run 'nosuchrun'"),
    ],
)
def test_a_wrong_name_is_met_with_the_right_one(served: Nalar, words: list[str], told: str) -> None:
    assert told in served(*words, code=2).stderr


def test_listings_are_tables_and_json(served: Nalar) -> None:
    agents = {told["name"]: told for told in served.json("agents", "ls", "-o", "json")}
    assert agents["Counter"]["hints"]["stateful"] is True
    assert agents["greet"]["workers"] == 1
    table = served("agents", "ls").stdout
    assert table.splitlines()[0].split()[:2] == ["NAME", "KIND"]
    assert len(table.splitlines()) == len(agents) + 1
    [worker] = served.json("workers", "ls", "-o", "json")
    assert worker["worker"] == "steady"
    assert "steady" in served("workers", "ls").stdout


def test_stubs_are_checked_against_the_module_and_the_live_registry(served: Nalar) -> None:
    served("stubs", "flows.py", "--out", "stubs.py")
    served("stubs", "flows.py", "--out", "stubs.py", "--check")
    compile((served.folder / "stubs.py").read_text(), "stubs.py", "exec")
    (served.folder / "stubs.py").write_text("# old\n")
    assert "stale" in served("stubs", "flows.py", "--out", "stubs.py", "--check", code=1).stderr
    assert "missing" in served("stubs", "--live", "--out", "no.py", "--check", code=1).stderr
    assert "greet" in served("stubs", "--live", "--lang", "typescript").stdout


def test_doctor_finds_nothing_wrong_with_a_system_that_works(served: Nalar) -> None:
    said = served("doctor").stdout
    assert "WRONG" not in said
    assert "steady" in said


def test_doctor_names_the_remedy_when_there_is_no_server(nalar: Nalar) -> None:
    found = nalar.json("doctor", "-s", "nats://127.0.0.1:1", "-o", "json", code=1)
    assert found[0]["state"] == "wrong"
    assert "nalar server" in found[0]["remedy"]


def test_no_server_is_told_within_five_seconds(nalar: Nalar) -> None:
    began = time.perf_counter()
    done = nalar("call", "shout", "--json", '["x"]', "-s", "nats://127.0.0.1:1", code=1)
    took_s = time.perf_counter() - began
    assert "no NATS server at nats://127.0.0.1:1, tried for" in done.stderr
    assert "Traceback" not in done.stderr
    assert took_s < 5
