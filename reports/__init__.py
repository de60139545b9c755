"""Reports over recorded runs. Reads records and rank files only: never imports torch, methods or baselines."""
