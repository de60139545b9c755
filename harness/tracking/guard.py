"""MLflow calls that stay quiet, end in time and reveal no password."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

#: One attempt of a few seconds, where MLflow would try for minutes, and no talk. What a user has set stays.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@contextmanager
def considerate() -> Iterator[None]:
    """MLflow with `SETTINGS` and without its news of database migrations, for the time of a call."""
    missing = [key for key in SETTINGS if key not in os.environ]
    levels = {talker: talker.level for talker in map(logging.getLogger, ("mlflow", "alembic"))}
    os.environ.update({key: SETTINGS[key] for key in missing})
    for talker in levels:
        talker.setLevel(logging.ERROR)  # of a failure we tell ourselves
    try:
        yield
    finally:
        for key in missing:
            os.environ.pop(key, None)
        for talker, level in levels.items():
            if talker.level == logging.ERROR:  # else MLflow was imported meanwhile and chose its own
                talker.setLevel(level)


def within(seconds: float, call: Callable[[], object]) -> None:
    """Run a call, or raise a `TimeoutError` and leave it behind in its thread.

    The time limits of HTTP requests do not cover everything that can hang: name resolution, cloud storage, file locks.
    """
    done: Future[object] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    # Not an executor, whose threads are waited for when the process ends.
    threading.Thread(target=work, name="itm-tracking", daemon=True).start()
    try:
        done.result(timeout=seconds)
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"no answer within {seconds:g} s") from None


def without_password(text: str) -> str:
    """The text with `user:password@` taken out of addresses."""
    return re.sub(r"//[^/@\s]+@", "//", text)
