"""What a site shows of a dataset's split: thumbnails, captions, and correct pairs that are not the dataset's own."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
