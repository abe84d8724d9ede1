from typing import Any

import pytest
from pydantic import JsonValue

from examples.tool_calling.records import Call, Function, Shape
from examples.tool_calling.schema import (
    ITEMS_MAX,
    TEXT_MAX,
    InvalidCall,
    call_schema,
    json_schema,
    misfit,
    parse_call,
)

ORDER = Shape.model_validate(
    {
        "type": "dict",
        "properties": {
            "dish": {"type": "string", "enum": ["soup", "stew"]},
            "count": {"type": "integer"},
            "tip": {"type": "float"},
            "notes": {"type": "array", "items": {"type": "string"}},
            "place": {"type": "dict", "properties": {"table": {"type": "any"}}},
        },
        "required": ["dish", "count", "place"],
    }
)
FUNCTIONS = (
    Function(name="order", description="Order a meal.", parameters=ORDER),
    Function(name="menu.show", description="Show the menu.", parameters=Shape(type="dict")),
)


def test_schema_has_one_form_per_function_with_the_name_first() -> None:
    forms: Any = call_schema(FUNCTIONS)["anyOf"]
    assert [form["properties"]["function"]["enum"] for form in forms] == [["order"], ["menu.show"]]
    assert list(forms[0]["properties"]) == ["function", "arguments"]


def test_optional_arguments_may_be_left_out_and_others_may_not_be_added() -> None:
    schema = json_schema(ORDER)
    assert schema["required"] == ["dish", "count", "place"]
    assert schema["additionalProperties"] is False


def test_every_type_is_translated_and_what_could_grow_is_bounded() -> None:
    text = {"type": "string", "maxLength": TEXT_MAX}
    assert json_schema(Shape(type="string")) == text
    assert json_schema(Shape(type="float")) == {"type": "number"}
    assert json_schema(Shape(type="boolean")) == {"type": "boolean"}
    assert json_schema(Shape(type="tuple", items=Shape(type="integer"))) == {
        "type": "array",
        "items": {"type": "integer"},
        "maxItems": ITEMS_MAX,
    }
    assert json_schema(Shape(type="any")) == {"anyOf": [text, {"type": "number"}]}


def test_enum_leaves_no_other_choice() -> None:
    assert json_schema(Shape(type="string", enum=("soup", "stew"))) == {"enum": ["soup", "stew"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a call"),
        ('{"function": "order", "argum', "not a call"),
        ('["order"]', "not a call"),
        ('{"function": "order"}', "not a call"),
        ('{"function": "order", "arguments": []}', "not a call"),
        ('{"function": "order", "arguments": {"count": 1e999}}', "out of range"),
        ('{"function": "order", "arguments": {"place": [9223372036854775808]}}', "out of range"),
        ('{"function": "pay", "arguments": {}}', "no such function on offer: 'pay'"),
    ],
)
def test_what_is_no_call_is_refused_with_the_text(text: str, reason: str) -> None:
    with pytest.raises(InvalidCall, match=reason):
        parse_call(text, FUNCTIONS)


def test_a_call_is_read_whatever_its_arguments() -> None:
    call = parse_call(' {"function": "order", "arguments": {"dish": 1}}\n', FUNCTIONS)
    assert call == Call(function="order", arguments={"dish": 1})


def meal(**change: JsonValue) -> dict[str, JsonValue]:
    return {"dish": "soup", "count": 2, "place": {"table": "window"}, **change}


def test_a_value_fits_with_or_without_its_optional_parts() -> None:
    assert misfit(ORDER, meal()) is None
    assert misfit(ORDER, meal(tip=2, notes=["hot"])) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dish": "cake"}, "dish is 'cake', not one of soup, stew"),
        ({"count": 2.5}, "count is 2.5, not of type integer"),
        ({"count": True}, "count is True, not of type integer"),
        ({"notes": ["hot", 3]}, "notes is 3, not of type string"),
        ({"place": {}}, "place table is missing"),
        ({"colour": "red"}, "colour is not asked for"),
    ],
)
def test_a_misfit_names_the_part(change: dict[str, JsonValue], reason: str) -> None:
    assert misfit(ORDER, meal(**change)) == reason


def test_a_part_that_is_wanted_is_named_when_it_is_missing() -> None:
    assert misfit(ORDER, {"dish": "soup", "count": 2}) == "place is missing"
