"""Trains the small network of this example on scikit-learn's 8x8 digits.

Run it from the root of the repository; it takes a minute or two on a CPU:

    pip install keras jax scikit-learn
    python examples/train_digits.py

It prints the accuracy on digits held back from training and writes `examples/digits.keras`.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it when it is imported

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent


def network() -> keras.Model:
    """Gray values 0..16 in, the probabilities of ten digits out."""

    def convolution(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    image = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 16)(image)
    x = layers.ReLU()(convolution(x, 16))
    x = layers.ReLU()(layers.Add()([x, convolution(x, 16)]))
    x = layers.MaxPooling2D()(x)
    x = layers.ReLU()(convolution(x, 32))
    x = layers.ReLU()(layers.Add()([x, convolution(x, 32)]))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x)
    digit = layers.Dense(10, activation="softmax", name="digit")(x)
    return keras.Model(image, digit, name="digits")


def train(model: keras.Model, images: np.ndarray, digits: np.ndarray) -> None:
    """Fits `model` to digits that are also turned, shifted and stretched a little."""
    # The distortions stand around the model, not in it: the file has no need of them.
    distort = [
        layers.RandomRotation(0.04, fill_mode="constant"),
        layers.RandomTranslation(0.07, 0.07, fill_mode="constant"),
        layers.RandomZoom(0.1, 0.1, fill_mode="constant"),
    ]
    trainer = keras.Sequential([keras.Input(model.input_shape[1:]), *distort, model])
    epochs, batch = 40, 64
    rate = keras.optimizers.schedules.CosineDecay(1e-2, epochs * len(images) // batch)
    trainer.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    trainer.fit(images, digits, batch_size=batch, epochs=epochs, verbose=0)


def main() -> None:
    keras.utils.set_random_seed(0)
    images, digits = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32")
    x, x_test, y, y_test = train_test_split(
        images, digits, test_size=0.2, random_state=0, stratify=digits
    )
    model = network()
    train(model, x, y)
    accuracy = (model.predict(x_test, verbose=0).argmax(-1) == y_test).mean()
    print(f"accuracy on {len(x_test)} digits never seen: {accuracy:.1%}")
    model.save(HERE / "digits.keras")


if __name__ == "__main__":
    main()
