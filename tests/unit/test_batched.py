"""Methods with `batch=`: what their bodies must look like, and how one call of them does."""

from collections.abc import Callable
from typing import Annotated, Any, cast

import pytest
from pydantic import Field

import nalar
from nalar.agents.describe import describe_agent
from nalar.errors import ArgumentError, UsageError

BATCH = nalar.Batch(size=4, linger_s=0.5)


class Embedder(nalar.Agent, name="UnitEmbedder", stateful=True):
    @nalar.method(batch=BATCH)
    async def embed(self, texts: list[str], depths: list[int]) -> list[list[float] | Exception]:
        return [[float(depth)] * len(text) for text, depth in zip(texts, depths, strict=True)]

    @nalar.method
    def plain(self) -> None: ...


class Heir(Embedder, name="UnitHeir"):
    def embed(self, text: str) -> str:  # type: ignore[override]
        return text


SPEC = Embedder.__nalar_spec__


def test_one_call_has_one_of_each_list_and_no_error_for_a_result() -> None:
    signature = SPEC.methods["embed"].signature
    bound = signature.bind(("a",), {"depths": 3})
    assert signature.load(bound.text, {}) == ((), {"texts": "a", "depths": 3})
    assert signature.dump_result([1.0]) == b"[1.0]"
    with pytest.raises(ArgumentError, match="depths"):
        signature.bind(("a", "deep"), {})
    with pytest.raises(nalar.InvalidResult):
        signature.dump_result(ValueError("is raised, not a result"))


async def test_the_plain_method_takes_the_lists() -> None:
    assert await Embedder().embed(["a"], [1]) == [[1.0]]
    agent = Embedder()
    assert nalar.batch_selves(agent) == [agent]
    with pytest.raises(UsageError, match="batch_calls"):
        nalar.batch_calls()


def test_a_description_shows_one_call_and_how_it_is_gathered() -> None:
    described = describe_agent(SPEC)["methods"]
    assert described["embed"]["batch"] == {"size": 4, "linger_s": 0.5}
    assert described["plain"]["batch"] is None
    assert [it["schema"]["type"] for it in described["embed"]["parameters"]] == [
        "string",
        "integer",
    ]


def test_the_hint_follows_from_the_methods() -> None:
    assert SPEC.batchable
    assert not Heir.__nalar_spec__.batchable
    with pytest.raises(UsageError, match=r"none of its methods .*nalar\.Batch"):

        class Idle(nalar.Agent, name="UnitIdle", batchable=True):  # pyright: ignore[reportUnusedClass]
            def act(self) -> None: ...


def nothing() -> list[int]: ...
def no_annotation(texts) -> list[int]: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def no_result(texts: list[str]): ...  # type: ignore[no-untyped-def]  # noqa: ANN201
def one(text: str) -> list[int]: ...
def one_result(texts: list[str]) -> int: ...
def default(texts: list[str] = []) -> list[int]: ...  # noqa: B006
def star(*texts: list[str]) -> list[int]: ...
def positional(texts: list[str], /) -> list[int]: ...
def yields(texts: list[str]) -> Any:
    yield texts


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (nothing, "takes no arguments"),
        (cast("Any", no_annotation), "'texts' must be list.* no annotation"),
        (no_result, "its result must be list.* no annotation"),
        (one, "'text' must be list.* it is str"),
        (one_result, "its result must be list.* it is int"),
        (default, "have no default"),
        (star, "neither"),
        (positional, "positional-only"),
        (yields, "yields"),
    ],
)
def test_a_body_that_takes_no_batch_is_refused_at_its_declaration(
    fn: Callable[..., Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        nalar.tool(batch=BATCH, name="unit_refused")(fn)


def test_a_workflow_has_no_batch() -> None:
    make: Any = nalar.workflow  # A type-checker knows no such option.
    with pytest.raises(UsageError, match="a workflow makes calls of its own"):
        make(batch=BATCH)(one)


def test_annotations_may_say_more_of_an_item() -> None:
    @nalar.tool(batch=BATCH, name="unit_annotated")
    def rank(scores: list[Annotated[int, Field(ge=0)]]) -> list[int]:
        return scores

    with pytest.raises(ArgumentError):
        rank.spec.signature.bind((-1,), {})
