"""Whether a model can be asked at an address: better known before twenty tasks wait for it."""

import http.client
import os
import urllib.error
import urllib.request
from http import HTTPStatus

BASE_URL = "OPENAI_BASE_URL"
API_KEY = "OPENAI_API_KEY"
#: What is sent where no key is set: a local server wants none, but OpenAI's client sends one.
NO_KEY = "none"
#: Seconds for a first sign of life.
ANSWER_MAX_S = 30
REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class NoEndpoint(RuntimeError):
    """Nobody answers there, or not to us."""


def check(url: str, api_key: str) -> None:
    """Ask the endpoint at `url` for its models; raises NoEndpoint if that leads nowhere."""
    address = f"{url.rstrip('/')}/models"
    try:
        request = urllib.request.Request(  # noqa: S310 -- the user says where the model is
            address, headers={"Authorization": f"Bearer {api_key}"}
        )
        with urllib.request.urlopen(request, timeout=ANSWER_MAX_S):  # noqa: S310 -- as above
            return
    except urllib.error.HTTPError as error:
        with error:
            if error.code in REFUSALS:
                raise NoEndpoint(f"{url} refuses {API_KEY}: {error}") from error
        # Some endpoints list no models and are well otherwise: the first question will tell.
    except urllib.error.URLError as error:
        raise NoEndpoint(f"no model answers at {url}: {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoEndpoint(f"no model answers at {url}: {error}") from error


def reach_ourselves_directly() -> None:
    """Let no proxy of the environment stand between this machine's processes."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = ",".join(filter(None, (known, "127.0.0.1")))
