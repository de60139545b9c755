from .engine import (
    ScoreBlock,
    depends_on_the_pair_alone,
    evaluating,
    packed_form,
    product_backends,
    score_blocks,
    similarity_matrix,
)
from .inputs import encode_split, image_batch
from .streaming import streaming_counts, top_k

__all__ = [
    "ScoreBlock",
    "depends_on_the_pair_alone",
    "encode_split",
    "evaluating",
    "image_batch",
    "packed_form",
    "product_backends",
    "score_blocks",
    "similarity_matrix",
    "streaming_counts",
    "top_k",
]
