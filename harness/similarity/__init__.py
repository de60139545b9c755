"""The fine-grained similarity kernels that scorers share, imported only when used.

`max_sim` and `cross_attention` take padded tensors with masks and are differentiable; the poolings and attention
normalisations they are built from are tables from a config value to a component.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
