"""Matrix products of a training on a CPU: torch's own, or oneDNN's where a run asks for them."""
