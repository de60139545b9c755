"""How tests of significance reports read runs and resample."""

from __future__ import annotations

from harness.reports.runs.sources import read_sources

QUICK = {"resamples": 999}


def only(runs, **options):
    (subject,) = read_sources([str(runs.store.results)], runs.store.results, **options)
    return subject
