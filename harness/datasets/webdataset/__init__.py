"""Webdataset: photographs and captions in numbered tar archives, as CLIP_benchmark publishes them."""
