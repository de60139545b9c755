"""A similarity matrix becomes ranks, and ranks become metrics. Both directions, any relevance."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
