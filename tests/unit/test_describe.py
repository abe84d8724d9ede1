import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

import nalar
from nalar.agents.describe import (
    Description,
    describe_agent,
    read_description,
    remote_agent,
    remote_method,
)
from nalar.errors import ArgumentError, MalformedMessage, UnknownTarget, UsageError
from nalar.futures import Future


class NoSchema:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415 -- the test's own type

        return core_schema.no_info_plain_validator_function(lambda _: cls())


@dataclasses.dataclass
class Study:
    ticker: str
    parts: list["Study"] = dataclasses.field(default_factory=list["Study"])
    raw: bytes = b"\xff"


class Analyst(nalar.Agent, stateful=True, resources={"GPU": 1}):
    """Reads."""

    notes: nalar.ManagedList[Study]
    prices: nalar.ManagedDict[str, float]
    state: nalar.ManagedValue[int]

    @nalar.method(read_only=True, timeout_s=5)
    async def study(
        self, ticker: str, since: dt.date | None = None, *, depth: int = 1
    ) -> list[Study]:
        """Study one."""
        return [Study(ticker)] * depth if since else []

    def raw(self, x, future: Future[int], odd: NoSchema | None = None) -> bytes: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


@nalar.tool
def search(ticker: str) -> list[str]:
    return [ticker]


def described() -> Description:
    spec: Any = Analyst.__nalar_spec__
    return json.loads(json.dumps(describe_agent(spec)))


def test_a_description_is_json_and_says_what_a_caller_needs() -> None:
    told = described()
    assert (told["name"], told["kind"], told["doc"]) == ("Analyst", "agent", "Reads.")
    assert told["hints"]["stateful"] is True
    assert told["hints"]["resources"] == {"GPU": 1}
    study = told["methods"]["study"]
    assert (study["read_only"], study["timeout_s"], study["doc"]) == (True, 5, "Study one.")
    assert [(p["name"], p["kind"], p["required"]) for p in study["parameters"]] == [
        ("ticker", "plain", True),
        ("since", "plain", False),
        ("depth", "keyword", False),
    ]
    assert study["parameters"][0]["schema"] == {"type": "string"}
    assert study["parameters"][2]["default"] == 1
    assert study["result"] == {"items": {"$ref": "#/$defs/Study"}, "type": "array"}
    assert told["$defs"]["Study"]["properties"]["raw"]["format"] == "base64url"
    assert told["$defs"]["Study"]["properties"]["raw"]["default"] == "_w=="


def test_fields_are_described_by_their_content() -> None:
    fields = described()["fields"]
    assert fields["notes"]["schema"] == {"items": {"$ref": "#/$defs/Study"}, "type": "array"}
    assert fields["prices"]["schema"]["additionalProperties"] == {"type": "number"}
    assert fields["state"]["schema"] == {"type": "integer"}


def test_a_type_without_a_schema_does_not_spoil_the_others() -> None:
    parameters = {p["name"]: p["schema"] for p in described()["methods"]["raw"]["parameters"]}
    assert parameters == {"x": {}, "future": {"type": "integer"}, "odd": {}}
    assert described()["methods"]["study"]["parameters"][0]["schema"] == {"type": "string"}


def test_a_remote_method_binds_by_the_described_names() -> None:
    study = remote_method(described(), "study")
    assert study.target == "Analyst.study"
    assert (study.stateful, study.read_only, study.effect) == (True, True, "r")
    assert study.signature.bind(("NVDA",), {"depth": 2}).text == b'{"ticker":"NVDA","depth":2}'
    assert study.signature.load_result(b'[{"ticker":"x"}]') == [{"ticker": "x"}]
    with pytest.raises(ArgumentError, match="misses 'ticker'"):
        study.signature.bind((), {})
    with pytest.raises(ArgumentError, match="takes 2 positional arguments"):
        study.signature.bind(("a", None, 3), {})
    with pytest.raises(ArgumentError, match=r"no argument 'dept'. Did you mean 'depth'"):
        study.signature.bind(("a",), {"dept": 3})
    with pytest.raises(UsageError, match="its code is elsewhere"):
        study.fn()


def test_what_a_remote_caller_binds_the_method_loads() -> None:
    bound = remote_method(described(), "study").signature.bind(("x", "2024-01-02"), {})
    loaded = Analyst.study.spec.signature.load(bound.text, {})
    assert loaded == ((), {"ticker": "x", "since": dt.date(2024, 1, 2)})


def test_a_tool_needs_no_method_name() -> None:
    told = describe_agent(search.agent)
    assert remote_method(told).target == "search.run"
    assert remote_method(told).label == "search"
    with pytest.raises(UnknownTarget, match="has no method 'find'"):
        remote_method(told, "find")
    with pytest.raises(UnknownTarget, match=r"'stdy'. Did you mean 'study'"):
        remote_method(described(), "stdy")


@pytest.mark.parametrize(
    "broken",
    [{}, {"version": 99}, described() | {"methods": 5}, described() | {"hints": {"x": 1}}],
)
def test_what_is_no_description_is_refused(broken: Description) -> None:
    with pytest.raises(MalformedMessage):
        remote_agent(broken)


@pytest.mark.parametrize(
    "value",
    [b"", b"nonsense", b"\xff", b"[]", b"7", b"null", b"{}", b'{"version": 1}',
     b'{"version": 9, "name": "x"}',
     b'{"version": 1, "name": "x", "kind": "tool", "hints": {}, "methods": {"run": 7}}'],
)  # fmt: skip
def test_an_entry_of_the_registry_that_is_no_description_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_description(value)
    assert read_description(json.dumps(described()).encode())["name"] == described()["name"]
