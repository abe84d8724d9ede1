"""`nalar worker`: draining, dying, and what becomes of the calls."""

import os
import signal
import time

from tests.e2e.commands import PATIENCE_S, Nalar, until


def test_drain_finishes_the_running_call_and_hands_the_queued_ones_to_another(
    served: Nalar,
) -> None:
    for name in ("second", "third"):
        served.open(name)
    first = served.start("worker", "flows.py", "-c", 1, "--name", "first")
    first.says("worker ready name=first")
    runs = [served("submit", "hold", "--json", '["one"]').stdout.strip()]
    [busy] = served.entered("one")
    runs += [
        served("submit", "hold", "--json", f'["{name}"]').stdout.strip()
        for name in ("second", "third")
    ]
    first.signal(signal.SIGTERM)
    first.says("draining name=first grace=10s")
    second = served.start("worker", "flows.py", "-c", 1)
    others = [served.json("result", run, "--timeout", 30) for run in runs[1:]]
    assert others == [second.pid, second.pid]
    assert first.process.poll() is None, "its running call has time to finish"
    served.open("one")
    assert served.json("result", runs[0]) == busy == first.pid
    assert first.ends() == 0


def test_killed_worker_loses_nothing_and_its_call_takes_effect_once(served: Nalar) -> None:
    short = {"NALAR_SET_LEASE_S": "1.5"}
    victim = served.start("worker", "flows.py", "--agents", "Counter", **short)
    victim.says("worker ready")
    add = ("submit", "Counter.add", "--session", "precious", "--json")
    run = served(*add, '{"amount": 40, "through": "fatal"}').stdout.strip()
    after = served(*add, "[2]").stdout.strip()
    assert served.entered("fatal") == [victim.pid]
    victim.signal(signal.SIGKILL)
    victim.ends()
    heir = served.start("worker", "flows.py", "--agents", "Counter", **short)
    assert served.entered("fatal", times=2) == [victim.pid, heir.pid]
    served.open("fatal")
    assert served.json("result", run) + served.json("result", after) in {82, 44}
    state = served.json("sessions", "get", "Counter", "precious", "-o", "json")["state"]
    assert state == {"totals": {"all": 42}}


def test_supervisor_replaces_a_process_that_dies_and_drains_them_all(served: Nalar) -> None:
    pool = served.start("worker", "flows.py", "--processes", 2, "--name", "pool-{pid}")

    def alive() -> set[int]:
        return {
            worker["pid"]
            for worker in served.json("workers", "ls", "-o", "json")
            if worker["worker"].startswith("pool-")
        }

    before = until(lambda: pids if len(pids := alive()) == 2 else None, "two workers")
    assert pool.pid not in before
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    pool.says(rf"worker died pid={victim} signal=SIGKILL")
    until(lambda: len(alive() - {victim}) == 2, "another one in its place")
    pool.signal(signal.SIGTERM)
    assert pool.ends() == 0
    until(lambda: not alive() - {victim}, "all have left the registry")


def test_worker_without_a_server_says_what_it_tried_and_ends(nalar: Nalar) -> None:
    began = time.perf_counter()
    done = nalar("worker", "flows.py", "-s", "nats://127.0.0.1:1", code=1)
    assert "no NATS server at nats://127.0.0.1:1" in done.stderr
    assert time.perf_counter() - began < PATIENCE_S / 2


def test_pool_does_not_restart_what_cannot_work(nalar: Nalar) -> None:
    done = nalar("worker", "missing.py", "--processes", 2, "-s", "nats://127.0.0.1:1", code=2)
    assert "there is no file missing.py" in done.stderr
    assert "again_in" not in done.stderr


def test_operators_see_that_the_server_went_away_and_came_back(nalar: Nalar) -> None:
    store = ("--store", nalar.folder / "flaky", "--sync", "default")
    server = nalar.start("server", "--port", 0, *store)
    url = server.says(r"nats-server on (nats://\S+),").group(1)
    worker = nalar.start("worker", "flows.py", "--quiet", "--server", url)
    until(lambda: nalar.json("workers", "ls", "-o", "json", "-s", url), "a worker")
    caller = nalar.start("call", "hold", "--json", '["outage"]', "--server", url)
    nalar.entered("outage")
    server.signal(signal.SIGTERM)
    assert server.ends() == 0
    for one in (worker, caller):
        one.says(rf"WARNING +lost the server at {url}; trying again")
    again = nalar.start("server", "--port", url.rpartition(":")[2], *store)
    again.says("nats-server on")
    for one in (worker, caller):
        one.says(rf"WARNING +the server at {url} is back after \d+\.\d s")
    nalar.open("outage")
    assert caller.ends() == 0
    assert len(worker.said.splitlines()) == 2, worker.said
