"""From a record to the end of its future. Pure."""

from typing import Any

import orjson

from nalar.agents.spec import MethodSpec
from nalar.errors import call_error
from nalar.futures import Future
from nalar.messages import Record


def resolve(spec: MethodSpec | None, future: Future[Any], record: Record, revision: int) -> None:
    """End `future` as `record` says."""
    if record.error is not None:
        error = record.error
        future.fail(
            call_error(
                error.code,
                type_name=error.type_name,
                message=error.message,
                traceback=error.traceback,
                path=error.path or record.path or f"{record.ref.agent}.{record.method}",
                retry_after_s=error.retry_after_s,
            ),
            revision=revision,
        )
        return
    assert record.result is not None
    assert record.result.text is not None
    text = record.result.text
    value = orjson.loads(text) if spec is None else spec.signature.load_result(text)
    future.resolve(value, revision=revision)
