"""From a call to its invocation: what is inherited, what options change, what is refused."""

from typing import Any

import pytest

import nalar
from nalar.agents.registry import REGISTRY
from nalar.calls.draft import Heritage, address, begin, draft, inherit, lane_of
from nalar.calls.lineage import Lineage
from nalar.calls.seen import Seen
from nalar.context import Call, CallOptions
from nalar.errors import ReentrantCall
from nalar.futures import Future
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Invocation
from nalar.statestore.port import LedgerEntry


class DraftAgent(nalar.Agent, stateful=True):
    items: nalar.ManagedList[int]

    @nalar.method()
    async def put(self, item: int) -> int:
        return item

    @nalar.method(read_only=True)
    async def look(self) -> int:
        return 0


@nalar.tool(name="draft_tool")
async def draft_tool(x: int) -> int:
    return x


PUT = REGISTRY.method("DraftAgent.put")
LOOK = REGISTRY.method("DraftAgent.look")
TOOL = REGISTRY.method("draft_tool")
ROOT = RootId("root")


def heritage(**changes: Any) -> Heritage:
    values: dict[str, Any] = {
        "root": ROOT, "session": SessionId("s"), "tenant": "", "priority": 0, "created": 1.0,
        "deadline": 100.0,
    }  # fmt: skip
    return Heritage(**(values | changes))


def caller(**changes: Any) -> Call:
    values: dict[str, Any] = {
        "ref": Ref("r", AgentName("w"), SessionId("_"), ROOT, "client", FutureId("f")),
        "agent": "w", "method": "run", "session": "s", "tenant": "acme", "priority": 3,
        "deadline": 100.0, "attempt": 1, "worker": "w1", "path": "w", "holds": (),
        "traceparent": "00-x", "runtime": None, "slot": None,
    }  # fmt: skip
    return Call(**(values | changes))


def test_a_request_that_names_no_session_is_a_session_of_its_own() -> None:
    assert begin(ROOT, CallOptions(), now_s=10, deadline_s=5).session == "root"
    named = begin(ROOT, CallOptions(session="a b"), now_s=10, deadline_s=5)
    assert named.session == "=YSBi"
    assert named.deadline == 15


def test_a_call_inherits_session_tenant_priority_deadline_and_trace() -> None:
    got = inherit(caller(), CallOptions(), now_s=10)
    assert (got.session, got.tenant, got.priority, got.deadline, got.traceparent) == (
        "s", "acme", 3, 100.0, "00-x",
    )  # fmt: skip


def test_options_win_but_a_deadline_can_only_shrink() -> None:
    options = CallOptions(session="t", tenant="b", priority=0, deadline_s=5)
    got = inherit(caller(), options, now_s=10)
    assert (got.session, got.tenant, got.priority, got.deadline) == ("t", "b", 0, 15)
    assert inherit(caller(), CallOptions(deadline_s=1000), now_s=10).deadline == 100.0


def test_only_state_changing_calls_are_kept_under_their_session() -> None:
    assert str(address(PUT, heritage(), "p", FutureId("f"))) == "call.s.DraftAgent.s.root.p.f"
    assert str(address(LOOK, heritage(), "p", FutureId("f"))) == "call.r.DraftAgent._.root.p.f"
    assert str(address(TOOL, heritage(), "p", FutureId("f"))) == "call.r.draft_tool._.root.p.f"


def test_a_call_into_a_session_its_callers_hold_is_refused_unless_it_only_reads() -> None:
    held = heritage(holds=("Other/s", "DraftAgent/s"))
    with pytest.raises(ReentrantCall, match="DraftAgent/s > DraftAgent/s"):
        address(PUT, held, "p", FutureId("f"))
    address(LOOK, held, "p", FutureId("f"))
    address(PUT, heritage(holds=("DraftAgent/other",)), "p", FutureId("f"))


def drafted(
    spec: Any, lineage: Lineage, *args: Any, seen: Seen | None = None
) -> tuple[Invocation, Future[Any]]:
    name = lineage.name(spec.target, repr(args).encode(), None)
    future: Future[Any] = Future(address(spec, heritage(), lineage.parent, name))
    bound = spec.signature.bind(args, {})
    return draft(spec, bound, heritage(path="w"), future, lineage, seen or Seen()), future


def test_a_callers_calls_to_one_session_follow_its_last_change_until_that_is_done() -> None:
    lineage = Lineage("p")
    first, pending = drafted(PUT, lineage, 1)
    second, _ = drafted(PUT, lineage, 2)
    read, _ = drafted(LOOK, lineage)
    third, last = drafted(PUT, lineage, 3)
    assert [i.after for i in (first, second, read, third)] == [
        None, first.ref, second.ref, second.ref,
    ]  # fmt: skip
    pending.resolve(1)
    last.resolve(3)
    assert drafted(PUT, lineage, 4)[0].after is None


def test_a_read_says_what_its_caller_has_seen_of_the_session_and_a_change_need_not() -> None:
    seen = Seen()
    written = drafted(PUT, Lineage("p"), 1)[0]
    seen.note(LedgerEntry(written.ref, 17, b"{}"))
    assert drafted(LOOK, Lineage("p"), seen=seen)[0].seen == 17
    assert drafted(PUT, Lineage("p"), 2, seen=seen)[0].seen == 0
    assert drafted(TOOL, Lineage("p"), 2, seen=seen)[0].seen == 0


def test_identical_calls_are_numbered_and_a_key_names_one() -> None:
    lineage = Lineage("p")
    names = [lineage.name("t", b"{}", None) for _ in range(3)]
    assert len(set(names)) == 3
    again = Lineage("p")
    assert [again.name("t", b"{}", None) for _ in range(3)] == names
    assert lineage.name("t", b"{}", "k") == lineage.name("t", b"{}", "k")


def test_the_path_tells_people_where_a_call_comes_from() -> None:
    assert drafted(PUT, Lineage("p"), 1)[0].path == "w > DraftAgent.put"


def test_stateful_calls_go_to_their_sessions_slot_and_others_by_priority() -> None:
    put = drafted(PUT, Lineage("p"), 1)[0]
    tool = drafted(TOOL, Lineage("p"), 1)[0]
    assert lane_of(put, stateful=True, slots=16).startswith("s.")
    assert lane_of(put, stateful=True, slots=1) == "s.0"
    assert lane_of(tool, stateful=False, slots=16) == "q.normal"
    assert tool.method == MethodName("run")
