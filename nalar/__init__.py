"""Nalar: serve LLM-agent workflows on a message broker.

These are the public names, and only these. `connect` and `local` bring the whole runtime with
them, so they are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nalar.agents.agent import Agent
from nalar.agents.functions import tool, workflow
from nalar.agents.method import method
from nalar.agents.served import serve_class
from nalar.batches import batch_calls, batch_selves
from nalar.call_policy import Batch, Retry
from nalar.calls.durable import sleep, step, wait_for
from nalar.combined import as_completed, gather, wait
from nalar.context import Runtime, context, current_runtime, provide_implicit
from nalar.errors import (
    AgentError,
    ArgumentError,
    CallError,
    CallTimeout,
    Cancelled,
    DependencyFailed,
    Expired,
    FutureMisuse,
    InvalidResult,
    InvalidToken,
    NalarError,
    NonDeterminismError,
    Overloaded,
    ReentrantCall,
    Rejected,
    RetryLater,
    StreamRestarted,
    Unavailable,
    UnknownTarget,
    UnsupportedServer,
    UsageError,
    ValueTooLarge,
    WorkerCrashed,
)
from nalar.futures import Future
from nalar.statestore.managed import ManagedDict, ManagedList, ManagedValue

if TYPE_CHECKING:
    from nalar.serve import connect, local

__all__ = [
    "Agent", "AgentError", "ArgumentError", "Batch", "CallError", "CallTimeout", "Cancelled",
    "DependencyFailed", "Expired", "Future", "FutureMisuse", "InvalidResult", "InvalidToken",
    "ManagedDict", "ManagedList", "ManagedValue", "NalarError", "NonDeterminismError", "Overloaded",
    "ReentrantCall", "Rejected", "Retry", "RetryLater", "StreamRestarted", "Unavailable",
    "UnknownTarget", "UnsupportedServer", "UsageError", "ValueTooLarge", "WorkerCrashed",
    "as_completed", "batch_calls", "batch_selves", "connect", "context", "gather", "local",
    "method", "serve_class", "sleep", "step", "tool", "wait", "wait_for", "workflow",
]  # fmt: skip

_LAZY = frozenset({"connect", "local"})


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("nalar.serve"), name)


def _in_process() -> Runtime:
    """Make the runtime of calls that nobody connected: importing `serve` says how."""
    import_module("nalar.serve")
    return current_runtime()


provide_implicit(_in_process)
