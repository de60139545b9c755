"""Statistics of a comparison of retrieval methods, in plain arrays.

Start at `reports.statistics.comparison` (`compare`), `reports.statistics.intervals` (`single_interval`) and
`reports.statistics.ranking` (`tiers`). Nothing is imported here, so that `import reports` stays light.
"""
