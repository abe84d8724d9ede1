import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.errors import MalformedMessage
from nalar.ids import FutureId
from nalar.statestore.session import JSON, LogEntry, SessionFold, after_lost, apply, parse_delta

A, B, C = FutureId("a"), FutureId("b"), FutureId("c")


def folded(state: dict[str, JSON], delta: str) -> dict[str, JSON]:
    apply(state, parse_delta(delta.encode()))
    return state


@pytest.mark.parametrize(
    ("before", "delta", "after"),
    [
        ({}, '{"n":[["splice",0,0,["a","b"]]]}', {"n": ["a", "b"]}),
        ({"n": [1, 2, 3]}, '{"n":[["splice",1,1,[]]]}', {"n": [1, 3]}),
        ({"n": [1, 2, 3]}, '{"n":[["splice",0,1,[]],["splice",2,0,[4]]]}', {"n": [2, 3, 4]}),
        ({"n": [1]}, '{"n":[["set",[2]],["splice",1,0,[3]]]}', {"n": [2, 3]}),
        ({}, '{"d":[["put","k",{"x":1}]]}', {"d": {"k": {"x": 1}}}),
        ({"d": {"k": 1}}, '{"d":[["drop","k"],["put","j",2]]}', {"d": {"j": 2}}),
        ({"d": {}}, '{"d":[["put","k",1],["drop","k"]]}', {"d": {}}),
        ({}, '{"v":[["set",null]]}', {"v": None}),
        ({"v": None}, '{"v":[["unset"]]}', {}),
        ({"v": 1}, '{"v":[["unset"],["splice",0,0,[1]]]}', {"v": [1]}),
        ({"v": 1, "w": 2}, '{"v":[["set",3]],"w":[["set",4]]}', {"v": 3, "w": 4}),
        ({"v": 1}, "{}", {"v": 1}),
    ],
)
def test_a_delta_means_what_the_protocol_says(
    before: dict[str, JSON], delta: str, after: dict[str, JSON]
) -> None:
    assert folded(before, delta) == after


@pytest.mark.parametrize(
    ("ops", "why"),
    [
        ('[["splice",0,4,[]]]', "has 3 items"),
        ('[["splice",4,0,[]]]', "has 3 items"),
        ('[["splice",-1,0,[]]]', "has 3 items"),
        ('[["splice",0,-1,[]]]', "has 3 items"),
        ('[["splice",0,3,[]],["splice",1,0,[1]]]', "has 0 items"),
        ('[["splice",true,0,[]]]', "a position is a number"),
        ('[["splice",0.0,0,[]]]', "no such operation"),
        ('[["splice",0,0,5]]', "no such operation"),
        ('[["splice",0,0]]', "no such operation"),
        ('[["put","k",1]]', "holds a list"),
        ('[["set",{}],["drop","k"]]', "no such key"),
        ('[["set",{"k":1}],["drop","k"],["drop","k"]]', "no such key"),
        ('[["set",5],["splice",0,0,[]]]', "holds a single value"),
        ('[["set",{}],["splice",0,0,[]]]', "holds an object"),
        ('[["set",{}],["put",1,2]]', "no such operation"),
        ('[["unset"],["unset"]]', "not set"),
        ('[["append",1]]', "no such operation"),
        ("[[]]", "no such operation"),
        ("[5]", "an operation is a list"),
        ('{"splice":1}', "operations stand in a list"),
        ("null", "operations stand in a list"),
    ],
)
def test_a_malformed_operation_is_refused_by_name_and_nothing_is_applied(
    ops: str, why: str
) -> None:
    state: dict[str, JSON] = {"notes": [1, 2, 3], "first": 0}
    with pytest.raises(MalformedMessage, match=why) as refused:
        folded(state, '{"first":[["set",1]],"notes":' + ops + "}")
    assert "notes" in str(refused.value)
    assert state == {"notes": [1, 2, 3], "first": 0}


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff", b'"x"'])
def test_a_delta_that_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_delta(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("ab é😀\0", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("splice"), st.integers(-1, 4), st.integers(0, 3), st.lists(json_values)),
        st.tuples(st.just("put"), st.sampled_from("ab"), json_values),
        st.tuples(st.just("drop"), st.sampled_from("ab")),
        st.tuples(st.just("set"), json_values),
        st.just(("unset",)),
        json_values,
    ),
    max_size=5,
)


@given(st.dictionaries(st.sampled_from("xy"), json_values), st.dictionaries(
    st.sampled_from("xy"), operations))  # fmt: skip
def test_a_delta_is_applied_whole_or_not_at_all(
    state: dict[str, JSON], delta: dict[str, list[JSON]]
) -> None:
    before = orjson.dumps(state)
    try:
        apply(state, parse_delta(orjson.dumps(delta)))
    except MalformedMessage:
        assert orjson.dumps(state) == before


def test_a_fold_takes_each_entry_once_and_in_order() -> None:
    fold = SessionFold.empty()
    assert fold.advance(5, A, b'{"n":[["splice",0,0,["x"]]]}', 100.0)
    assert not fold.advance(5, A, b'{"n":[["splice",0,0,["x"]]]}', 100.0)
    assert not fold.advance(4, B, b'{"n":[["splice",0,0,["y"]]]}', 100.0)
    assert fold.advance(9, C, None, 101.0)
    assert (fold.revision, fold.state) == (9, {"n": ["x"]})
    assert [fold.has(future) for future in (A, B, C)] == [True, False, True]


def test_a_malformed_entry_leaves_the_fold_as_it_was() -> None:
    fold = SessionFold.empty()
    fold.advance(1, A, b'{"n":[["splice",0,0,["x"]]]}', 1.0)
    with pytest.raises(MalformedMessage):
        fold.advance(2, B, b'{"n":[["splice",0,1,[]],["splice",9,0,[]]]}', 2.0)
    assert (fold.revision, fold.state, fold.has(B)) == (1, {"n": ["x"]}, False)


def test_a_snapshot_is_this_json_and_comes_back() -> None:
    fold = SessionFold.empty()
    fold.advance(7, A, b'{"n":[["splice",0,0,["x"]]]}', 100.5)
    snapshot = fold.dump(now_s=101.0, horizon_s=60.0)
    assert snapshot == b'{"v":1,"upto":7,"ids":{"a":[7,100.5]},"state":{"n":["x"]}}'
    assert SessionFold.load(snapshot) == fold


def test_a_dump_forgets_ids_beyond_the_horizon() -> None:
    fold = SessionFold.empty()
    fold.advance(1, A, None, 100.0)
    fold.advance(2, B, None, 150.0)
    again = SessionFold.load(fold.dump(now_s=170.0, horizon_s=60.0))
    assert [again.has(A), again.has(B), fold.has(A)] == [False, True, False]
    assert again.revision == 2


@pytest.mark.parametrize(
    "snapshot",
    [
        b"", b"[]", b"{}", b'{"v":2,"upto":1,"ids":{},"state":{}}', b'{"v":1,"upto":1,"ids":{}}',
        b'{"v":1,"upto":"1","ids":{},"state":{}}', b'{"v":1,"upto":1,"ids":{},"state":[]}',
        b'{"v":1,"upto":1,"ids":{"a":1},"state":{}}',
        b'{"v":1,"upto":1,"ids":{"a":[1]},"state":{}}',
    ],
)  # fmt: skip
def test_what_is_no_snapshot_is_refused(snapshot: bytes) -> None:
    with pytest.raises(MalformedMessage):
        SessionFold.load(snapshot)


def entry(revision: int, future: FutureId, delta: bytes | None) -> LogEntry:
    return LogEntry(revision, future, delta, 0.0)


CHANGE = b'{"v":[["set",1]]}'


@pytest.mark.parametrize(
    ("entries", "verdict"),
    [
        ([], "commit_again"),
        ([entry(2, B, None)], "commit_again"),
        ([entry(2, B, None), entry(3, C, CHANGE)], "rerun"),
        ([entry(2, A, CHANGE)], "done"),
        ([entry(2, B, CHANGE), entry(3, A, CHANGE)], "done"),
        ([entry(2, A, None), entry(3, B, CHANGE)], "done"),
        ([entry(1, B, CHANGE)], "commit_again"),  # part of the fold that the call ran on
    ],
)
def test_after_a_lost_commit_the_log_decides(entries: list[LogEntry], verdict: str) -> None:
    fold = SessionFold.empty()
    fold.advance(1, B, CHANGE, 0.0)
    assert after_lost(fold, entries, A) == verdict


def test_a_call_that_the_fold_has_already_is_done() -> None:
    fold = SessionFold.empty()
    fold.advance(1, A, CHANGE, 0.0)
    assert after_lost(fold, [entry(2, B, CHANGE)], A) == "done"
