import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from nalar.agents.describe import describe_agent
from nalar.agents.loader import load
from nalar.agents.registry import REGISTRY
from nalar.agents.spec import AgentSpec
from nalar.agents.stubgen import LANGUAGES, python_stubs, typescript_stubs

SERVED = Path(__file__).parents[1] / "typing" / "served.py"


@pytest.fixture(scope="module")
def agents() -> dict[str, AgentSpec]:
    return {agent.name: agent for agent in load(str(SERVED)).agents}


@pytest.fixture(scope="module")
def descriptions(agents: dict[str, AgentSpec]) -> list[dict[str, Any]]:
    return [orjson.loads(orjson.dumps(describe_agent(agent))) for agent in agents.values()]


@pytest.fixture
def stubs(descriptions: list[dict[str, Any]], tmp_path: Path) -> Iterator[ModuleType]:
    """The generated module, as a caller without the source would import it."""
    (tmp_path / "generated_stubs.py").write_text(python_stubs(descriptions))
    sys.path.insert(0, str(tmp_path))
    yield importlib.import_module("generated_stubs")
    sys.path.remove(str(tmp_path))
    del sys.modules["generated_stubs"]


def test_python_stubs_bind_what_the_served_code_loads(
    stubs: Any, agents: dict[str, AgentSpec]
) -> None:
    node = stubs.Node(name="x", children=[stubs.Node(name="y")])
    bound = stubs.Keeper.find.bind(node, stubs.Color.DARK_BLUE)
    args, kwargs = agents["Keeper"].methods["find"].signature.load(bound.text, {})
    assert args == ()
    assert kwargs["node"].children[0].name == "y"
    assert kwargs["color"].value == "dark blue"
    assert kwargs["how"] == "a"
    assert "since" not in orjson.loads(bound.text) or kwargs["since"].year == 2024


def test_results_of_the_served_code_are_the_stubs_own_types(
    stubs: Any, agents: dict[str, AgentSpec]
) -> None:
    tell = agents["Keeper"].methods["tell"]
    args, kwargs = tell.signature.load(b'{"first":{"a":1,"c":["x"]},"second":2}', {})
    result = tell.signature.dump_result(tell.fn(None, *args, **kwargs))
    assert stubs.Keeper.tell.spec.signature.load_result(result) == [stubs.Simple(a=1, c={"x"})] * 2


def test_stubs_never_take_the_place_of_what_they_stand_for(
    stubs: Any, agents: dict[str, AgentSpec]
) -> None:
    assert REGISTRY.get("Keeper") is agents["Keeper"]
    with pytest.raises(NotImplementedError, match=r"nalar\.connect\(\) first"):
        stubs.search.spec.fn("x") if not stubs.search.spec.is_async else run(stubs.search.fn("x"))


def run(coroutine: Any) -> Any:
    return coroutine.send(None)


def test_every_agent_and_type_has_its_place(descriptions: list[dict[str, Any]]) -> None:
    text = python_stubs(descriptions)
    assert "class Keeper(nalar.Agent, stateful=True):" in text
    assert "@nalar.workflow(name='my-flow')\ndef my_flow(" in text
    assert "color: Color = Color('red')" in text
    assert "raw: bytes = b'\\xff'" in text
    assert "children: list[Node] = field(default_factory=lambda: list[Node]())" in text
    for language in LANGUAGES.values():
        assert language(descriptions) == language(descriptions[::-1])


def test_one_name_with_two_meanings_becomes_two_types(descriptions: list[dict[str, Any]]) -> None:
    [keeper] = [told for told in descriptions if told["name"] == "Keeper"]
    other = orjson.loads(orjson.dumps(keeper)) | {"name": "Other"}
    same = python_stubs([keeper, other])
    assert len(re.findall(r"^class \w*Simple:", same, re.MULTILINE)) == 1
    other["$defs"]["Simple"]["properties"]["a"] = {"type": "string"}
    text = python_stubs([keeper, other])
    assert re.findall(r"^class (\w*Simple):", text, re.MULTILINE) == ["Simple", "OtherSimple"]
    assert re.search(r"class Other\(.*first: OtherSimple \|", text, re.DOTALL)


def test_a_type_named_like_an_agent_gives_way(descriptions: list[dict[str, Any]]) -> None:
    [keeper] = [told for told in descriptions if told["name"] == "Keeper"]
    told = orjson.loads(orjson.dumps(keeper).replace(b"Simple", b"Keeper"))
    assert re.findall(r"^class (Keeper\w*)", python_stubs([told]), re.MULTILINE) == [
        "KeeperKeeper",
        "Keeper",
    ]


def test_no_description_makes_an_empty_module() -> None:
    compile(python_stubs([]), "empty.py", "exec")
    assert "export interface Calls {" in typescript_stubs([])


def test_typescript_stubs_map_every_target(descriptions: list[dict[str, Any]]) -> None:
    text = typescript_stubs(descriptions)
    assert '"Keeper.find": {' in text
    assert '"search.run": {\n    arguments: {\n      ticker: string | FutureRef;' in text
    assert "      count?: number | FutureRef;" in text
    assert "    result: Zoo | null;" in text
    assert 'export type Color = "red" | "dark blue";' in text
    assert '  "a-b": number;' in text
    assert "  pets: (Cat | Dog)[];" in text
    assert '"Keeper.find": { agent: "Keeper", method: "find", kind: "agent", stateful: true' in text


def test_typescript_names_only_what_it_declares(descriptions: list[dict[str, Any]]) -> None:
    text = re.sub(r"/\*.*?\*/|//.*|\"[^\"]*\"", "", typescript_stubs(descriptions), flags=re.DOTALL)
    declared = set(re.findall(r"export (?:interface|type|const) (\w+)", text))
    used = set(re.findall(r"\b[A-Z]\w+", text)) - {"Record", "T"}
    assert used <= declared
    assert text.count("{") == text.count("}")
