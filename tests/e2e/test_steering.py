"""Steering workers by hand, from the command line."""

import re
import signal
from typing import Any

import pytest

from nalar import connect
from nalar.context import CallOptions
from nalar.processes.child import EXIT_KILLED
from tests.e2e.commands import Nalar, until


def standing(served: Nalar, *kinds: str) -> list[dict[str, Any]]:
    rows = served.json("directives", "ls", "-o", "json")
    return [row for row in rows if row["kind"] in kinds]


def test_a_paused_agent_waits_and_what_stands_is_listed(served: Nalar) -> None:
    worker = served.start("worker", "flows.py")
    worker.says("worker ready")
    assert "shout is paused" in served("pause", "shout", "--reason", "a try").stderr
    run = served("submit", "shout", "--json", '["hi"]').stdout.strip()
    assert "has not ended" in served("result", run, "--timeout", 1, code=3).stderr
    [row] = standing(served, "pause")
    assert (row["kind"], row["by"], row["reason"]) == ("pause", "hand", "a try")
    assert row["directive"] == {"agent": "shout"}
    assert "a try" in served("directives", "ls").stdout
    assert "shout goes on" in served("resume", "shout").stderr
    assert served.json("result", run) == "HI!"
    assert "was not paused" in served("resume", "shout").stderr
    assert standing(served, "pause") == []


def test_a_session_is_moved_to_another_worker_and_back_with_its_state(served: Nalar) -> None:
    names = ["mover-1", "mover-2"]
    for name in names:
        served.start("worker", "flows.py", "--agents", "Counter", "--name", name).says("ready")
    add = ("call", "Counter.add", "--session", "moving", "--json", "[1]")
    for count, name in enumerate([*names, *names], 1):
        until(lambda to=name: not served("sessions", "migrate", "Counter", "moving", "--to", to,
                                         code=None).returncode, "it owns slots")  # fmt: skip
        assert served.json(*add) == count
    lost = served("sessions", "migrate", "Counter", "moving", "--to", "nobody", code=2).stderr
    assert "no worker 'nobody' is alive" in lost
    back = ("sessions", "migrate", "Counter", "moving", "--withdraw")
    assert "session moving of Counter goes back" in served(*back).stderr
    assert "was not moved" in served(*back).stderr
    assert standing(served, "route") == []
    assert served.json(*add) == len(names) * 2 + 1


def test_a_session_is_moved_on_as_each_of_its_workers_is_killed_and_loses_no_call(
    served: Nalar, url: str
) -> None:
    """Killed while it holds running and queued calls, and while it passes them on."""
    workers = {
        name: served.start("worker", "flows.py", "--agents", "Counter", "--name", name,
                           NALAR_SET_LEASE_S="2")
        for name in ("doomed-1", "doomed-2", "doomed-3")
    }  # fmt: skip
    for worker in workers.values():
        worker.says("ready")
    session = CallOptions(session="hunted")
    with connect(url) as client:
        calls = [client.call("Counter.add", 1, "hunt", options=session)]
        calls += [client.call("Counter.add", 1, options=session) for _ in range(50)]
        for times in (1, 2):
            at = served.entered("hunt", times)[-1]
            others = [name for name, worker in workers.items() if worker.pid != at]
            until(lambda to=others[0]: not served("sessions", "migrate", "Counter", "hunted",
                                                  "--to", to, code=None).returncode)  # fmt: skip
            [doomed] = [name for name, worker in workers.items() if worker.pid == at]
            workers.pop(doomed).signal(signal.SIGKILL)
        served.entered("hunt", 3)
        served.open("hunt")
        assert [call.result(30) for call in calls] == list(range(1, 52))


def test_a_drained_worker_finishes_what_runs_and_ends(served: Nalar) -> None:
    worker = served.start("worker", "flows.py", "--name", "tired")
    worker.says("worker ready")
    run = served("submit", "hold", "--json", '["last"]').stdout.strip()
    assert served.entered("last") == [worker.pid]
    served("drain", "tired")
    served.open("last")
    assert served.json("result", run) == worker.pid
    assert worker.ends() == 0
    again = served.start("worker", "flows.py", "--name", "tired")
    again.says("worker ready")
    served("drain", "tired", "--kill")
    assert again.ends() == EXIT_KILLED


def test_limits_and_priorities_are_put_and_withdrawn(served: Nalar) -> None:
    served.start("worker", "flows.py", "--agents", "Counter").says("ready")
    served("limit", "--tenant", "acme", 4)
    served("prioritize", -5, "--session", "corner ü*", "--agent", "Counter", "--reason", "slow")
    told = {row["kind"]: row["directive"] for row in standing(served, "limit", "priority")}
    served("limit", "--tenant", "acme", "--tokens", 9000)
    told |= {row["kind"]: row["directive"] for row in standing(served, "limit")}
    assert told["limit"] == {
        "scope": "tenant", "name": "acme", "concurrency": 4,
        "requests_per_min": None, "tokens_per_min": 9000.0,
    }  # fmt: skip
    assert (told["priority"]["name"], told["priority"]["value"]) == ("corner ü*", -5)
    table = served("directives", "ls").stdout
    assert "scope=session name=corner ü* value=-5 agent=Counter" in table
    assert "scope=tenant name=acme concurrency=4 tokens_per_min=9000" in table
    assert table.count("withdrawn\n") == 2
    served("limit", "--tenant", "acme", 4, "--withdraw")
    served("prioritize", "--session", "corner ü*", "--agent", "Counter", "--withdraw")
    served("limit", "--agent", "gone", 4, "--withdraw")
    unheard = "0123456789abcdef" * 2
    said = served("prioritize", "--request", unheard, 5).stderr
    assert f"no run {unheard} was submitted" in said
    served("prioritize", "--request", unheard, 5, "--withdraw")
    assert standing(served, "limit", "priority") == []


def test_weights_are_merged_listed_and_cleared(served: Nalar) -> None:
    served.start("worker", "flows.py", "--agents", "shout", "--name", "canary").says("ready")
    assert "workers of shout are told" in served("route", "shout", "canary=0.5").stderr
    # Workers of other tests may not be gone yet.
    until(lambda: [row["worker"] for row in served.json("workers", "ls", "-o", "json")
                   if "shout" in row["agents"]] == ["canary"])  # fmt: skip
    told = served("route", "shout", "canary=0", "--for", "1h", "--reason", "slow").stderr
    assert "no worker that is alive takes calls of shout now: they wait" in told
    served("limit", 0, "--agent", "shout")
    doctor = served("doctor").stdout
    assert "note   all workers that serve shout have weight 0, by hand, since 20" in doctor
    assert "       -> nalar limit --agent shout --withdraw\n" in doctor
    served("limit", "--agent", "shout", "--withdraw")
    served("route", "shout", "canary=0.25")
    [row] = standing(served, "weights")
    assert row["directive"]["weights"] == {"canary": 0.25}
    assert row["until_s"] is None
    served("route", "shout", "canary=0.25", "--for", "90s")
    [row] = standing(served, "weights")
    assert row["until_s"] == pytest.approx(row["at_s"] + 90)
    lost = served("route", "shout", "canry=1", code=2).stderr
    assert "no worker 'canry' that is alive serves shout" in lost
    assert "'canary'" in lost
    assert "get the same" in served("route", "shout", "--clear").stderr
    assert standing(served, "weights") == []


def test_an_agent_that_sheds_refuses_requests_until_it_is_withdrawn(served: Nalar) -> None:
    worker = served.start("worker", "flows.py", "--agents", "shout")
    worker.says("worker ready")
    served("shed", "shout", "--below", 5, "--retry-after", 30)
    ask = ("call", "shout", "--json", '["hi"]')
    until(lambda: served(*ask, code=None).returncode == 4, "requests are refused")
    assert "try again in 30 s, or with a higher priority" in served(*ask, code=4).stderr
    assert served.json(*ask, "--priority", 5) == "HI!"
    assert standing(served, "shed")[0]["directive"]["below"] == 5
    served("shed", "shout", "--withdraw")
    until(lambda: served(*ask, code=None).returncode == 0, "requests are let in")


def test_who_scales_is_told_that_his_word_goes_before_that_of_policies(served: Nalar) -> None:
    worker = served.start("worker", "flows.py", "--agents", "shout")
    worker.says("worker ready")
    before = "no policy changes this before 'nalar scale shout --withdraw' takes it back"
    assert before not in served("scale", "shout=1").stderr
    served("policy", "apply", "autoscale,target=0.5")
    assert re.search(r"NAME +RUNS +DEFAULTS +ABOUT", served("policy", "ls").stdout)
    assert before in served("scale", "shout=1").stderr
    assert before not in served("scale", "shout", "--withdraw").stderr
    served("policy", "apply", "--none")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pause", "nobody"], "no agent named 'nobody'"),
        (["shed", "nobody"], "no agent named 'nobody'"),
        (["route", "nobody", "w=1"], "no agent named 'nobody'"),
        (["route", "x", "w=nan"], "'w=nan': a weight is a number from 0 to 100"),
        (["route", "x", "w=1", "--for", "10"], "90s, 10m, 2h or 1d"),
        (["drain", "nobody"], "no worker 'nobody' is alive"),
        (["limit", "3", "--agent", "nobody"], "no agent named 'nobody'"),
        (["prioritize", "5", "--session", "a", "--agent", "nobody"], "no agent named 'nobody'"),
        (["prioritize", "5", "--request", "mistyped"], "no run 'mistyped' was submitted"),
        (["limit", "3"], "name one of --agent or --tenant or --model"),
        (["limit", "--agent", "x"], "say how many"),
        (["limit", "--model", "small", "3"], "concurrency = 3 for a model"),
        (["limit", "--tenant", "x", "-1"], "Invalid value for '[N]'"),
        (["limit", "--tenant", "x", "9" * 20], "which is not a whole number from 0 to 2,147"),
        (["limit", "--tenant", "x", "--requests", "inf"], "not a number from 0 to 2,147,483,647"),
        (["prioritize", "9" * 20, "--tenant", "x"], "from -2,147,483,647 to 2,147,483,647"),
        (["prioritize", "--tenant", "x"], "say which priority"),
        (["route", "x", "w=1", "w=2"], "named twice"),
        (["scale", "x=1", "x=2"], "x is named twice"),
        (["scale", "x=99999999999"], "N from 0 to 2,147,483,647"),
        (["sessions", "migrate", "shout", "s"], "--to WORKER, or --withdraw"),
    ],
)
def test_what_is_mistyped_is_named(served: Nalar, words: list[str], told: str) -> None:
    assert told in served(*words, code=2).stderr
