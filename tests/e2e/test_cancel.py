"""`nalar cancel`, and code that does not stop when it is told to."""

from pathlib import Path

from tests.e2e.commands import Nalar, until

SHORT = {"NALAR_SET_STOP_GRACE_S": "0.5"}


def test_a_run_is_cancelled_with_no_worker_and_only_once(served: Nalar) -> None:
    run = served("submit", "flows.py:shout", "--json", '["never"]').stdout.strip()
    assert f"run {run} is cancelled" in served("cancel", run).stderr
    assert "Cancelled" in served("result", run, code=1).stderr
    assert "had ended already: cancelled" in served("cancel", run, code=1).stderr
    unknown = served("cancel", "nonsense", code=2)
    assert "no run 'nonsense' was submitted" in unknown.stderr


def test_a_run_that_has_ended_and_a_call_that_nobody_knows_are_said_to_be_so(served: Nalar) -> None:
    worker = served.start("worker", "flows.py")
    worker.says("worker ready")
    run = served("submit", "shout", "--json", '["done"]').stdout.strip()
    assert served.json("result", run) == "DONE!"
    assert "had ended already: succeeded" in served("cancel", run, code=1).stderr
    assert "none has said so yet" in served("cancel", run, "--call", "ab12", code=3).stderr


def test_one_call_of_a_run_is_cancelled_and_its_caller_hears_of_it(served: Nalar) -> None:
    worker = served.start("worker", "flows.py")
    worker.says("worker ready")
    run = served("submit", "forgiving", "--json", '["part"]').stdout.strip()
    served.entered("part")
    call = (served.folder / "child-part").read_text()
    assert f"call {call} of run {run} is cancelled" in served("cancel", run, "--call", call).stderr
    assert served.json("result", run, "--timeout", 20) == "without part"
    served.open("part")


def test_code_that_never_stops_ends_with_its_process_and_another_serves_on(served: Nalar) -> None:
    pool = served.start("worker", "flows.py", "--processes", 2, **SHORT)
    until(lambda: len(served.json("workers", "ls", "-o", "json")) >= 2, "two workers")
    beside = [
        served("submit", "hold", "--json", f'["beside-{n}"]').stdout.strip() for n in range(4)
    ]
    run = served("submit", "deaf", "--json", '["loop"]').stdout.strip()
    [stuck] = served.entered("loop")
    for n in range(4):
        served.entered(f"beside-{n}")
    served("cancel", run)
    pool.says(r"deaf.run \(call \w+\) still runs 0.5 s after it was told to stop")
    for n in range(4):
        served.open(f"beside-{n}")
    pool.says(rf"worker recycled pid={stuck}")
    assert not Path(f"/proc/{stuck}").exists()
    assert "worker died" not in pool.said
    for n, other in enumerate(beside):
        assert served.json("result", other, "--timeout", 20), n
        assert len(served.entered(f"beside-{n}")) == 1, "it was drained, not begun again"
    until(lambda: len(served.json("workers", "ls", "-o", "json")) >= 2, "another in its place")
    assert served.json("call", "shout", "--json", '["on"]', "--timeout", 20) == "ON!"


def test_a_call_that_swallows_every_cancellation_ends_with_its_process(served: Nalar) -> None:
    worker = served.start("worker", "flows.py", **SHORT)
    worker.says("worker ready")
    run = served("submit", "clinging", "--json", '["cling"]').stdout.strip()
    served.entered("cling")
    served("cancel", run)
    assert worker.ends() == 75
