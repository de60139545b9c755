from .blocks import ScoreBlock, evaluating
from .inputs import encode_split, image_batch
from .matrix import product_backends, score_blocks, similarity_matrix
from .packed import packed_form

__all__ = [
    "ScoreBlock",
    "encode_split",
    "evaluating",
    "image_batch",
    "packed_form",
    "product_backends",
    "score_blocks",
    "similarity_matrix",
]
