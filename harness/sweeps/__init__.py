"""Sweeps: a scorer's settings are tuned on the validation split with Optuna, at a budget that is counted and recorded.

`space` says what varies, as data, and `fitting` that it fits the config; `plan` joins it with an experiment's entry.
`trial` runs one trial on the train and validation splits alone; `worker` and `processes` share a study's trials among
processes and machines; `summary` is what a sweep leaves behind, and `tuned` what a leaderboard takes from it.
"""
