"""Words of the encoders that learn their own embeddings: vocabulary, tokenizer, published vectors."""
