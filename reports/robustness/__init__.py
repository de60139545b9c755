"""Reports of what probes found."""
