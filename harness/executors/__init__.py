"""Where work runs: worker processes on this machine, on a Ray cluster, or as SLURM jobs.

An executor starts workers, sees whether they live, and stops them. What they work on, and how they share it, is the
job's affair: a results folder with its claims, or a study.
"""
