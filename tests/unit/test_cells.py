"""What a terminal is shown of values that come from anywhere."""

import json

import pytest

from nalar_cli.cells import CELL_MAX, cell, is_cut, json_cell, json_lines, line, lines


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x9b31m", r"\x9b31m"),
        ("\x7f", r"\x7f"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("café 👩\u200d🚀 日本", "café 👩\u200d🚀 日本"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(raw: str, shown: str) -> None:
    assert line(raw) == cell(raw) == shown


def test_a_text_of_several_lines_keeps_them_and_nothing_worse() -> None:
    assert lines("one\n\ttwo\x1b]0;title\x07\r") == "one\n\ttwo\\x1b]0;title\\x07\\r"


def test_json_that_is_shown_means_the_same() -> None:
    value = {"a\x1b": ["\x9b31m", "\u202e", "é\n"]}
    shown = json_lines(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(shown) == value
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert "é" in shown


def test_a_cell_is_cut_and_says_how_long_it_is() -> None:
    shown = json_cell(["x" * 1_000_000])
    assert len(shown) < CELL_MAX + 40
    assert shown.endswith("... (1,000,004 characters)")
    assert is_cut(shown)
    assert not is_cut(json_cell(["x" * (CELL_MAX - 4)]))
    assert is_cut(cell(["name"] * 1000))


def test_a_cell_of_controls_alone_stays_bounded() -> None:
    assert len(cell("\x00" * 1_000_000)) < 4 * CELL_MAX + 40
