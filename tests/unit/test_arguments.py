"""What users type: JSON arguments and targets."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar_cli.arguments import (
    Arguments,
    InputError,
    Target,
    duration_s,
    given_value,
    parse_arguments,
    parse_module_target,
    parse_names,
    parse_target,
    read_json,
)


def test_an_object_names_arguments_and_an_array_orders_them() -> None:
    assert parse_arguments('{"a": 1, "b": [2]}') == Arguments([], {"a": 1, "b": [2]})
    assert parse_arguments('[1, {"a": 2}]') == Arguments([1, {"a": 2}], {})
    assert parse_arguments("  ") == Arguments([], {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1,}', "line 1, column 9"),
        ('{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("{'a': 1}", "expecting property name enclosed in double quotes"),
        ("3", "for this one, [3]"),
        ('"text"', 'for this one, ["text"]'),
        ('{"a": NaN}', "NaN is no JSON number"),
        ("[-Infinity]", "-Infinity is no JSON number"),
        ('{"a": {"b": 1, "b": 2}}', "'b' stands twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_arguments_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(InputError, match="--json") as refused:
        parse_arguments(text)
    assert told in str(refused.value)


def test_the_mark_stands_under_the_mistake_also_in_a_long_line() -> None:
    text = '["' + "x" * 200 + '" "y"]'
    with pytest.raises(InputError) as refused:
        parse_arguments(text)
    _, shown, mark = str(refused.value).splitlines()
    assert shown[mark.index("^")] == '"'
    assert shown[mark.index("^") + 1] == "y"
    assert len(shown) < 80


@given(st.text(max_size=40))
def test_any_text_is_arguments_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        parse_arguments(text)


def test_json_comes_from_the_option_a_file_or_stdin(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("[1]")
    stdin = io.StringIO("[2]")
    assert [read_json(option, stdin) for option in ("[0]", f"@{file}", "-")] == [
        "[0]",
        "[1]",
        "[2]",
    ]
    file.write_bytes(b"\xff")
    for option, told in ((f"@{tmp_path}/b.json", "No such file"), (f"@{file}", "not UTF-8")):
        with pytest.raises(InputError, match=told):
            read_json(option, stdin)
    with pytest.raises(InputError, match="not UTF-8"):
        read_json("-", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Analyst.study", Target("Analyst.study")),
        ("report", Target("report")),
        ("flows.py:report", Target("report", "flows.py")),
        ("pkg.flows:Analyst.study", Target("Analyst.study", "pkg.flows")),
        ("C:/x/flows.py:report", Target("report", "C:/x/flows.py")),
    ],
)
def test_targets_are_served_names_or_names_in_a_module(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("flows.py", "flows.py:NAME"),
        ("dir/flows", "dir/flows:NAME"),
        ("", "is no target"),
        ("Analyst.", "is no target"),
        (":report", "MODULE:NAME"),
        ("flows.py:", "MODULE:NAME"),
    ],
)
def test_what_is_no_target_is_refused_with_the_form_to_use(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_target(text)


def test_run_wants_a_module() -> None:
    assert parse_module_target("a:b") == Target("b", "a")
    with pytest.raises(InputError, match="MODULE:WORKFLOW"):
        parse_module_target("report")


def test_names_are_separated_by_commas() -> None:
    assert parse_names(" A, B ,,C") == ["A", "B", "C"]
    for nothing in ("", " , "):
        with pytest.raises(InputError, match="names none"):
            parse_names(nothing)


def test_a_value_may_be_any_json_and_null_when_none_is_given() -> None:
    assert given_value("") is None
    assert given_value("true") is True
    assert given_value('[{"a": 1}]') == [{"a": 1}]
    for odd in ("yes", "{\n", "[1,\r\n", "{\u2028"):
        with pytest.raises(InputError, match="--json is not JSON"):
            given_value(odd)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("1d", 86400)]
)
def test_a_time_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert duration_s("--for", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "10", "ten m", "0s", "-1m", "nanh", "infd", "1e9d", "5 y"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError, match=r"--for .*90s, 10m, 2h or 1d"):
        duration_s("--for", text)
