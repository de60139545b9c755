"""Sweeps: a scorer's settings are tuned on the validation split with Optuna, at a budget that is counted and recorded.

`settings` and `space` say what is varied and what is sought, as data; `plan` joins them with an experiment's entry;
`study` opens the storage; `objective` runs one trial on the train and validation splits alone; `worker` and `run` share
a study's trials among processes and machines; `summary` is what a finished sweep leaves behind, and `tuned` what a
leaderboard takes from it.
"""
