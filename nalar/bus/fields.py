"""JSON objects opened field by field: what does not fit is a MalformedMessage.

Pure. What invocations and records have in common as bytes: payloads, blobs, lists of references.
"""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final, cast

import orjson

from nalar.errors import MalformedMessage
from nalar.ids import Ref
from nalar.messages import BlobRef, Payload

_BLOB_NAME: Final = re.compile(rb'"sha256":"([0-9a-f]{64})"')


def dumps(fields: dict[str, object]) -> bytes:
    """Return `fields` as JSON.

    Text that is no Unicode (a lone surrogate in an error's message) is mended rather than
    refused: an error must always be recordable.
    """
    try:
        return orjson.dumps(fields)
    except TypeError:
        return orjson.dumps(_mended(fields))


def _mended(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _mended(item) for key, item in cast("dict[str, object]", value).items()}
    return value


def dump_again(value: object) -> bytes:
    """Return a value that was read as JSON text again."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise MalformedMessage(f"a value cannot be written again: {error}") from error


def load_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that `body` is."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedMessage(f"the body is not JSON: {error.msg[:200]}") from error
    return as_object(value, "the body")


def as_object(value: object, what: str) -> dict[str, Any]:
    """Return `value` if it is a JSON object."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"{what} is not a JSON object")
    return cast("dict[str, Any]", value)


def text_of(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    """Return a field that must be text; without a default it must be there."""
    value = fields.get(name, default)
    if type(value) is not str:
        raise MalformedMessage(f"{name!r} is not text")
    return value


def number_of(fields: dict[str, Any], name: str) -> float:
    """Return a field that must be there and a number."""
    value = fields.get(name)
    if type(value) is not float and type(value) is not int:
        raise MalformedMessage(f"{name!r} is not a number")
    return value


def put_payload(fields: dict[str, object], name: str, payload: Payload | None) -> None:
    """Add a payload: its text under `name`, or where it is kept under `<name>_blob`."""
    if payload is None:
        return
    if payload.text is not None:
        fields[name] = orjson.Fragment(payload.text)
    else:
        assert payload.blob is not None, "a payload has a text or a blob"
        fields[f"{name}_blob"] = blob_fields(payload.blob)


def take_payload(fields: dict[str, Any], name: str) -> Payload | None:
    """Return the payload that `put_payload` added, or None."""
    if name in fields:
        return Payload(dump_again(fields[name]))
    blob = fields.get(f"{name}_blob")
    return None if blob is None else Payload(None, blob_of(blob))


def blob_fields(blob: BlobRef) -> dict[str, object]:
    """Return a blob's address as JSON."""
    return {"name": blob.name, "size": blob.size, "sha256": blob.sha256}


def blobs_named(body: bytes) -> set[str]:
    """Return the names of the blobs that a message of any kind refers to.

    Found without opening it: a user's text that looks like a reference keeps a blob, no more.
    """
    return {name.decode() for name in _BLOB_NAME.findall(body)}


def blob_of(value: object) -> BlobRef:
    """Return the blob that `blob_fields` wrote."""
    fields = as_object(value, "a blob")
    size = fields.get("size")
    if type(size) is not int:
        raise MalformedMessage("the size of a blob is not a whole number")
    return BlobRef(name=text_of(fields, "name"), size=size, sha256=text_of(fields, "sha256"))


def runs_of_refs(refs: Iterable[Ref]) -> list[list[str]]:
    """Return refs as runs [prefix, future, future, …]: siblings share all but the future."""
    pairs = (str(ref).rpartition(".") for ref in refs)
    return [
        [prefix, *(future for _, _, future in run)]
        for prefix, run in groupby(pairs, key=lambda pair: pair[0])
    ]


def refs_of_runs(value: object) -> tuple[Ref, ...]:
    """Return the refs that `runs_of_refs` wrote."""
    if not isinstance(value, list):
        raise MalformedMessage("'deps' is not a list of runs of references")
    refs: list[Ref] = []
    for run in cast("list[object]", value):
        items = cast("list[object]", run) if isinstance(run, list) else []
        if not items or not all(isinstance(item, str) for item in items):
            raise MalformedMessage("a run of 'deps' is not a list of texts")
        prefix, *futures = items
        refs += (Ref.parse(f"{prefix}.{future}") for future in futures)
    return tuple(refs)
