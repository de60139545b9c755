"""Profiles: what trained scorers cost in use. Reports read `harness.records.profile`, which needs no torch."""
