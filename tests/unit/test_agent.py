import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest

import nalar
from nalar.agents.registry import REGISTRY
from nalar.agents.spec import MethodSpec
from nalar.context import CallOptions, connect_runtime, disconnect_runtime
from nalar.errors import ArgumentError, InvalidToken, UsageError
from nalar.futures import Future
from nalar.ids import FutureId, Ref, RootId, SessionId


class Recorder:
    """A runtime that binds the arguments, as each does, and keeps what was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any], CallOptions]] = []

    def call(
        self, spec: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Future[Any]:
        bound = spec.signature.bind(args, kwargs)
        self.calls.append((spec.target, spec.signature.load(bound.text, {})[1], options))
        name = FutureId(f"f{len(self.calls)}")
        return Future(Ref("r", spec.agent, SessionId("_"), RootId("root"), "parent", name))


@pytest.fixture
def runtime() -> Iterator[Recorder]:
    recorder = Recorder()
    connect_runtime(recorder)
    yield recorder
    disconnect_runtime(recorder)


class Analyst(nalar.Agent, stateful=True, max_instances=3):
    """Reads the news."""

    notes: nalar.ManagedList[str]
    prices: "nalar.ManagedDict[str, float]"
    calls: nalar.ManagedValue[int]

    def __init__(self) -> None:
        self.own = 5

    @nalar.method(retry=nalar.Retry(max_attempts=5), timeout_s=60)
    async def study(self, ticker: str, depth: int = 1) -> str:
        """Study one."""
        self.notes.append(ticker)
        return self.helper(ticker) * depth

    @nalar.method(read_only=True, on_orphan="ignore")
    def peek(self) -> list[str]:
        return list(self.notes)

    def helper(self, text: str) -> str:
        return text.lower()

    def _private(self) -> None: ...

    @staticmethod
    def static() -> int:
        return 1

    @classmethod
    def klass(cls) -> str:
        return cls.__name__

    @property
    def size(self) -> int:
        return len(self.notes)


SPEC = Analyst.__nalar_spec__


def act(self: object) -> None: ...


def test_on_the_class_a_method_is_a_stub(runtime: Recorder) -> None:
    future = Analyst.study("NVDA", depth=2)
    assert isinstance(future, Future)
    assert runtime.calls == [("Analyst.study", {"ticker": "NVDA", "depth": 2}, CallOptions())]


def test_on_an_instance_it_is_plain_code(runtime: Recorder) -> None:
    analyst = Analyst()
    assert asyncio.run(analyst.study("NVDA", 2)) == "nvdanvda"
    assert analyst.peek() == ["NVDA"]
    assert (analyst.size, analyst.static(), Analyst.klass(), analyst.own) == (1, 1, "Analyst", 5)
    assert runtime.calls == []


def test_wrong_arguments_fail_before_anything_is_called(runtime: Recorder) -> None:
    with pytest.raises(ArgumentError, match=r"Analyst\.study\(ticker, depth\)"):
        Analyst.study(5)  # type: ignore[call-overload]
    assert runtime.calls == []


def test_every_public_method_is_served_and_nothing_else() -> None:
    assert list(SPEC.methods) == ["study", "peek", "helper"]
    assert SPEC.methods["helper"].signature.bind(("X",), {}).text == b'{"text":"X"}'


def test_the_spec_holds_what_was_declared() -> None:
    study, peek = SPEC.methods["study"], SPEC.methods["peek"]
    assert (SPEC.name, SPEC.kind, SPEC.doc) == ("Analyst", "agent", "Reads the news.")
    assert (SPEC.stateful, SPEC.max_instances, SPEC.batchable) == (True, 3, False)
    assert list(SPEC.fields) == ["notes", "prices", "calls"]
    assert (study.target, study.label, study.doc) == (
        "Analyst.study",
        "Analyst.study",
        "Study one.",
    )
    assert (study.is_async, study.timeout_s, study.retry.max_attempts) == (True, 60, 5)
    assert (peek.is_async, peek.read_only, peek.on_orphan) == (False, True, "ignore")
    assert (study.effect, peek.effect) == ("s", "r")
    assert REGISTRY.owner(study) is SPEC
    assert isinstance(SPEC.make(), Analyst)


def test_instances_have_fresh_state_though_they_define_init() -> None:
    one, two = Analyst(), Analyst()
    one.notes.append("x")
    assert (list(one.notes), list(two.notes)) == (["x"], [])


def test_options_are_carried_by_the_stubs_they_configure(runtime: Recorder) -> None:
    Analyst.options(session="s1", priority=5).study("a")
    view = Analyst.options(tenant="acme")
    view.options(key="k", deadline_s=3.5).peek()
    Analyst.study.options(session="s2")("b")
    assert [options for _, _, options in runtime.calls] == [
        CallOptions(session="s1", priority=5),
        CallOptions(tenant="acme", key="k", deadline_s=3.5),
        CallOptions(session="s2"),
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"session": 5}, "session is text, not 5"),
        ({"session": ""}, "1 to 120 bytes"),
        ({"session": "x" * 121}, "1 to 120 bytes"),
        ({"tenant": "\ud800"}, "not valid Unicode"),
        ({"priority": 1.5}, "priority is a whole number"),
        ({"priority": True}, "priority is a whole number"),
        ({"deadline_s": 0}, "deadline_s is a number"),
        ({"deadline_s": float("nan")}, "deadline_s is a number"),
        ({"deadline_s": "soon"}, "deadline_s is a number"),
        ({"deadline_s": 1e18}, "deadline_s is a number from 1e-09 to 1e"),
    ],
)
def test_wrong_options_fail_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Analyst.options(**options)
    assert issubclass(InvalidToken, UsageError)


def test_a_view_with_options_says_what_it_is_not() -> None:
    view: Any = Analyst.options(session="s")
    with pytest.raises(AttributeError, match=r"serves no method 'stduy'. Did you mean 'study'"):
        _ = view.stduy
    with pytest.raises(UsageError, match=r"An instance, for plain code, is Analyst\(\)"):
        view()


def test_a_subclass_serves_what_it_inherits_under_its_own_name(runtime: Recorder) -> None:
    class Senior(Analyst, max_instances=1):
        @nalar.method
        async def study(self, ticker: str, depth: int = 1) -> str:
            return "senior " + await super().study(ticker, depth)

        helper = None  # type: ignore[assignment]

    spec = Senior.__nalar_spec__
    assert list(spec.methods) == ["study", "peek"]
    assert (spec.stateful, spec.max_instances, list(spec.fields)) == (
        True, 1, ["notes", "prices", "calls"],
    )  # fmt: skip
    Senior.peek()
    Analyst.peek()
    assert [target for target, _, _ in runtime.calls] == ["Senior.peek", "Analyst.peek"]


def test_a_base_without_methods_is_not_served() -> None:
    class Bare(nalar.Agent):
        def _only(self) -> None: ...

    assert "Bare" not in REGISTRY
    assert Bare.__nalar_spec__.methods == {}


def test_an_agent_may_have_another_name() -> None:
    class Ungainly(nalar.Agent, name="neat-name"):
        def act(self) -> None: ...

    assert Ungainly.act.spec.target == "neat-name.act"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("hints", "says"),
    [
        ({"statefull": True}, "'statefull' is no hint. Did you mean 'stateful'"),
        ({"stateful": 1}, "stateful is True or False"),
        ({"min_instances": -1}, "min_instances is a count from 0"),
        ({"min_instances": 3, "max_instances": 2}, "max_instances is a count from 3"),
        ({"max_instances": 0}, "max_instances is a count from 1"),
        ({"resources": {"GPU": -1}}, "'GPU'.* is a number from 0"),
        ({"resources": ["GPU"]}, "resources is a dict"),
        ({"name": "no spaces"}, "'no spaces' cannot be served"),
        ({"name": "a.b"}, "'a.b' cannot be served"),
        ({"name": "ünï"}, "cannot be served"),
    ],
)
def test_a_hint_that_cannot_be_meant_is_refused(hints: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        type("Wrong", (nalar.Agent,), {"act": act}, **hints)


def test_session_state_needs_a_stateful_agent() -> None:
    with pytest.raises(UsageError, match=r"notes is session state.*Agent, stateful=True\)"):

        class Forgot(nalar.Agent):  # pyright: ignore[reportUnusedClass]
            notes: nalar.ManagedList[str]


def test_a_method_may_not_hide_options() -> None:
    with pytest.raises(UsageError, match="hides nalar's own"):
        type("Hider", (nalar.Agent,), {"options": act})


def test_an_agent_is_made_without_arguments() -> None:
    def init(self: Any, model: str) -> None: ...

    with pytest.raises(UsageError, match="__init__ needs 'model'"):
        type("Needy", (nalar.Agent,), {"__init__": init, "act": act})


def test_a_method_without_self_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Selfless\.act is a method and needs a first parameter"):
        type("Selfless", (nalar.Agent,), {"act": lambda: None})


def test_the_method_decorator_goes_on_functions_of_agents() -> None:
    with pytest.raises(UsageError, match=r"@nalar.method goes on a function"):
        nalar.method(functools.partial(print))  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"@nalar.method goes on a function"):
        nalar.method(staticmethod(print))  # type: ignore[call-overload]

    class Plain:
        @nalar.method
        def act(self) -> int:
            return 5

    assert Plain().act() == 5
    with pytest.raises(UsageError, match=r"is no agent: write class Plain\(nalar\.Agent\)"):
        _ = Plain.act


def test_an_error_inside_a_stub_leaves_no_trace_of_a_call() -> None:
    assert "Analyst.study(ticker, depth)" in repr(Analyst.study)
    assert Analyst.study.__name__ == "study"
    assert Analyst.study.__doc__ == "Study one."
