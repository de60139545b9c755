"""The benchmark of the scoring engine: one run prints ratios against the limit of this machine and against the peers.

`itm bench OUT` writes `scoring.csv`, `scoring.md`, `scoring.png` and `scoring.svg` into the folder OUT.
"""
