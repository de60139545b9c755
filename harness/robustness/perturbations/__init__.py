"""Perturbations: pictures, region features and captions under damage of stated severities, and the probes that show them."""
