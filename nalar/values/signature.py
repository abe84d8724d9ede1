"""The typed edge: Python arguments and results to JSON text and back, checked by annotations.

Pure. A `Signature` is built once per method and used by both ends of a call. Nothing here
publishes or waits; a future among the arguments becomes a reference and a dependency.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Optional, cast, get_args

import orjson

from nalar.errors import ArgumentError, InvalidResult, NalarError, NotData, UsageError, suggest
from nalar.futures import Future
from nalar.ids import Ref
from nalar.messages import FUTURE_KEY
from nalar.settings import Settings
from nalar.values.nested import find_futures, replace_futures, validate_around
from nalar.values.wire import (
    SCALARS,
    WireType,
    canonical,
    check_depth,
    describe,
    encode,
    reasons,
)

#: Stands for "no default": the argument is required, or its default is no data.
ABSENT: Any = cast("Any", inspect.Parameter.empty)
DEPTH_MAX = Settings().depth_max
_SIMPLE = SCALARS - {float}
_ANYTHING = WireType.of(Any)

Kind = Literal["positional", "plain", "keyword", "rest", "extra"]
_KINDS: dict[int, Kind] = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "plain",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_POSITIONAL: "rest",
    inspect.Parameter.VAR_KEYWORD: "extra",
}


class Bound(NamedTuple):
    """The arguments of one call, ready to be sent."""

    #: A JSON object: arguments by name, defaults filled, a future as `{"$future": "<ref>"}`.
    text: bytes
    #: The same for hashing: sorted, and a future as `{"$future": "<id>"}` (nalar.ids.child_id).
    canonical: bytes
    dependencies: tuple[Ref, ...]

    def largest(self) -> tuple[str, int]:
        """Return the argument with the longest text, and its size in bytes."""
        sizes = {name: len(orjson.dumps(part)) for name, part in orjson.loads(self.text).items()}
        return max(sizes.items(), key=lambda item: item[1], default=("", 0))


@dataclass(slots=True, eq=False)
class Parameter:
    """One parameter of a method: `plain` takes a position or a name, as most do."""

    name: str
    kind: Kind = "plain"
    annotation: Any = Any
    default: Any = ABSENT
    wire: WireType = _ANYTHING
    #: The default as a JSON tree; ABSENT when there is none.
    filling: Any = ABSENT

    @property
    def required(self) -> bool:
        return self.default is ABSENT and self.kind not in ("rest", "extra")

    def compile(self, annotation: Any) -> None:
        """Take the resolved annotation, and the default's JSON form under it."""
        if self.kind == "rest":
            annotation = list[annotation]
        elif self.kind == "extra":
            annotation = dict[str, annotation]
        elif self.default is None and annotation is not Any:
            annotation = Optional[annotation]  # noqa: UP045 -- any annotation; `x: str = None` is common and means this
        self.annotation, self.wire = annotation, WireType.of(annotation)
        if self.default is ABSENT:
            return
        try:
            filling = self.wire.dump(self.wire.validate(self.default))
            encode(filling, DEPTH_MAX)
        except (NotData, ValueError):
            return  # Such as a sentinel: left out of the call; the method fills it in itself.
        self.filling = filling


class Signature:
    """The arguments and the result of one method, as JSON."""

    __slots__ = ("_allowed", "_by_position", "_extra", "_hints", "_ready", "_rest", "_result",
                 "parameters", "result", "target")  # fmt: skip

    def __init__(
        self,
        target: str,
        parameters: Sequence[Parameter],
        result: Any = Any,
        hints: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        #: `Agent.method` or the function's name, for messages.
        self.target = target
        self.parameters = tuple(parameters)
        #: The result's annotation.
        self.result = result
        self._hints = hints
        self._ready = hints is None
        self._result = WireType.of(result)
        self._by_position = [p.name for p in parameters if p.kind in ("positional", "plain")]
        self._allowed = {p.name for p in parameters if p.kind in ("plain", "keyword")}
        self._rest = next((p.name for p in parameters if p.kind == "rest"), None)
        self._extra = next((p.name for p in parameters if p.kind == "extra"), None)

    @classmethod
    def of(cls, fn: Callable[..., Any], target: str, *, method: bool = False) -> "Signature":
        """Return the signature of `fn`; a `method` has a first parameter that is not sent.

        Annotations are resolved at the first call, so that they may name what comes later in
        the module.
        """
        found = list(inspect.signature(fn).parameters.values())
        if method and not found:
            raise UsageError(f"{target} is a method and needs a first parameter, self")
        parameters = [
            Parameter(p.name, _KINDS[p.kind], default=p.default) for p in found[int(method) :]
        ]
        return cls(target, parameters, hints=partial(_hints_of, fn, target))

    def compile(self) -> None:
        """Resolve the annotations, once; raises UsageError for what cannot be resolved."""
        if self._ready:
            return
        if self._hints is not None:
            hints = self._hints()
            for parameter in self.parameters:
                try:
                    parameter.compile(hints.get(parameter.name, Any))
                except UsageError as error:
                    raise UsageError(
                        f"{self.target}, argument {parameter.name!r}: {error}"
                    ) from error
            self.result = hints.get("return", Any)
            self._result = WireType.of(self.result)
        self._ready = True

    def check(self) -> None:
        """Raise UsageError now for what would fail at the first call: for workers at start."""
        self.compile()
        for name, wire in [(p.name, p.wire) for p in self.parameters] + [("return", self._result)]:
            try:
                wire.compile()
            except UsageError as error:
                raise UsageError(f"{self.target}, {name!r}: {error}") from error

    # At the caller.

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
        """Return the arguments as they are sent; raises ArgumentError before anything is."""
        if not self._ready:
            self.compile()
        given = self._assign(args, kwargs)
        tree: dict[str, Any] = {}
        futures: list[Future[Any]] = []
        untouched = self._fill(given, tree, futures)
        try:
            if untouched:
                text = orjson.dumps(tree)
                return Bound(text, orjson.dumps(tree, option=orjson.OPT_SORT_KEYS), ())
            return self._finish(tree, futures)
        except (NotData, TypeError) as error:
            raise self._unsendable(tree, error) from error

    def _fill(
        self, given: dict[str, Any], tree: dict[str, Any], futures: list[Future[Any]]
    ) -> bool:
        """Put each argument into `tree`; say whether orjson alone writes the canonical text."""
        untouched = True
        for parameter in self.parameters:
            name = parameter.name
            if name in given:
                value = given[name]
                if type(value) is float or not parameter.wire.is_plain(value):
                    untouched = False
                    value = self._convert(parameter, value, futures)
                tree[name] = value
            elif parameter.filling is not ABSENT:
                untouched = untouched and type(parameter.filling) in _SIMPLE
                tree[name] = parameter.filling
            elif parameter.required:
                raise self._missing(given)
        return untouched

    def _finish(self, tree: dict[str, Any], futures: list[Future[Any]]) -> Bound:
        text = encode(tree, DEPTH_MAX + 1)
        if not futures:
            return Bound(text, canonical(tree), ())
        refs = {str(future.ref): future.ref for future in futures if future.ref is not None}
        by_id = replace_futures(
            tree, {text: {FUTURE_KEY: ref.future} for text, ref in refs.items()}
        )
        return Bound(text, canonical(by_id), tuple(refs.values()))

    def _assign(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = self._by_position
        given: dict[str, Any] = dict(zip(names, args, strict=False))
        if len(args) > len(names):
            if self._rest is None:
                raise ArgumentError(
                    f"{self} takes {len(names)} positional arguments, not {len(args)}"
                )
            given[self._rest] = list(args[len(names) :])
        extra: dict[str, Any] = {}
        for name, value in kwargs.items():
            if name in self._allowed:
                if name in given:
                    raise ArgumentError(f"{self} got argument {name!r} twice")
                given[name] = value
            elif self._extra is None:
                raise ArgumentError(
                    f"{self} has no argument {name!r}.{suggest(name, sorted(self._allowed))}"
                )
            else:
                extra[name] = value
        if self._extra is not None and extra:
            given[self._extra] = extra
        return given

    def _convert(self, parameter: Parameter, value: Any, futures: list[Future[Any]]) -> Any:
        """Return one validated argument as a JSON tree, its futures as references."""
        try:
            if type(value) is Future:  # pyright: ignore[reportUnknownVariableType]
                futures.append(cast("Future[Any]", value))
                return cast("Future[Any]", value).as_json()
            found = find_futures(value, DEPTH_MAX)
            if found:
                futures += found
                checked = validate_around(parameter.annotation, value)
            else:
                checked = parameter.wire.validate(value)
            if isinstance(checked, Future):
                return cast("Future[Any]", checked).as_json()
            return parameter.wire.dump(checked)
        except NotData as error:
            raise self._refused(parameter, str(error)) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise self._refused(parameter, reasons(error)) from error

    # At the method.

    def load(
        self, text: bytes, resolved: Mapping[Ref, bytes]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments in `text` as Python values, to call the method with.

        A future's place is taken by its JSON result in `resolved`; a future that is not there
        is data that only looks like one. Raises ArgumentError for what does not fit.
        """
        if not self._ready:
            self.compile()
        tree = self._parse(text)
        results = {str(ref): orjson.Fragment(result) for ref, result in resolved.items()}
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name in tree:
                part = tree.pop(parameter.name)
                if not parameter.wire.is_plain(part):
                    part = self._load_part(parameter, part, results)
                values[parameter.name] = part
            elif parameter.required:
                raise self._missing(values)
        if tree:
            raise ArgumentError(
                f"{self} has no argument {next(iter(tree))!r}."
                f"{suggest(next(iter(tree)), [p.name for p in self.parameters])}"
            )
        return self._spread(values)

    def _parse(self, text: bytes) -> dict[str, Any]:
        try:
            check_depth(text, DEPTH_MAX + 1)
            tree = orjson.loads(text)
        except (NotData, ValueError) as error:
            raise ArgumentError(f"{self}: the arguments are not JSON we accept: {error}") from error
        if not isinstance(tree, dict):
            raise ArgumentError(f"{self}: the arguments are no JSON object of names to values")
        return cast("dict[str, Any]", tree)

    def _load_part(self, parameter: Parameter, part: Any, results: dict[str, Any]) -> Any:
        try:
            return parameter.wire.load(
                orjson.dumps(replace_futures(part, results) if results else part)
            )
        except (ValueError, TypeError) as error:
            raise self._refused(parameter, reasons(error)) from error

    def _spread(self, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return `values` as positional and keyword arguments."""
        if self._allowed.issuperset(values):
            return (), values
        args: list[Any] = []
        for parameter in self.parameters:
            by_position = parameter.kind == "positional" or (
                parameter.kind == "plain" and self._rest in values
            )
            if by_position:
                args.append(values.pop(parameter.name, parameter.default))
            elif parameter.kind == "rest":
                args += values.pop(parameter.name, [])
        extra: dict[str, Any] = values.pop(self._extra, {}) if self._extra is not None else {}
        return tuple(args), values | extra

    # Results.

    def dump_result(self, value: Any) -> bytes:
        """Return a result as JSON text; raises InvalidResult when the annotation forbids it."""
        if not self._ready:
            self.compile()
        try:
            if not self._result.is_plain(value):
                value = self._result.dump(self._result.validate(_without_futures(value)))
            return encode(value, DEPTH_MAX)
        except (NotData, ValueError, TypeError, RecursionError) as error:
            raise InvalidResult(
                f"the result of {self.target} does not fit {describe(self.result)}: "
                f"{reasons(error)}"
            ) from error

    def load_result(self, data: bytes) -> Any:
        """Return the value that `dump_result` was given; raises InvalidResult."""
        if not self._ready:
            self.compile()
        try:
            return self._result.read(data)
        except ValueError as error:
            raise InvalidResult(
                f"the result of {self.target} is not a {describe(self.result)}: {reasons(error)}"
            ) from error

    # Saying what is wrong.

    def __str__(self) -> str:
        return f"{self.target}({', '.join(p.name for p in self.parameters)})"

    def _missing(self, given: Mapping[str, Any]) -> ArgumentError:
        names = [p.name for p in self.parameters if p.required and p.name not in given]
        return ArgumentError(f"{self} misses {', '.join(map(repr, names))}")

    def _refused(self, parameter: Parameter, reason: str) -> ArgumentError:
        wanted = describe(parameter.annotation)
        must = "" if wanted == "Any" else f" must be {wanted}"
        return ArgumentError(f"{self}: argument {parameter.name!r}{must}: {reason}")

    def _unsendable(self, tree: dict[str, Any], error: Exception) -> NalarError:
        """Return the error for a tree that cannot be written, naming the argument."""
        for parameter in self.parameters:
            if parameter.name in tree:
                try:
                    canonical(tree[parameter.name])
                    encode(tree[parameter.name], DEPTH_MAX)
                except NotData as found:
                    return self._refused(parameter, str(found))
        return ArgumentError(f"{self}: {error}")


def _without_futures(value: Any) -> Any:
    if find_futures(value, DEPTH_MAX):
        raise NotData("it contains a future: await it and return its value")
    return value


def _hints_of(fn: Callable[..., Any], target: str) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(fn, include_extras=True)
    except NameError as error:
        raise UsageError(
            f"the annotations of {target} name {error.name!r}, which its module does not define"
        ) from error
    result = hints.get("return", Any)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        hints["return"] = list[(get_args(result) or (Any,))[0]]
    return hints
