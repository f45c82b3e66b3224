"""Tokens against the `tokenizers` library's own pipelines, and what a model of sentences is fed."""

import subprocess
import sys

import numpy as np
import pytest
import tokenizers

from walle_core.errors import InputError
from walle_core.text import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "engine", "##s", "run", "##ning", "cafe", "!", "model"]  # fmt: skip


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


def test_word_pieces_are_padded_and_cut(vocabulary):
    tokenizer = Tokenizer(vocabulary, length=8)
    assert tokenizer.size == len(PIECES)
    found = tokenizer.encode(["A small engine, running!", "Café models run a small engines running run!"])
    assert found.tokens[0] == ["[CLS]", "a", "small", "engine", "[UNK]", "run", "##ning", "[SEP]"]
    assert found.tokens[1] == ["[CLS]", "cafe", "model", "##s", "run", "a", "small", "[SEP]"]
    assert found.truncated == [True, True]
    assert found.input_ids.shape == (2, 8)
    assert found.input_ids.dtype == "int64"
    short = tokenizer.encode("a model")
    assert short.input_ids.tolist() == [[2, 5, 13, 3, 0, 0, 0, 0]]
    assert short.attention_mask.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]
    assert short.truncated == [False]
    assert set(short.inputs()) == {"input_ids", "attention_mask", "token_type_ids"}
    assert tokenizer.decode(short.input_ids.reshape(8)) == "a model"


def test_pairs_have_segments(vocabulary):
    found = Tokenizer(vocabulary).encode(["a model", "run"], ["small engine", "a"])
    assert found.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0]]
    assert found.input_ids.tolist()[1] == [2, 9, 3, 5, 3, 0, 0]


def test_case_may_matter(vocabulary):
    assert Tokenizer(vocabulary, lowercase=False).encode("A a").tokens == [["[CLS]", "[UNK]", "a", "[SEP]"]]


def test_a_saved_tokenizer_gives_the_same(vocabulary, tmp_path):
    made = Tokenizer(vocabulary, length=12)
    path = tmp_path / "tokenizer.json"
    made._made.save(str(path))
    texts = ["a small engine", "models running"]
    again = Tokenizer(path, length=12).encode(texts)
    np.testing.assert_array_equal(np.asarray(again.input_ids), np.asarray(made.encode(texts).input_ids))


def test_the_same_ids_as_the_librarys_own_bert(vocabulary):
    theirs = tokenizers.BertWordPieceTokenizer(str(vocabulary)) if hasattr(tokenizers, "BertWordPieceTokenizer") else None  # fmt: skip
    if theirs is None:
        pytest.skip("this version of tokenizers has no BertWordPieceTokenizer")
    text = "Running a small café engine! 漢字 models\tand\u00a0more"
    assert Tokenizer(vocabulary).encode(text).input_ids.tolist() == [theirs.encode(text).ids]


def test_ragged_batches_need_padding(tmp_path):
    bare = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    bare.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "bare.json"
    bare.save(str(path))
    made = Tokenizer(path)
    assert made.encode(["a b", "b a"]).input_ids.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(InputError, match="padding"):
        made.encode(["a", "a b"])
    with pytest.raises(InputError, match="padding"):
        Tokenizer(path, length=4)


@pytest.mark.parametrize(
    "call",
    [
        lambda v: Tokenizer(v.parent / "none.txt"),
        lambda v: Tokenizer(v, length=1),
        lambda v: Tokenizer(v).encode([]),
        lambda v: Tokenizer(v).encode([1]),
        lambda v: Tokenizer(v).encode(["a", "b"], ["a"]),
    ],
)
def test_what_cannot_be_done_is_refused(call, vocabulary):
    with pytest.raises(InputError):
        call(vocabulary)


@pytest.mark.parametrize("name", ["broken.json", "words.txt"])
def test_files_that_are_no_tokenizers(name, tmp_path):
    path = tmp_path / name
    path.write_text("{}" if name.endswith("json") else "a\nb\n")
    with pytest.raises(InputError, match=name):
        Tokenizer(path)


def test_without_the_library_an_error_says_what_to_install(vocabulary):
    code = f"""
import sys
sys.modules["tokenizers"] = None
from walle_core.errors import UnsupportedError
from walle_core.text import Tokenizer
try:
    Tokenizer({str(vocabulary)!r})
except UnsupportedError as error:
    assert "walle-core[text]" in str(error)
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
