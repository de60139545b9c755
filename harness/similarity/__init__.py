"""The fine-grained similarities that scorers share, imported only when used.

`max_sim` and `cross_attention` take padded tensors with masks and are differentiable; poolings and attention norms are
tables from a config value to a component. `PackedForm` and its kernels are the same for the scoring engine.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
