"""Statistics of a comparison of retrieval methods, in plain arrays.

Start at `harness.reports.statistics.comparison` (`compare`), `harness.reports.statistics.intervals` (`single_interval`) and
`harness.reports.statistics.ranking` (`tiers`). Nothing is imported here, so that `import reports` stays light.
"""
