import pytest

from nalar.agents.registry import Registry
from nalar.agents.spec import RUN, AgentSpec, Kind, MethodOptions, MethodSpec
from nalar.errors import UnknownTarget, UsageError
from nalar.ids import AgentName, MethodName


def act(self: object) -> None: ...


def make_spec(
    name: str, *methods: str, kind: Kind = "agent", qualname: str = "", file: str = "/a.py"
) -> AgentSpec:
    agent = AgentName(name)
    return AgentSpec(
        name=agent,
        kind=kind,
        methods={
            method: MethodSpec.of(
                act, agent=agent, name=MethodName(method), kind=kind,
                stateful=False, options=MethodOptions(),
            )
            for method in methods
        },
        qualname=qualname or name,
        file=file,
        line=7,
    )  # fmt: skip


def filled() -> Registry:
    registry = Registry()
    registry.register(make_spec("Analyst", "study", "peek"))
    registry.register(make_spec("search", RUN, kind="tool"))
    return registry


def test_targets_are_found_by_name() -> None:
    registry = filled()
    assert registry.method("Analyst.study").target == "Analyst.study"
    assert registry.method("search").target == "search.run"
    assert registry.method("search.run").target == "search.run"
    assert [spec.name for spec in registry.all()] == ["Analyst", "search"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (
            "Analist.study",
            "named 'Analist'. Did you mean 'Analyst'. Declared here: Analyst, search",
        ),
        ("Analyst.stdy", "no method 'stdy'. Did you mean 'study'. It has study, peek"),
        ("Analyst", "name a method too, one of study, peek"),
        ("search.fun", "search has no method 'fun'. Did you mean 'run'"),
        ("", "is named ''"),
    ],
)
def test_an_unknown_target_is_answered_with_what_there_is(target: str, says: str) -> None:
    with pytest.raises(UnknownTarget, match=says.replace("?", r"\?")):
        filled().method(target)
    with pytest.raises(UnknownTarget, match="Nothing is declared"):
        Registry().method("x")


def test_two_declarations_of_one_name_are_both_named() -> None:
    registry = filled()
    one, two = registry.get("Analyst"), make_spec("Analyst", "study", file="/b.py")
    registry.register(two)
    with pytest.raises(UsageError, match=r"/a\.py:7 \(Analyst\) and /b\.py:7 \(Analyst\)"):
        registry.get("Analyst")
    with pytest.raises(UsageError, match="two declarations are named 'Analyst'"):
        registry.method("Analyst.study")
    assert registry.owner(one.methods["study"]) is one
    assert registry.owner(two.methods["study"]) is two
    registry.register(make_spec("search", "find", qualname="Searcher"))
    with pytest.raises(UsageError, match=r"\(search\) and .*\(Searcher\)"):
        registry.get("search")


def test_a_declaration_that_is_made_again_takes_the_place_of_the_old() -> None:
    registry = filled()
    for again in (
        make_spec("Analyst", "study"),
        make_spec("Analyst", "study", qualname="test.<locals>.Analyst", file="/b.py"),
    ):
        registry.register(again)
        assert registry.get("Analyst") is again
