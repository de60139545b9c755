"""What trained scorers cost where they would be used: scenarios, interleaved sampling, cascades, stored precision.

Imports nothing heavy: reports read `harness.profiles.record` without torch.
"""
