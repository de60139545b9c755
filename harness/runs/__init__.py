"""One experiment's way: plan, run, evaluate, record; and what reuses finished runs (rescore, ensemble, ablation)."""
