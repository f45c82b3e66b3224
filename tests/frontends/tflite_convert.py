"""Makes 20 TFLite models with TensorFlow's converter: seeded random weights, float and quantised. Runs where TensorFlow is.

python tflite_convert.py FOLDER        writes NAME.tflite for each
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

L = tf.keras.layers
SAMPLES = 8  # of calibration


def vision(size=64, channels=3):
    """Convolutions of every kind."""
    x = first = L.Input((size, size, channels), batch_size=1)
    x = L.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
    x = L.BatchNormalization()(x)
    x = L.ReLU(6.0)(x)
    skip = x
    x = L.DepthwiseConv2D(3, padding="same")(x)
    x = L.ReLU()(x)
    x = L.Add()([x, skip])
    x = L.MaxPooling2D(3, strides=2, padding="same")(x)
    x = L.Conv2D(24, 3, dilation_rate=2, padding="same", activation="relu")(x)
    x = L.AveragePooling2D(2)(x)
    x = L.GlobalAveragePooling2D()(x)
    return tf.keras.Model(first, L.Dense(10, activation="softmax")(x))


def squeeze():
    """Fire blocks: concatenations of convolutions."""
    x = first = L.Input((48, 48, 3), batch_size=1)
    x = L.Conv2D(16, 3, strides=2, activation="relu")(x)
    for width in (8, 12):
        s = L.Conv2D(width, 1, activation="relu")(x)
        x = L.Concatenate()([L.Conv2D(16, n, padding="same", activation="relu")(s) for n in (1, 3)])
        x = L.MaxPooling2D(2)(x)
    return tf.keras.Model(first, L.Dense(7)(L.Flatten()(x)))


def excite():
    """Squeeze-and-excitation with sigmoid and swish."""
    x = first = L.Input((32, 32, 3), batch_size=1)
    x = L.Conv2D(16, 3, padding="same", activation="swish")(x)
    s = L.GlobalAveragePooling2D(keepdims=True)(x)
    s = L.Conv2D(4, 1, activation="relu")(s)
    s = L.Conv2D(16, 1, activation="sigmoid")(s)
    x = L.Multiply()([x, s])
    return tf.keras.Model(first, L.Dense(5, activation="tanh")(L.GlobalMaxPooling2D()(x)))


def segment():
    """An encoder and a decoder with transposed convolutions, resizing and skips."""
    x = first = L.Input((32, 32, 3), batch_size=1)
    a = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    b = L.Conv2D(16, 3, strides=2, padding="same", activation="relu")(a)
    x = L.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(b)
    x = L.Concatenate()([x, a, L.UpSampling2D(2, interpolation="bilinear")(b)])
    return tf.keras.Model(first, L.Conv2D(4, 1, activation="softmax")(x))


def mlp():
    """Dense layers and a leaky activation."""
    x = first = L.Input((40,))  # of any batch
    for width in (64, 32):
        x = L.LeakyReLU(negative_slope=0.1)(L.Dense(width)(x))
    return tf.keras.Model(first, L.Dense(3)(x))


def attention():
    """One layer of a transformer."""
    x = first = L.Input((12, 32), batch_size=1)
    x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 16)(x, x))
    y = L.Dense(32)(L.Dense(64, activation="gelu")(x))
    return tf.keras.Model(first, L.LayerNormalization()(x + y))


def sound():
    """Convolutions along time."""
    x = first = L.Input((64, 8), batch_size=1)
    x = L.Conv1D(16, 5, padding="causal", activation="relu")(x)
    x = L.SeparableConv1D(16, 3, padding="same", activation="relu")(x)
    x = L.MaxPooling1D(2)(x)
    return tf.keras.Model(first, L.Dense(4, activation="softmax")(L.Flatten()(x)))


def two_inputs():
    """Two inputs, two outputs, reductions and slices."""
    a, b = L.Input((10, 6), batch_size=1, name="a"), L.Input((10, 6), batch_size=1, name="b")
    x = L.Maximum()([a, b]) - L.Minimum()([a, b])
    y = L.Dense(5, activation="elu")(L.Flatten()(L.Cropping1D(2)(x)))
    return tf.keras.Model([a, b], [y, L.GlobalMaxPooling1D()(x)])


FLOAT = {"vision": vision, "squeeze": squeeze, "excite": excite, "segment": segment, "mlp": mlp, "attention": attention,
         "sound": sound, "two_inputs": two_inputs}  # fmt: skip
INT8 = {
    "vision": vision,
    "squeeze": squeeze,
    "excite": excite,
    "segment": segment,
    "mlp": mlp,
    "sound": sound,
}


def shaped(model, seed):
    """Inputs of a model."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, (1, *i.shape[1:])).astype(np.float32) for i in model.inputs]


def build(make, seed):
    """A model with seeded weights; normalisations with statistics that are not trivial."""
    tf.keras.utils.set_random_seed(seed)
    model = make()
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.uniform(-0.2, 0.2, layer.bias.shape))
    return model


def converted(model, kind):
    """Bytes of a model: float, int8, uint8 (inputs and outputs), int16, hybrid (8-bit weights), fp16 (weights)."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "uint8", "int16", "int8_float_io"):
        converter.representative_dataset = lambda: (shaped(model, s) for s in range(100, 100 + SAMPLES))
        ops = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            if kind == "int16"
            else ops.TFLITE_BUILTINS_INT8
        ]
    if kind in ("int8", "uint8"):
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    return converter.convert()


def main(folder):
    """Writes all."""
    jobs = [(f"{n}_float", m, "float") for n, m in FLOAT.items()] + [
        (f"{n}_int8", m, "int8") for n, m in INT8.items()
    ]
    jobs += [
        ("vision_uint8", vision, "uint8"),
        ("vision_int8_float_io", vision, "int8_float_io"),
        ("mlp_int16", mlp, "int16"),
    ]
    jobs += [
        ("vision_fp16", vision, "fp16"),
        ("mlp_hybrid", mlp, "hybrid"),
        ("vision_hybrid", vision, "hybrid"),
    ]
    for seed, (name, make, kind) in enumerate(jobs):
        model = build(make, seed)
        (folder / f"{name}.tflite").write_bytes(converted(model, kind))
        print(name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
