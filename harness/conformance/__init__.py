"""The contract that every scorer keeps, as checks that need no test framework: `itm check` and the tests run them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
