"""How pydantic sees a field annotated `Future[T]`: a future, or a T in its place. Pure."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

#: Marks, in a schema's metadata, what takes a future in the place of a value.
IN_PLACE = "nalar.future"

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


def future_schema(cls: type[Any], source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
    """Return the schema of a field annotated with the class `cls` of futures, as `source` says."""
    from pydantic_core import core_schema  # noqa: PLC0415 -- pydantic is slow to import

    args = get_args(source)
    inner = handler.generate_schema(args[0]) if args else core_schema.any_schema()

    def validate(value: Any, validate_value: Callable[[Any], Any]) -> Any:
        return value if isinstance(value, cls) else validate_value(value)

    def dump(value: Any, dump_value: Callable[[Any], Any]) -> Any:
        return value.as_json() if isinstance(value, cls) else dump_value(value)

    return core_schema.no_info_wrap_validator_function(
        validate,
        inner,
        metadata={IN_PLACE: True},
        serialization=core_schema.wrap_serializer_function_ser_schema(
            dump, schema=inner, when_used="json"
        ),
    )
