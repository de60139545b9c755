"""Alignment cards of finished runs: which pairs get one, how they are made from a saved model, and what is kept of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
