"""The CPU engine: galleries packed without padding, and the kernels and matrix products that score them."""
