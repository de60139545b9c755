"""All recorded runs, and all ranks, as pandas frames."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.results import Result
from harness.errors import InvalidRecord
from harness.records.store import RunStore

if TYPE_CHECKING:
    import pandas as pd

    from harness.records.run import RunRecord

logger = logging.getLogger(__name__)


def results_df(results: str | Path | Iterable[Result] = "results") -> pd.DataFrame:
    """One row per run, oldest first, with flat typed columns whose names carry the unit.

    Args:
        results: a results folder, or results of `evaluate`.

    Returns:
        Columns: `run_id`, `scorer`, `variant`, `seed`, `dataset`, `split`, ... as text and int64; `started`, `finished` as
        UTC times; `PROTOCOL.METRIC` such as `full.t2i_r1_percent`, `full.rsum`, `full.t2i_medr_rank`; `cost.KEY` such as
        `cost.query_ms_p50`; `training.seconds`. A number that a run does not have is NaN.

    Raises:
        InvalidRecord: the folder holds no readable run.
    """
    from harness.reports.runs.frames import results_frame

    return results_frame(_records(results))


def ranks_df(results: str | Path | Iterable[Result] = "results") -> pd.DataFrame:
    """One row per run, protocol, direction and query: with it every number can be computed again.

    Args:
        results: a results folder, or results of `evaluate`.

    Returns:
        Columns: `run_id`, `scorer`, `variant`, `dataset`, `split`, `protocol`, `direction` (categories), `seed`, `query_id`,
        `image_id`, `caption_id` (of the query and its best positive), `rank_from_0` under the run's tie rule, `ties` with
        incorrect items, `fold`.

    Raises:
        InvalidRecord: the folder holds no readable run.
    """
    import pandas as pd

    parts = []
    for record, tables in _ranked(results):
        of_run = {key: getattr(record, key) for key in ("run_id", "scorer", "variant", "dataset", "split", "seed")}
        for protocol, table in tables.items():
            for direction, query in (("i2t", "image"), ("t2i", "caption")):
                columns = {
                    key: getattr(table, f"{direction}_{name}")
                    for key, name in (
                        ("query_id", f"{query}_id"),
                        ("image_id", "image_id"),
                        ("caption_id", "caption_id"),
                        ("rank_from_0", "rank"),
                        ("ties", "ties"),
                        ("fold", "fold"),
                    )
                }
                parts.append(pd.DataFrame({**of_run, "protocol": protocol, "direction": direction, **columns}))
    if not parts:
        raise InvalidRecord("none of these runs has ranks: printed figures have averages only")
    frame = pd.concat(parts, ignore_index=True)
    categories = ("run_id", "scorer", "variant", "dataset", "split", "protocol", "direction")
    texts = ("query_id", "image_id", "caption_id")
    return frame.astype(
        {**dict.fromkeys(categories, "category"), **dict.fromkeys(texts, "string"), "rank_from_0": "float64"}
    )


def _records(results: str | Path | Iterable[Result]) -> list[RunRecord]:
    if not isinstance(results, str | Path):
        return [one.record for one in results]
    found = RunStore(results).records()
    if not found:
        raise InvalidRecord(
            f"no run below {results}/runs; name a results folder that a command or fit(results=...) wrote"
        )
    return found


def _ranked(results: str | Path | Iterable[Result]) -> Iterator[tuple[RunRecord, Any]]:
    """Finished runs with their ranks; of each one that is damaged, a line says why it is left out."""
    if not isinstance(results, str | Path):
        yield from ((one.record, one.tables) for one in results)
        return
    store = RunStore(results)
    for record in _records(results):
        if record.status == "finished" and record.has_ranks:
            try:
                tables = store.ranks_of(record)
            except InvalidRecord as error:
                logger.warning("run %s is left out: %s", record.run_id, error)
            else:
                yield record, tables
