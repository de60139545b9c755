"""The report of all probes: what perturbed inputs, clutter, composition and grounding say of the methods of a comparison."""
