"""Robustness: perturbed inputs, clutter, and correct pairs that nobody labelled; and the plan of all probes."""
