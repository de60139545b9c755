"""The fine-grained similarities in plain torch, differentiable, on padded tensors with masks."""
