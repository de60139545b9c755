"""Karpathy's splits as rows of a table: Parquet of the Hugging Face hub, and `flickr_annotations_30k.csv`."""
