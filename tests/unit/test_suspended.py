"""Entries of suspended calls: there and back, and from whoever wrote them."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.calls.own_records import sent_ref
from nalar.calls.suspended import Suspended, suspended_key
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId, encode_token

ROOT = RootId("root")


def call(future: str, agent: str = "Bank") -> Ref:
    return Ref("r", AgentName(agent), SessionId("_"), ROOT, "me", FutureId(future))


ME = Ref("r", AgentName("flow"), SessionId("_"), ROOT, "caller", FutureId("me"))
NAME = encode_token("Freigabe für 1.2")
WHOLE = Suspended(
    ME, "flow.run", b"$JS.ACK.Q.c.1.1.1.1.0", 1.5, 9.0, (call("a"), call("b")), {NAME: 7}, True
)


def test_an_entry_arrives_as_it_was_written() -> None:
    assert Suspended.decode(WHOLE.encode()) == WHOLE
    assert WHOLE.key == suspended_key("root", "me") == "suspended.root.me"


def test_it_knows_the_records_that_wake_it() -> None:
    assert WHOLE.waits_for(call("a"))
    assert not WHOLE.waits_for(call("c"))
    assert WHOLE.waits_for(sent_ref(ROOT, "me", SessionId(NAME), "x"))
    assert not WHOLE.waits_for(sent_ref(ROOT, "me", SessionId("other"), "x"))
    assert not WHOLE.waits_for(sent_ref(ROOT, "another", SessionId(NAME), "x"))


def test_it_says_what_it_waits_for() -> None:
    assert WHOLE.told == "signal Freigabe für 1.2, 2 calls of Bank"
    sleeper = Suspended(ME, "flow.run", b"", 1.0, 2.0, (), {}, True)
    assert sleeper.told == "time"


@given(st.binary() | st.dictionaries(st.text(), st.text() | st.none()).map(orjson.dumps))
def test_what_is_no_entry_is_none(value: bytes) -> None:
    assert Suspended.decode(value) is None


@pytest.mark.parametrize("field", ["ref", "lease", "since", "until", "calls", "signals", "sleeps"])
@pytest.mark.parametrize("odd", [None, [1], {"a": "b"}, "x", 1e400, -(2**70)])
def test_a_field_of_another_kind_does_not_raise(field: str, odd: object) -> None:
    told = orjson.loads(WHOLE.encode())
    told[field] = str(odd) if isinstance(odd, int) else odd
    Suspended.decode(orjson.dumps(told))
    del told[field]
    assert Suspended.decode(orjson.dumps(told)) is None
