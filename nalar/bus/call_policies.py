"""What a call says of retries and time limits, as JSON. Pure.

Members that have their default are left out. Exceptions go by name: nothing is resolved by it.
"""

from typing import Any, Final, cast

from nalar.bus.fields import as_object
from nalar.call_policy import ONCE, CallPolicy, Retry
from nalar.errors import MalformedMessage, UsageError

_TIMES: Final = ("timeout_s", "queue_timeout_s")
_NUMBERS: Final = ("max_attempts", "initial_s", "multiplier", "cap_s", "jitter")


def policy_fields(policy: CallPolicy) -> dict[str, object]:
    """Return `policy` as JSON."""
    fields: dict[str, object] = {
        name: value for name in _TIMES if (value := getattr(policy, name)) is not None
    }
    if policy.retry is not None:
        fields["retry"] = _retry_fields(policy.retry)
    return fields


def _retry_fields(retry: Retry) -> dict[str, object]:
    fields: dict[str, object] = {
        name: value for name in _NUMBERS if (value := getattr(retry, name)) != getattr(ONCE, name)
    }
    if retry.non_retryable:
        fields["non_retryable"] = list(retry.final_names)
    return fields


def policy_of(value: object) -> CallPolicy:
    """Return the policy that `policy_fields` wrote; members of a later version are let be."""
    fields = as_object(value, "the policy")
    told = fields.get("retry")
    retry = None if told is None else as_object(told, "the policy's retry")
    try:
        return CallPolicy(
            None if retry is None else _retry_of(retry),
            *(fields.get(name) for name in _TIMES),
        )
    except UsageError as error:
        raise MalformedMessage(f"the policy does not fit: {error}") from error


def _retry_of(fields: dict[str, Any]) -> Retry:
    names: object = fields.get("non_retryable", [])
    if not isinstance(names, list) or not all(
        isinstance(name, str) for name in cast("list[object]", names)
    ):
        raise MalformedMessage("'non_retryable' is not a list of names")
    given = {name: fields[name] for name in _NUMBERS if name in fields}
    return Retry(**given, non_retryable=tuple(cast("list[str]", names)))
