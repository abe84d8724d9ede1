import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nalar.agents.loader import choose, load
from nalar.agents.registry import REGISTRY
from nalar.errors import UnknownTarget, UsageError

FLOWS = """
import nalar
import {helper}

class {agent}(nalar.Agent):
    def act(self) -> int: return {helper}.FIVE
    def rest(self) -> None: ...

@nalar.workflow
def {flow}(n: int) -> int: return n

number = 5
"""


@pytest.fixture(autouse=True)
def _leave_no_modules() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, name: str, *, agent: str, flow: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"helper_of_{name}.py").write_text("FIVE = 5")
    file = folder / f"{name}.py"
    file.write_text(FLOWS.format(agent=agent, flow=flow, helper=f"helper_of_{name}"))
    return file


def test_a_file_is_loaded_as_python_would_run_it(tmp_path: Path) -> None:
    file = write(tmp_path, "flows_one", agent="One", flow="flow_one")
    loaded = load(str(file))
    assert [agent.name for agent in loaded.agents] == ["One", "flow_one"]
    assert loaded.module.__name__ == "flows_one"
    assert sys.path[0] == str(tmp_path)
    assert load("flows_one.py", cwd=str(tmp_path)).module is loaded.module
    assert load("./flows_one.py:flow_one", cwd=str(tmp_path)).agents == loaded.agents
    assert load("flows_one", cwd=str(tmp_path)).agents == loaded.agents


def test_a_file_of_a_package_keeps_its_dotted_name(tmp_path: Path) -> None:
    write(tmp_path / "pack" / "inner", "flows_two", agent="Two", flow="flow_two")
    for folder in ("pack", "pack/inner"):
        (tmp_path / folder / "__init__.py").touch()
    text = (tmp_path / "pack/inner/flows_two.py").read_text()
    text = text.replace("import helper_of_flows_two", "from pack.inner import helper_of_flows_two")
    (tmp_path / "pack/inner/flows_two.py").write_text(text)
    by_file = load("pack/inner/flows_two.py", cwd=str(tmp_path))
    assert by_file.module.__name__ == "pack.inner.flows_two"
    assert load("pack.inner.flows_two", cwd=str(tmp_path)).module is by_file.module


def test_an_attribute_names_the_target(tmp_path: Path) -> None:
    file = write(tmp_path, "flows_three", agent="Three", flow="flow_three")
    flow = load(f"{file}:flow_three").target
    assert flow is not None
    assert flow.target == "flow_three.run"
    method = load(f"{file}:Three.act").target
    assert method is not None
    assert method.target == "Three.act"
    for attribute, says in [
        ("flow_tree", "has no 'flow_tree'. Did you mean 'flow_three'. It declares Three, flow_th"),
        ("number", "number is 5, not an agent"),
        ("Three.atc", "no method 'atc'. Did you mean 'act'"),
        ("Three", "name a method too, one of act, rest"),
    ]:
        with pytest.raises((UsageError, UnknownTarget), match=says.replace("?", r"\?")):
            load(f"{file}:{attribute}")


def test_what_is_imported_into_the_module_is_served_too_but_not_stubs(tmp_path: Path) -> None:
    write(tmp_path, "flows_four", agent="Four", flow="flow_four")
    (tmp_path / "elsewhere.py").write_text(
        "import nalar\n__nalar_stubs__ = True\n@nalar.tool\ndef far_away() -> int: ...\n"
    )
    (tmp_path / "main_four.py").write_text(
        "from flows_four import Four\nfrom elsewhere import far_away\n"
    )
    agents = load("main_four.py", cwd=str(tmp_path)).agents
    assert [agent.name for agent in agents] == ["Four"]
    assert "far_away" in REGISTRY


def test_a_stub_gives_way_to_the_real_one_and_never_takes_its_place(tmp_path: Path) -> None:
    real = "import nalar\n@nalar.tool\ndef both() -> int: return 1\n"
    (tmp_path / "real_both.py").write_text(real)
    (tmp_path / "stub_both.py").write_text(f"__nalar_stubs__ = True\n{real}")
    load("stub_both.py:both", cwd=str(tmp_path))
    load("real_both.py", cwd=str(tmp_path))
    assert REGISTRY.get("both").module == "real_both"
    del sys.modules["stub_both"]
    load("stub_both.py:both", cwd=str(tmp_path))
    assert REGISTRY.get("both").module == "real_both"


def test_one_name_for_two_things_in_a_module_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "flows_six", agent="Six", flow="flow_six")
    (tmp_path / "twice.py").write_text(
        "import nalar\nfrom flows_six import Six\n"
        "@nalar.tool(name='Six')\ndef other() -> None: ...\n"
    )
    with pytest.raises(UsageError, match=r"named 'Six': .*flows_six\.py:.* and .*twice\.py:"):
        load("twice.py", cwd=str(tmp_path))


def test_two_files_of_one_name_are_both_named(tmp_path: Path) -> None:
    write(tmp_path / "a", "flows_five", agent="Five", flow="flow_five")
    write(tmp_path / "b", "flows_five", agent="FiveB", flow="flow_five_b")
    load(str(tmp_path / "a/flows_five.py"))
    with pytest.raises(UsageError, match=r"b/flows_five\.py would be module.*a/flows_five\.py alr"):
        load(str(tmp_path / "b/flows_five.py"))
    (tmp_path / "json.py").write_text("")
    with pytest.raises(UsageError, match=r"would be module 'json', and that is .*json"):
        load(str(tmp_path / "json.py"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_thing.py", r"there is no file no_such_thing\.py \(looked in .*\)\.$"),
        ("flows_sx.py", r"Did you mean 'flows_six\.py'"),
        ("none/flows.py", "the folder .*none does not exist"),
        ("folder.py", r"folder\.py is a folder"),
        ("flows-six.py", r"no Python identifier: rename it, for instance flows_six\.py"),
        ("flows_seven", "no module named 'flows_seven' can be found"),
        ("folder.nowhere", "no module named 'folder.nowhere'"),
        ("", "MODULE is a file"),
        ("empty.py", "declares no agent, tool or workflow"),
    ],
)
def test_what_cannot_be_loaded_is_said_with_the_way_out(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "flows_six.py").touch()
    (tmp_path / "flows-six.py").touch()
    (tmp_path / "empty.py").touch()
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UsageError, match=says):
        load(name, cwd=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_library", "Is 'no_such_library' installed in this environment"),
        ("def f(:", "SyntaxError"),
        ("import json\njson.loads('{')", "JSONDecodeError"),
        ("raise SystemExit(3)", "It ends the program when imported"),
        ("from broken_inner import x", "in <module>\n    1 / 0"),
    ],
)
@pytest.mark.parametrize("by", ["{}.py", "{}"])
def test_a_module_that_fails_shows_the_users_own_frames_only(
    tmp_path: Path, text: str, says: str, by: str
) -> None:
    (tmp_path / "broken_inner.py").write_text("1 / 0")
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UsageError) as caught:
        load(by.format("broken"), cwd=str(tmp_path))
    message = str(caught.value)
    assert says in message
    assert "importlib" not in message
    assert "/json/" not in message
    assert str(tmp_path / "broken.py") in message


def test_agents_are_chosen_by_name(tmp_path: Path) -> None:
    agents = load(str(write(tmp_path, "flows_ten", agent="Ten", flow="flow_ten"))).agents
    assert choose(agents, []) == agents
    assert [agent.name for agent in choose(agents, ["Ten"])] == ["Ten"]
    with pytest.raises(UsageError, match=r"'Tne' here. Did you mean 'Ten'. There are Ten, flow_t"):
        choose(agents, ["Tne"])


def test_what_is_served_under_another_name_than_its_variables_is_found_by_either(
    tmp_path: Path,
) -> None:
    (tmp_path / "flows_served.py").write_text(
        "import nalar\n\n"
        "class OldClass:\n    def act(self) -> int: return 5\n\n"
        "Served = nalar.serve_class(OldClass, methods=['act'])\n"
    )
    by_variable = load("flows_served.py:Served.act", cwd=str(tmp_path))
    assert load("flows_served.py:OldClass.act", cwd=str(tmp_path)).target is by_variable.target
