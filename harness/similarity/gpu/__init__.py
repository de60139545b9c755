"""The GPU engine: fused Triton kernels, and the choice between them and plain torch."""
