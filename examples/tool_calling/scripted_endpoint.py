"""An OpenAI-compatible endpoint without a model: it knows the answers to our own tasks, for tests.

python -m examples.tool_calling.scripted_endpoint prints its address and serves until it is ended.
Every MISTAKE_EVERYth task gets a mistake, of each kind in turn.
"""

import json
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from pydantic import JsonValue

from examples.tool_calling import child
from examples.tool_calling.grade import OMITTED
from examples.tool_calling.records import Call, Task
from examples.tool_calling.tasks import pick

MODULE = "examples.tool_calling.scripted_endpoint"
MODEL = "scripted"
MISTAKE_EVERY = 5
#: A cut reply lacks this much.
CUT_CHARACTERS = 5


class Script:
    """What to reply to which question."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._replies = {
            task.question.text: _reply(task, place) for place, task in enumerate(tasks, start=1)
        }

    def completion(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the body of the response; None if the last message asks nothing known."""
        messages = request["messages"]
        known = [text for text in self._replies if text in messages[-1]["content"]]
        if not known:
            return None
        prompt_tokens = sum(len(message["content"].split()) for message in messages)
        return _completion(self._replies[max(known, key=len)], prompt_tokens)


def _reply(task: Task, place: int) -> str:
    call = right_call(task)
    mistakes, rest = divmod(place, MISTAKE_EVERY)
    if rest:
        return call.model_dump_json()
    match mistakes % 3:
        case 1:  # without its arguments
            return Call(function=call.function, arguments={}).model_dump_json()
        case 2:  # cut
            return call.model_dump_json()[:-CUT_CHARACTERS]
        case _:  # of another function
            [name, *_] = (f.name for f in task.question.functions if f.name != call.function)
            return Call(function=name, arguments=call.arguments).model_dump_json()


def right_call(task: Task) -> Call:
    """Return the first accepted call, without the arguments that may be left out."""
    [(name, accepted)] = task.answer.items()
    return Call(function=name, arguments=_first_of_each(accepted))


def _first_of_each(accepted: dict[str, list[JsonValue]]) -> dict[str, JsonValue]:
    return {
        name: _plain(options[0]) for name, options in accepted.items() if OMITTED not in options
    }


def _plain(option: JsonValue) -> JsonValue:
    """Return the value that an accepted one stands for: its dicts lead to lists of values."""
    match option:
        case dict():
            return _first_of_each({k: v if isinstance(v, list) else [v] for k, v in option.items()})
        case list():
            return [_plain(item) for item in option]
        case _:
            return option


def _completion(text: str, prompt_tokens: int) -> dict[str, Any]:
    completion_tokens = len(text.split())
    finish = "stop" if text.endswith("}}") else "length"
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


class Endpoint(ThreadingHTTPServer):
    """Serves a script on a free port of the loopback interface."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, script))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, script: Script, *connection: Any) -> None:
        self._script = script
        super().__init__(*connection)  # which handles the requests

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._answer(HTTPStatus.OK, {"object": "list", "data": [{"id": MODEL}]})
        else:
            self._refuse(f"no such path: {self.path}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/chat/completions":
            self._refuse(f"no such path: {self.path}")
            return
        completion = self._script.completion(json.loads(body))
        if completion is None:
            self._refuse("the script has no reply to the last message")
        else:
            self._answer(HTTPStatus.OK, completion)

    def _refuse(self, message: str) -> None:
        self._answer(HTTPStatus.NOT_FOUND, {"error": {"message": message, "type": "not_found"}})

    def _answer(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base's name
        """Say nothing about each request."""


def main() -> None:
    """Serve the answers to the first of our own tasks."""
    parser = child.parser(__doc__)
    parser.add_argument("--count", type=int, default=20, help="how many tasks it knows")
    options = parser.parse_args()
    endpoint = Endpoint(Script(pick(options.count, "sample")))
    Thread(target=endpoint.serve_forever, daemon=True).start()
    child.serve(endpoint.url, with_parent=options.with_parent)


if __name__ == "__main__":
    main()
