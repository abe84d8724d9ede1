"""What the ledger remembers, as a workload."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nalar.calls.own_records import SIGNAL, UNTIL
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Payload, Record
from nalar.sim.metrics import Figures
from nalar.sim.simulate import simulate
from nalar.sim.strategies import chosen
from nalar.sim.workload import Size
from nalar.sim.workloads import workload_of
from nalar.sim.workloads.recording import agents_of, called, requests_of

EPOCH_S = 1_800_000_000.0


@dataclass
class Ledger:
    """Records of one request, made by hand."""

    root: str = "r1"
    records: list[Record] = field(default_factory=list[Record])

    def add(  # noqa: PLR0913 -- what a record says
        self, agent: str, begin_s: float, end_s: float, *, of: str = "", queued_s: float = 0.0,
        after: Sequence[str] = (), session: str = "u1", worker: str = "w1", made_s: float = -1.0,
    ) -> str:  # fmt: skip
        """Add the call of `agent` by the call `of`: it ran from `begin_s` to `end_s`."""
        name = FutureId(f"{self.root}-{len(self.records)}" if of else self.root)
        root = RootId(self.root)
        ref = Ref("r", AgentName(agent), SessionId(session), root, of or self.root, name)
        inputs = tuple(replace(ref, future=FutureId(it)) for it in after)
        created_s = made_s if made_s >= 0 else begin_s - queued_s
        self.records.append(
            Record(
                ref, MethodName("run"), SessionId(session), "succeeded", Payload(b"1"), None,
                Payload(b"{}"), None, worker, 1, EPOCH_S + created_s, EPOCH_S + begin_s,
                EPOCH_S + end_s, dependencies=inputs,
            )
        )  # fmt: skip
        return name

    @property
    def steps(self) -> list[Any]:
        [request] = requests_of(self.records)
        return request["steps"]


def call(agent: str, *steps: Any) -> dict[str, Any]:
    return {"agent": agent, "steps": list(steps)}


def test_what_overlapped_is_side_by_side_and_what_did_not_follows() -> None:
    made = Ledger()
    root = made.add("report", 0.0, 10.0)
    made.add("search", 1.0, 4.0, of=root)
    made.add("search", 1.2, 3.0, of=root, queued_s=0.2)
    made.add("write", 6.0, 9.0, of=root, queued_s=1.0)
    search, other, write = call("search", 3.0), call("search", 1.8), call("write", 3.0)
    assert made.steps == [1.0, [search, other], 1.0, [write], 1.0], "queues are left out"


def test_a_pipeline_of_each_item_stays_one() -> None:
    made = Ledger()
    root = made.add("report", 0.0, 9.0)
    for fetched_s, read_s in ((1.0, 6.0), (2.0, 3.0), (5.0, 9.0)):
        made.add("fetch", 0.0, fetched_s, of=root)
        made.add("read", fetched_s, read_s, of=root)
    chains = [
        {"steps": [[call("fetch", a)], [call("read", b)]]} for a, b in ((1, 5), (2, 1), (5, 4))
    ]
    assert made.steps == [chains]


def test_of_calls_that_end_together_each_is_followed_by_one() -> None:
    made = Ledger()
    root = made.add("report", 0.0, 9.0)
    made.add("watch", 0.0, 9.0, of=root)
    for name, ended_s in (("a", 1.0), ("b", 1.001)):
        made.add(name, 0.0, ended_s, of=root)
        made.add("read", 1.01, 2.01, of=root)
    [[watch, *chains]] = made.steps
    assert watch == call("watch", 9.0)
    assert [chain["steps"][0][0]["agent"] for chain in chains] == ["a", "b"]
    assert [len(chain["steps"]) for chain in chains] == [3, 3], "a call, a gap, and its follower"


def test_a_call_that_needs_the_result_of_another_comes_after_it() -> None:
    made = Ledger()
    root = made.add("report", 0.0, 3.0)
    first = made.add("fetch", 0.0, 2.0, of=root)
    made.add("read", 2.0, 3.0, of=root, after=[first], made_s=0.0)
    assert made.steps == [[call("fetch", 2.0)], [call("read", 1.0)]]


def test_waiting_for_word_from_outside_is_a_pause_also_of_a_call_that_was_resumed() -> None:
    made = Ledger()
    root = made.add("approve", 3600.0, 3602.0, made_s=0.0)
    made.add("ask", 1.0, 2.0, of=root)
    made.add(SIGNAL, 3600.0, 3600.01, of=root, worker="")
    made.add(UNTIL, 2.0, 2.0, of=root, worker="")
    assert made.steps == [[call("ask", 1.0)], {"pause": 3598.01}, 1.99]


def test_work_before_a_wait_is_no_pause() -> None:
    made = Ledger()
    root = made.add("approve", 2.0, 12.0, made_s=0.0)
    made.add(SIGNAL, 7.0, 10.0, of=root, worker="")
    assert made.steps == [5.0, {"pause": 3.0}, 2.0], "it had queued for two seconds"


def test_requests_that_have_not_ended_never_ran_or_are_older_are_left_out() -> None:
    old, running, shed, taken = Ledger("old"), Ledger("open"), Ledger("shed"), Ledger("new")
    old.add("report", 0.0, 100.0)
    running.add("search", 50.0, 60.0, of="open")
    shed.add("report", 70.0, 70.0, worker="")
    taken.add("report", 80.0, 90.0)
    records = [it for ledger in (taken, shed, running, old) for it in ledger.records]
    assert [it["at"] for it in requests_of(records)] == [0.0, 80.0]
    [request] = requests_of(records, since_s=EPOCH_S + 20.0)
    assert request == {"at": 0.0, "session": "u1", "agent": "report", "steps": [10.0]}


def test_sessions_are_named_where_they_are_others_than_the_callers() -> None:
    made = Ledger()
    root = made.add("report", 0.0, 2.0)
    made.add("memory", 0.0, 1.0, of=root, session="=" + "w7w")  # An encoded name.
    made.add("memory", 1.0, 2.0, of=root)
    assert made.steps == [[{"session": "ü", **call("memory", 1.0)}], [call("memory", 1.0)]]


def test_agents_are_declared_as_they_are_served() -> None:
    batch = {"size": 8, "linger_s": 0.01}
    methods: dict[str, Any] = {
        "Memory": {"ask": {"batch": batch}, "look": {"batch": None}},
        "a": {"ask": {"batch": batch}, "look": {"batch": batch}},
        "b": {"run": {}},  # Of a version that knew no batches.
        "x": {},
    }
    told = [
        {"name": it, "hints": {"stateful": it == "Memory"}, "methods": methods[it]}
        for it in methods
    ]
    workers = [
        {"worker": "w1", "agents": ["a", "b"], "concurrency": 4},
        {"worker": "w2", "agents": ["a", "b"], "concurrency": 8},
        {"worker": "w3", "agents": ["Memory"], "concurrency": 2},
    ]
    assert agents_of(told, workers, {"Memory", "a", "b", "gone"}) == [
        {"name": "Memory", "workers": 1, "concurrency": 2, "stateful": True},
        {"name": "a", "workers": 2, "concurrency": 6, "batch": batch},
        {"name": "b", "beside": "a"},
    ]


def test_a_fan_out_of_thousands_and_a_chain_of_hundreds_are_told_and_run(tmp_path: Path) -> None:
    made = Ledger()
    root = made.add("report", 0.0, 400.0)
    for each in range(1_500):
        made.add("search", 0.0, 1.0 + each / 1_500, of=root)
        made.add("read", 1.0 + each / 1_500, 3.0, of=root)
    for each in range(300):
        made.add("poll", float(each), each + 1.0, of=root)
    figures = simulated(tmp_path, made.records, workers=4_000)
    assert figures.futures == len(made.records)
    assert figures.p50_s == pytest.approx(400.0, rel=0.01)


def simulated(folder: Path, records: Sequence[Record], *, workers: int) -> Figures:
    path = folder / "traffic.jsonl"
    requests = requests_of(records)
    lines = [*({"name": name, "workers": workers} for name in called(requests)), *requests]
    path.write_text("\n".join(map(json.dumps, lines)))
    return simulate(workload_of(str(path), Size(1.0, workers)), chosen(["lanes"])[0])


#: What a call does: seconds of its own, calls at the same time, or chains of calls side by side.
CALLS: st.SearchStrategy[list[Any]] = st.recursive(
    st.lists(st.integers(1, 9), max_size=2),
    lambda inner: st.lists(
        st.integers(1, 9)
        | st.lists(st.lists(inner, min_size=1, max_size=2), min_size=1, max_size=3),
        max_size=3,
    ),
    max_leaves=12,
)  # fmt: skip


def ran(made: Ledger, doing: list[Any], begin_s: float, of: str) -> float:
    """Write down a call that does `doing` from `begin_s` on; return when it ended."""
    place = len(made.records)
    name = made.add("a", begin_s, begin_s, of=of)
    now_s = begin_s
    for step in doing:
        if isinstance(step, int):
            now_s += step
        else:
            now_s = max(_chain(made, chain, now_s, name) for chain in step)
    made.records[place] = replace(made.records[place], finished=EPOCH_S + now_s)
    return now_s


def _chain(made: Ledger, chain: list[Any], begin_s: float, of: str) -> float:
    for call_ in chain:
        begin_s = ran(made, call_, begin_s, of)
    return begin_s


@given(doing=CALLS)
@settings(max_examples=60, deadline=None)
def test_with_workers_enough_what_was_recorded_takes_as_long_as_it_took(
    doing: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = Ledger()
    took_s = ran(made, doing, 0.0, "")
    figures = simulated(tmp_path_factory.mktemp("run"), made.records, workers=50)
    assert figures.futures == len(made.records)
    overhead_s = 0.01 * (1 + len(made.records))
    assert took_s - 0.001 <= figures.p50_s <= took_s + overhead_s
