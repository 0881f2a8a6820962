"""Retries of requests that the hub refused with status 429, after the time in its header Retry-After. Internal."""

from __future__ import annotations

import logging
import math
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_TOO_MANY_REQUESTS = 429
_LONGEST_WAIT = 60  # seconds in all; a user should hear of a longer wait

_log = logging.getLogger(__name__)  # warnings go to stderr unless the program configures it


def patiently(request: Callable[[], T]) -> T:
    """Return the result of a request, repeated after each wait that the hub asks for, up to a minute in all.

    Args:
        request: makes the request, and raises the error of the hub's answer. Other errors are not handled.
    """
    left = _LONGEST_WAIT
    while True:
        try:
            return request()
        except Exception as error:
            wait = asked_wait(error)
            if wait is None or wait > left:
                raise
            left -= wait
        _log.warning("the hub limits the number of requests; trying again in %d s, as it asks", wait)
        time.sleep(wait)


class _OneWarning(logging.Filter):
    """A filter that replaces all warnings of a logger with one of its own."""

    is_told = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Suppress a warning, but report the first one."""
        if record.levelno != logging.WARNING:
            return True
        if not self.is_told:
            _log.warning("the hub does not answer; trying again for half a minute")
            self.is_told = True
        return False


_one_warning = _OneWarning()


def tell_of_retries_once() -> None:
    """Print one line when huggingface_hub repeats requests, instead of its two or three for each.

    For programs; a library leaves the logs of others as they are.
    """
    logging.getLogger("huggingface_hub.utils._http").addFilter(_one_warning)


def asked_wait(error: BaseException | None) -> int | None:
    """Return the seconds, at least 1, that the hub asks to wait in an answer of status 429; None if it does not.

    Args:
        error: the error of a request, or one that it caused.
    """
    response = response_of(error)
    if getattr(response, "status_code", None) != _TOO_MANY_REQUESTS:
        return None
    asked = str(response.headers.get("Retry-After", "")).strip()
    try:
        seconds = float(asked) if asked.isdecimal() else parsedate_to_datetime(asked).timestamp() - time.time()
        return max(1, math.ceil(seconds))
    except (ValueError, OverflowError):  # the hub does not say, or a number of 400 digits
        return None


def response_of(error: BaseException | None) -> Any:
    """Return the hub's answer that an error, or one of its causes, is about; None if there is none.

    Args:
        error: the error.
    """
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return response
        error = error.__cause__
    return None
