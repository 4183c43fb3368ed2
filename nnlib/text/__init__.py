"""Texts: tokenizers, sampling, generation, beam search."""
