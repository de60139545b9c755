"""The benchmark of the scoring engine: one run prints ratios against the limit of this machine and against the peers.

`python -m harness.benchmark OUT` writes `scoring.csv`, `scoring.md`, `scoring.png` and `scoring.svg` into the folder OUT.
"""
