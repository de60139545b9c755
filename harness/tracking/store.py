"""MLflow's local database: made whole or not at all, and made again where it is found broken.

A database is created beside its place and moved there. One that cannot be used, since a migration was cut off or the
file is damaged, is kept under another name: it is a mirror, and the records are the source of truth.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import warnings
from contextlib import closing, suppress
from pathlib import Path

from harness.files.writing import atomic_path, set_aside

logger = logging.getLogger(__name__)

#: Files that SQLite keeps beside a database; without it they belong to nothing, beside a new one they would damage it.
COMPANIONS = ("-journal", "-wal", "-shm")
_TABLES = {"alembic_version", "experiments", "runs", "metrics", "params", "tags"}


def prepare_database(path: Path, artifacts: Path) -> None:
    """Make sure that there is a whole database of this MLflow's schema. The caller has claimed it.

    Args:
        path: of the SQLite file.
        artifacts: folder of the artifacts of new experiments.

    Raises:
        OSError, sqlite3.Error: it cannot be read or written, or is locked.
        Exception: whatever MLflow raises, such as for a database of a later MLflow, which is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        problem = damage(path) or _outdated(path)
        if not problem:
            return
        if set_aside(path, problem) is None:
            raise OSError(f"{path} is damaged: {problem}")
        for ending in COMPANIONS:
            with suppress(OSError):
                path.with_name(path.name + ending).unlink()
        logger.warning(
            "the MLflow mirror is made again from the records; runs of other experiments return when their commands are "
            "called again"
        )
    with atomic_path(path) as temporary:
        _create(temporary, artifacts)


def damage(path: Path) -> str:
    """What is wrong with a database of MLflow's; empty if nothing is.

    Raises:
        sqlite3.OperationalError: it is locked, or cannot be opened or written.
    """
    if not path.is_file():
        return "it is no file"
    if not path.stat().st_size:
        return "it is empty"
    try:
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # proves that it can be written; MLflow would try for minutes
            connection.execute("ROLLBACK")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                return str(found)
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables >= _TABLES:
                return f"it lacks the tables {', '.join(sorted(_TABLES - tables))}; its first migration was cut off"
            if len(connection.execute("SELECT version_num FROM alembic_version").fetchall()) != 1:
                return "it does not say its version; its first migration was cut off"
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    return ""


def _outdated(path: Path) -> str:
    """Migrate a database of an earlier MLflow, on a copy; returns what is wrong with it where that fails."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    with closing(sqlite3.connect(path)) as connection:
        ((version,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    if version == utils._get_latest_schema_revision():
        return ""
    script = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    script.get_revision(version)  # an error if it is of a later MLflow, whose database is not ours to change
    try:
        with atomic_path(path) as copy:
            shutil.copyfile(path, copy)
            engine = utils.create_sqlalchemy_engine(f"sqlite:///{copy.as_posix()}")
            try:
                with warnings.catch_warnings(action="ignore"):
                    utils._upgrade_db(engine)
            finally:
                engine.dispose()
    except Exception as error:
        return f"its migration from version {version} was cut off and cannot be continued ({type(error).__name__})"
    return ""


def _create(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{path.as_posix()}", artifacts.as_uri())
    store.engine.dispose()  # closes the file before it gets its name
