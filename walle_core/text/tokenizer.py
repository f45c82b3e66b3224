"""Tokenizer: texts to fixed-size batches of ids, masks and segments, as sentence encoders take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from walle_core._native.tensor import Tensor
from walle_core.errors import InputError, UnsupportedError

MAX_LENGTH = 1 << 20
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UnsupportedError(
            f"walle_core.text needs the library `tokenizers` ({error}); install it with pip install 'walle-core[text]'"
            " and run the task in a process, as it does not load in a sub-interpreter"
        ) from error
    return tokenizers


@attrs.frozen(eq=False)
class Encoded:
    """A batch of texts.

    Attributes:
        input_ids, attention_mask, token_type_ids: int64 texts × length.
        tokens: the pieces of each text, padding left out.
        truncated: whether each text was longer than it may be.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    tokens: list[list[str]]
    truncated: list[bool]

    def inputs(self) -> dict[str, Tensor]:
        """The three Tensors by name, for `Session.run`."""
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "token_type_ids": self.token_type_ids,
        }


class Tokenizer:
    """Turns texts into ids.

    Args:
        model: a tokenizer.json, or a vocab.txt of WordPiece (BERT), one piece a line.
        length: ids per text, padded or cut; None: as long as the longest of a batch.
        lowercase: of a vocab.txt: whether text becomes lower case and loses its accents.

    Raises:
        UnsupportedError: the library is not installed or does not load.
        InputError: the file is not there or is no tokenizer.
    """

    def __init__(self, model: str | Path, length: int | None = None, lowercase: bool = True) -> None:
        library = _library()
        path = Path(model)
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; give a tokenizer.json or a vocab.txt")
        if length is not None and not 2 <= length <= MAX_LENGTH:
            raise InputError(f"length is {length}; it must be 2 to {MAX_LENGTH}")
        self._length = length
        try:
            made = (
                library.Tokenizer.from_file(str(path))
                if path.suffix == ".json"
                else _word_piece(library, path, lowercase)
            )
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: is no tokenizer: {error}") from error
        pad = next((t for t in ("[PAD]", "<pad>") if made.token_to_id(t) is not None), None)
        if length is not None and pad is None:
            raise InputError(f"{path}: it has no padding token; use length=None")
        if pad is not None:
            made.enable_padding(pad_id=made.token_to_id(pad), pad_token=pad, length=length)
        if length is None:
            made.no_truncation()
        else:
            made.enable_truncation(length)
        self._made, self._pad = made, pad

    @property
    def size(self) -> int:
        """Pieces in the vocabulary."""
        return int(self._made.get_vocab_size())

    def encode(self, texts: str | Sequence[str], pairs: Sequence[str] | None = None) -> Encoded:
        """Ids of one text or several; with `pairs`, of each text together with the second of its pair."""
        batch = [texts] if isinstance(texts, str) else list(texts)
        second = [pairs] if isinstance(pairs, str) else None if pairs is None else list(pairs)
        if not batch or not all(isinstance(t, str) for t in [*batch, *(second or [])]):
            raise InputError("texts must be one string or a list of strings, not empty")
        if second is not None and len(second) != len(batch):
            raise InputError(f"{len(batch)} texts have {len(second)} pairs; give as many")
        found = self._made.encode_batch(batch if second is None else list(zip(batch, second, strict=True)))
        sizes = {len(e.ids) for e in found}
        if len(sizes) > 1:
            raise InputError(
                "texts of different lengths, and the tokenizer has no padding token; encode them one by one"
            )
        return Encoded(
            Tensor.of([e.ids for e in found], "int64"),
            Tensor.of([e.attention_mask for e in found], "int64"),
            Tensor.of([e.type_ids for e in found], "int64"),
            [[t for t, used in zip(e.tokens, e.attention_mask, strict=True) if used] for e in found],
            [bool(e.overflowing) for e in found],
        )

    def decode(self, ids: Any, skip_special: bool = True) -> str:
        """The text of a row of ids."""
        row = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        return str(self._made.decode([int(i) for i in row], skip_special_tokens=skip_special))


def _word_piece(library: Any, path: Path, lowercase: bool) -> Any:
    pieces = path.read_text(encoding="utf-8").split("\n")
    vocabulary = {piece: i for i, piece in enumerate(pieces) if piece}
    missing = [t for t in SPECIAL if t not in vocabulary]
    if missing:
        raise InputError(f"{path}: it has no {', '.join(missing)}; give the vocab.txt of a WordPiece model")
    made = library.Tokenizer(library.models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    made.normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    made.decoder = library.decoders.WordPiece()
    made.post_processor = library.processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    made.add_special_tokens(list(SPECIAL))
    return made
