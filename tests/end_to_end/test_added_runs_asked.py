"""`itm robustness` on results of other code: their ranks answer what needs no model, and nothing else is asked of them."""

from __future__ import annotations

import numpy as np

from harness.records.store import RunStore


def test_an_added_run_is_asked_by_its_ranks_alone(itm, experiment, tmp_path):
    assert itm("leaderboard", experiment)[0] == 0
    store = RunStore(tmp_path / "results")
    (trained,) = store.records()
    table = store.ranks(trained.run_id)["full"]
    images, owner = len(table.i2t_rank), table.caption_image
    scores = np.random.default_rng(0).standard_normal((images, len(owner))) + 2 * (owner == np.arange(images)[:, None])
    np.save(tmp_path / "s.npy", scores)
    assert itm("add", tmp_path / "s.npy", "--dataset", experiment, "--name", "theirs")[0] == 0
    (added,) = [record for record in store.records() if record.origin == "foreign"]

    code, _, err = itm("robustness", tmp_path / "results", "--only", "strata,captions/typos", "--severities", "1")
    assert code == 0, err
    assert {family for family, _ in store.probes(added.run_id)} == {"strata"}
    assert ("captions", "typos") in store.probes(trained.run_id)
    found = store.outcomes(added.run_id, "strata", "caption_length")
    measure = found.measure("t2i_rank")
    told = np.nansum(measure.values, axis=0)
    ranks = store.ranks(added.run_id)["full"]
    by_id = dict(zip(ranks.t2i_caption_id.tolist(), ranks.t2i_rank.tolist(), strict=True))
    assert told.tolist() == [by_id[caption] for caption in measure.item.tolist()]

    code, _, err = itm("robustness", tmp_path / "results", "--only", "strata,captions/typos", "--severities", "1")
    assert code == 0, err  # nothing is missing
