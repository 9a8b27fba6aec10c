"""What the Hub's client raises, in one line that says what to do: no headers, no bodies, no signed URLs, no token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from httpx2 import HTTPError
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from artifacts.redaction import redact
from core.publishing.patience import Passing
from core.stages.context import StageError

ADVICE = {
    401: "the token is not valid; set HF_TOKEN or run `hf auth login`",
    403: "the token may not write there; use one with write access to the namespace",
    404: "it does not exist or the token cannot see it; check the namespace and the token's access",
    409: "it changed meanwhile; run again",
    412: "it changed meanwhile; run again",
    429: "too many requests; run again later",
}
PASSING = frozenset({408, 409, 412, 429, 500, 502, 503, 504})  # 409 and 412: the branch moved, so compare again


@contextmanager
def one_line_errors(what: str, endpoint: str) -> Iterator[None]:
    """Raise `Passing` for what another try may mend, `StageError` for the rest; the line begins with `what`."""
    try:
        yield
    except LocalEntryNotFoundError as error:  # before the next: it is what a failed download becomes
        raise _unreachable(what, endpoint, error.__cause__ or error) from None
    except HfHubHTTPError as error:
        raise _refused(what, endpoint, error) from None
    except (HTTPError, ConnectionError) as error:
        raise _unreachable(what, endpoint, error) from None
    except RuntimeError as error:  # an upload that broke off
        if isinstance(error.__cause__, (HTTPError, ConnectionError)):
            raise _unreachable(what, endpoint, error.__cause__) from None
        raise StageError(_line(what, str(error))) from None
    except ValueError as error:  # a card or a name that the Hub refuses
        raise StageError(_line(what, str(error))) from None


def _refused(what: str, endpoint: str, error: HfHubHTTPError) -> StageError:
    status = error.response.status_code
    advice = ADVICE.get(status, f"the Hub said: {error.server_message or 'nothing more'}; run again later")
    line = _line(what, f"{endpoint} answered {status}: {advice}")
    return Passing(line, _wait_seconds(error)) if status in PASSING else StageError(line)


def _unreachable(what: str, endpoint: str, error: BaseException) -> Passing:
    advice = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run again"
    return Passing(_line(what, f"{endpoint} is not reachable ({type(error).__name__}); {advice}"))


def _wait_seconds(error: HfHubHTTPError) -> float | None:
    """Retry-After in seconds; its other form, a date, is taken for none."""
    text = error.response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _line(what: str, why: str) -> str:
    return redact(f"{what}: {' '.join(why.split())}")
