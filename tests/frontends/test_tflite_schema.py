"""The page of facts about the format agrees with the schema's own package."""

import inspect
import re
from importlib import import_module

import pytest
from tflite_files import OPTIONS as CLASSES

from walle_core.frontends.tflite import schema as s

pytest.importorskip("tflite")
CODES = {"Int8": "b", "Int32": "i", "Float32": "f", "Bool": "?", "Uint32": "I", "Uint8": "B", "Uint64": "Q"}


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def slots(table):
    """Field -> (slot, type) of a table, as its writer in the package says."""
    text = inspect.getsource(import_module(f"tflite.{table}"))
    rows = re.findall(
        rf"def {table}Add(\w+)\(builder, \w+\):\s*(?:return )?builder\.Prepend(\w+)Slot\((\d+), ", text
    )
    assert rows
    return {field: (int(slot), kind) for field, kind, slot in rows}


def numbers(enum):
    """Names of an enumeration by number."""
    found = vars(getattr(import_module(f"tflite.{enum}"), enum))
    return {v: k for k, v in found.items() if not k.startswith("_")}


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        ("Model", s.MODEL), ("OperatorCode", s.OPERATOR_CODE), ("SubGraph", s.SUBGRAPH), ("Tensor", s.TENSOR),
        ("QuantizationParameters", s.QUANTIZATION), ("Operator", s.OPERATOR), ("Buffer", s.BUFFER),
    ],
)  # fmt: skip
def test_tables(table, fields):
    known = slots(table)
    assert {f: known[camel(f)][0] for f in fields} == fields


@pytest.mark.parametrize("operator", s.OPTIONS)
def test_options(operator):
    known = slots(CLASSES[operator])
    for field, (slot, code, _) in s.OPTIONS[operator].items():
        at, kind = known[camel(field)]
        assert at == slot and (CODES[kind] == code if code != "[i]" else kind == "UOffsetTRelative")


def test_names():
    operators = numbers("BuiltinOperator")
    assert [operators[i] for i in range(len(operators))] == list(s.OPERATORS)
    types = numbers("TensorType")
    assert [types[i].lower() for i in range(18)] == list(s.TYPES[:18])
    activations = numbers("ActivationFunctionType")
    assert [activations[i] for i in range(len(activations))] == list(s.ACTIVATIONS)
