"""What trained scorers cost where they would be used: scenarios, interleaved sampling, cascades, stored precision.

Imports nothing heavy: reports read `harness.records.profile` without torch.
"""
