from .blocks import ScoreBlock, evaluating
from .index import Hits, Index
from .inputs import encode_images, encode_sides, encode_split, encode_texts, image_batch
from .matrix import product_backends, score_blocks, similarity_matrix
from .packed import packed_form
from .streaming import StreamedScores, scores_of

__all__ = [
    "Hits",
    "Index",
    "ScoreBlock",
    "StreamedScores",
    "encode_images",
    "encode_sides",
    "encode_split",
    "encode_texts",
    "evaluating",
    "image_batch",
    "packed_form",
    "product_backends",
    "score_blocks",
    "scores_of",
    "similarity_matrix",
]
