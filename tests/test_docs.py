"""The program on the page about durable calls does what the page says; cited tests exist."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import nalar

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CITED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Python on the page, imported as one module."""
    page = (DOCS / "durability.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    file = tmp_path_factory.mktemp("page") / "durability_page.py"
    file.write_text("\n".join(blocks))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_call_is_tried_again_and_keeps_its_key(program: Any) -> None:
    with nalar.local():
        assert program.answer("hi").result(10) == "HI"
    assert len(program.ATTEMPTS) == 3
    assert program.ATTEMPTS[0] == program.ATTEMPTS[1]


def test_what_is_yielded_is_read_meanwhile(program: Any) -> None:
    with nalar.local():
        assert program.shout("tea").result(10) == ["ON", "TEA", "THERE", "IS", "MORE."]
        assert list(program.write("tea").stream()) == ["On", "tea", "there", "is", "more."]


def test_a_thread_that_checks_can_be_cancelled(program: Any) -> None:
    with nalar.local():
        assert program.crunch(3).result(10) == 3
        endless = program.crunch(10**12)
        assert endless.cancel()
        with pytest.raises(nalar.Cancelled):
            endless.result(10)


@pytest.mark.parametrize("page", ["docs/reliability.md", "ARCHITECTURE.md"])
def test_every_test_that_a_page_cites_exists(page: str) -> None:
    cited = CITED.findall((ROOT / page).read_text("utf-8"))
    assert cited
    missing = [
        f"{file}::{name}"
        for file, name in cited
        if not (ROOT / file).exists()
        or (name and f"def {name}(" not in (ROOT / file).read_text("utf-8"))
    ]
    assert missing == []
