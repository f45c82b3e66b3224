"""AttributeProto -> attribute values of the IR, and the types that ONNX gives to attributes of its own operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from walle_core.errors import ModelError
from walle_core.frontends.onnx import schema as s
from walle_core.frontends.onnx.wire import MalformedError, decode

# Letters of AttributeProto.AttributeType; capitals are lists.
LETTERS = dict(zip(range(1, 15), "fistgFISTGxXyY", strict=True))
_WORDS = {
    "f": "a float", "i": "an integer", "s": "a string", "t": "a tensor", "g": "a graph", "F": "floats", "I": "integers",
    "S": "strings", "T": "tensors", "G": "graphs", "x": "a sparse tensor", "X": "sparse tensors", "y": "a type",
    "Y": "types",
}  # fmt: skip
_BY_KIND = {
    "F": "activation_alpha activation_beta base_values class_weights coefficients imputed_value_floats intercepts"
    " kernel_params keys_floats nodes_values offset prob_a prob_b rho scales support_vectors target_weights value_floats"
    " values_floats weights",
    "Ff": "scale",
    "Ft": "nodes_hitrates",
    "I": "axes cats_int64s class_ids class_nodeids class_treeids classlabels_int64s classlabels_ints consumed_inputs"
    " dilations directions ends imputed_value_int64s inputdimensions int64_vocabulary kernel_shape keys_int64s"
    " leaf_targetids ngram_counts ngram_indexes nodes_falseleafs nodes_falsenodeids nodes_featureids"
    " nodes_missing_value_tracks_true nodes_nodeids nodes_treeids nodes_trueleafs nodes_truenodeids output_padding"
    " output_shape paddings pads perm pool_int64s pooled_shape scan_input_axes scan_input_directions scan_output_axes"
    " scan_output_directions shape split starts strides target_ids target_nodeids target_treeids tree_roots value_ints"
    " values_int64s vectors_per_class",
    "S": "activations cats_strings classes_strings classlabels_strings keys_strings pool_strings stopwords"
    " string_vocabulary value_strings values_strings xs zs",
    "St": "nodes_modes",
    "f": "alpha beta bias clip cubic_coeff_a decay_factor default_float epsilon extrapolation_value gamma height_scale"
    " high lambd low max mean min momentum norm_coefficient norm_coefficient_post ratio replaced_value_float softcap"
    " spatial_scale threshold value_float width_scale",
    "fi": "p seed",
    "ft": "value",
    "g": "body else_branch prob_mod score_mod then_branch",
    "i": "align_corners allowzero antialias axis batch_axis batch_dims block_size blocksize broadcast ceil_mode"
    " center_point_box chunk_size count_include_pad default_int64 detect_negative detect_positive dtype end"
    " exclude_outside exclusive fmod group hidden_size ignore_index input_forget interleaved inverse is_case_sensitive"
    " is_causal is_test k keepdims kv_num_heads largest layout left_window_size linear_before_reset max_gram_length"
    " max_map max_skip_count maxsplit min_gram_length multi_class n_supports n_targets new_axis noop_with_empty_axes"
    " num_groups num_heads num_outputs num_scan_inputs offset_group one_class onesided output_datatype output_dtype"
    " output_height output_sequence output_width periodic precision q_num_heads qk_matmul_output_mode"
    " replaced_value_int64 reverse right_window_size rotary_embedding_dim sample_size sampling_ratio saturate"
    " select_last_index size softmax_precision sorted spatial start stash_type storage_order targets time_axis"
    " training_mode transA transB upper value_int zeros",
    "is": "aggregate_function post_transform to",
    "s": "activation approximate auto_pad case_change_action cast_to coordinate_transformation_mode default_string"
    " delimiter direction equation keep_aspect_ratio_policy kernel_type locale map_form mode nearest_mode norm"
    " padding_mode pattern pixel_format reduction round_mode update_rule value_string y",
    "t": "base_values_as_tensor class_weights_as_tensor default_tensor keys_tensor leaf_weights membership_values"
    " nodes_hitrates_as_tensor nodes_splits nodes_values_as_tensor target_weights_as_tensor values_tensor",
    "x": "sparse_value",
    "y": "type",
}
# attribute name -> letters of the types it has in any operator of ai.onnx and ai.onnx.ml, of any version
ATTRIBUTE_KINDS: Mapping[str, str] = {
    name: kinds for kinds, names in _BY_KIND.items() for name in names.split()
}
_VALUE_FIELDS = {field: letter for number, field in s.ATTRIBUTE_FIELDS.items() for letter in LETTERS[number]}


def read_attribute(view: memoryview) -> tuple[str, str, str, Any]:
    """(name, name of the referenced function attribute or "", type letter, undecoded value) of an AttributeProto.

    Raises MalformedError if the declared type and the value do not agree.
    """
    fields = decode(view, s.ATTRIBUTE)
    name = fields["name"]
    if not name:
        raise MalformedError("an attribute has no name")
    number = fields["type"]
    if number and number not in LETTERS:
        raise MalformedError(f"attribute {name!r} has type {number}, which ONNX does not define")
    if fields["ref_attr_name"]:
        return name, fields["ref_attr_name"], LETTERS.get(number, ""), None
    held = fields["set"] & _VALUE_FIELDS.keys()
    if not number:  # files of IR version 1 leave the type out
        if len(held) != 1:
            raise MalformedError(f"attribute {name!r} has no type and {len(held)} values")
        number = next(n for n, f in s.ATTRIBUTE_FIELDS.items() if f in held)
    field = s.ATTRIBUTE_FIELDS[number]
    letter = LETTERS[number]
    if wrong := held - {field}:
        raise MalformedError(
            f"attribute {name!r} says {_WORDS[letter]} but holds {_WORDS[_VALUE_FIELDS[wrong.pop()]]}"
        )
    value = fields[field]
    if letter == "s" and value is None:
        value = memoryview(b"")
    if value is None:
        raise MalformedError(f"attribute {name!r} says {_WORDS[letter]} but holds nothing")
    return name, "", letter, value


def check_kind(name: str, letter: str, where: str) -> None:
    """Raises ModelError if no ONNX operator has an attribute of that name with that type."""
    expected = ATTRIBUTE_KINDS.get(name)
    if expected is not None and letter not in expected:
        words = " or ".join(_WORDS[k] for k in expected)
        raise ModelError(f"{where}: attribute {name!r} must be {words}, not {_WORDS[letter]}")


def text_or_bytes(view: memoryview) -> str | bytes:
    """A string attribute: text where it is UTF-8."""
    data = bytes(view)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
