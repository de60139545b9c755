"""Where a study is kept: Optuna's storages by URL, their errors as one line, and the lock of a study."""

from __future__ import annotations

import errno
import functools
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import optuna

from harness.errors import ItmError, ResultsNotWritable, StorageUnavailable, one_line
from harness.files.extras import install_extra
from harness.files.locks import claim

JOURNAL = "journal:"
#: Seconds: for a lock of a local file that other workers hold, and for a server to answer.
LOCK_SECONDS, CONNECT_SECONDS = 60, 10
ADVICE = "nothing of the study is lost; fix it or choose another with --storage"
#: Optuna's first table. A database that has tables but not this one belongs to another program.
FIRST_TABLE = "studies"

StudyLock = Callable[[], AbstractContextManager[Any]]


def open_storage(url: str) -> Any:
    """Optuna's storage behind a URL of a database, or `journal:PATH` for a file that machines share.

    Raises:
        StorageUnavailable: it would be lost with the process, or is the database of another program.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what a failed trial says is kept in the trial and told by us
    path = storage_file(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    if url.startswith(JOURNAL):
        from optuna.storages.journal import JournalFileBackend

        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    if path is not None:
        _refuse_foreign_tables(url, path)
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": _arguments(url), "pool_pre_ping": True})


def open_beside_others(url: str) -> Any:
    """The storage, also where another worker is making its tables this moment: Optuna does not wait for that."""
    from sqlalchemy.exc import DatabaseError

    half_made = "already exists|duplicate|UNIQUE|no such table|relation .* does not exist"
    for pause in (0.5, 1.0, 2.0, 4.0):
        try:
            return open_storage(url)
        except DatabaseError as error:
            if not re.search(half_made, str(error.orig)):
                raise
        time.sleep(pause)
    return open_storage(url)


def storage_file(url: str) -> Path | None:
    """The file of a storage; None for a server.

    Raises:
        StorageUnavailable: a storage in memory, or a journal without a path.
    """
    if url.startswith(JOURNAL):
        if not url.removeprefix(JOURNAL).strip():
            raise StorageUnavailable(f"cannot use the storage {url}: no path is given; expected journal:PATH")
        return Path(url.removeprefix(JOURNAL))
    if not url.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    database = make_url(url).database
    if not database or ":memory:" in database:
        raise StorageUnavailable(
            f"cannot use the storage {url}: it is in memory, so every trial would be lost; expected sqlite:///PATH"
        )
    return Path(database)


def study_lock(url: str, name: str) -> StudyLock:
    """The lock of a study: a function that returns a context, for which no other process has one of that study.

    It ends with its owner. Of a file's storage it is a lock of the operating system beside that file, of a server's a
    locked row that Optuna never writes again; the study must be there.
    """
    path = storage_file(url)
    if path is None:
        return functools.partial(_locked_row, url, name)
    return functools.partial(claim, path.resolve().parent, f"{path.resolve().name} {name}")


def shown_storage(url: str) -> str:
    """The URL without a password.

    >>> shown_storage("postgresql+psycopg://me:secret@host/db")
    'postgresql+psycopg://me:***@host/db'
    """
    return re.sub(r"(//[^/:@\s]*):[^/@\s]+@", r"\1:***@", url)


@contextmanager
def storage_errors(url: str, opening: bool = False) -> Iterator[None]:
    """Errors of the storage as `StorageUnavailable`.

    Args:
        url: of the storage.
        opening: the block does nothing but open it, so that every error is the storage's.
    """
    shown = f"cannot use the storage {shown_storage(url)}"
    try:
        yield
    except (ItmError, KeyboardInterrupt) as error:
        if not (opening and isinstance(error, ResultsNotWritable)):
            raise
        raise StorageUnavailable(f"{shown}: {error}; {ADVICE}") from None
    except ImportError as error:
        hint = f"; in the clone, run: {install_extra('postgresql')}" if url.startswith("postgresql") else ""
        raise StorageUnavailable(f"{shown}: the driver is missing ({one_line(error)}){hint}") from None
    except Exception as error:
        # A damaged journal is a ValueError, tables of another version are a RuntimeError, and so on.
        if not opening and not is_of_storage(error):
            raise
        cause: Any = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        reason = shown_storage(one_line(getattr(cause, "orig", None) or cause or error) or type(error).__name__)
        raise StorageUnavailable(f"{shown}: {reason}; {ADVICE}") from None


def is_of_storage(error: BaseException) -> bool:
    """Whether an error came from the storage or from a full disk: it says nothing about a trial's settings."""
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    return isinstance(
        error, (SQLAlchemyError, optuna.exceptions.StorageInternalError, StorageUnavailable, ResultsNotWritable)
    )


@contextmanager
def _locked_row(url: str, name: str) -> Iterator[None]:
    """A row lock of a server, for as long as its connection lives.

    The row is one of `study_directions`: Optuna locks the study's own row to number its trials, which must go on.
    """
    from sqlalchemy import NullPool, column, create_engine, select, table

    directions = table("study_directions", column("study_id"), column("objective"))
    studies = table("studies", column("study_id"), column("study_name"))
    study = select(studies.c.study_id).where(studies.c.study_name == name).scalar_subquery()
    row = select(directions.c.study_id).where(directions.c.study_id == study, directions.c.objective == 0)
    engine = create_engine(url, poolclass=NullPool, connect_args=_arguments(url))
    with engine.begin() as connection:
        connection.execute(row.with_for_update()).all()
        yield


def _arguments(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"timeout": LOCK_SECONDS}
    return {"connect_timeout": CONNECT_SECONDS} if url.startswith("postgresql") else {}


def _refuse_foreign_tables(url: str, path: Path) -> None:
    """Optuna would write its tables into any SQLite file, MLflow's too."""
    if not path.is_file() or not path.stat().st_size:
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and FIRST_TABLE not in tables:
        raise StorageUnavailable(
            f"cannot use the storage {url}: it is the database of another program (tables {', '.join(sorted(tables)):.80}); "
            "choose another with --storage"
        )
