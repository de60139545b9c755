"""Photographs with captions in Karpathy's JSON: Flickr8k, Flickr30K, COCO."""
