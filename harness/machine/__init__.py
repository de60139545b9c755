"""The machine that computes: its CPUs, threads and memory, and who may have it alone."""
