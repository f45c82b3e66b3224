"""Text as token ids for models, through the `tokenizers` library (``pip install walle-core[text]``)."""

from walle_core.text.tokenizer import Encoded, Tokenizer

__all__ = ["Encoded", "Tokenizer"]
