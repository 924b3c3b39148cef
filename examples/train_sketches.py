"""Train the sketch classifier of `sketches.html`: twelve kinds of drawings, 28x28 pixels.

The drawings are icons. Open icon sets ship a bell, a cloud or a crown each, drawn by different people, and npm
installs them (`package.json` lists the sets and locks their versions; all have the MIT, ISC or Apache license).
Whole sets are held out for the test, so the network is tested on designers whose work it has never seen.

Run it from the root of the repository. It takes about three minutes on two CPU cores:

    npm ci --prefix examples
    pip install keras jax pillow resvg-py
    python examples/train_sketches.py

It prints the accuracy on the held-out sets and writes `examples/sketches.keras`.
"""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it when it is imported

import keras
import numpy as np
import resvg_py
from keras import layers
from PIL import Image, ImageFilter

HERE = Path(__file__).parent
SETS = HERE / "node_modules" / "@iconify-json"
LABELS = (
    "bell", "cloud", "crown", "envelope", "eye", "flag", "heart", "house", "moon", "star", "sun",
    "umbrella",
)  # fmt: skip
SYNONYMS = {"home": "house", "mail": "envelope", "email": "envelope"}
STYLES = (
    r"(-(outlined?|line|linear|light|thin|regular|rounded|round|sharp|simple|broken|alt|o|\d+))*$"
)
HELD_OUT = (
    "carbon", "charm", "gravity-ui", "heroicons", "heroicons-outline", "iconoir", "mingcute",
    "nimbus", "prime",
)  # fmt: skip

SIZE, BOX = 28, 24  # pixels of an image, and of the longer side of the drawing in it
SCALE = 4  # drawings are kept at 4 times that size, to change the thickness of their lines


def drawings(folder: Path) -> list[tuple[Image.Image, int]]:
    """Line drawings of one icon set, each with the index of its label.

    The format is described at https://iconify.design/docs/types/iconify-json.html
    """
    icons = json.loads((folder / "icons.json").read_text("utf-8"))
    found = {}
    for name, icon in icons["icons"].items():
        word = re.sub(STYLES, "", name)
        label = SYNONYMS.get(word, word)
        if label in LABELS and icon["body"] not in found:
            sides = [icon.get(side, icons.get(side, 16)) for side in ("width", "height")]
            found[icon["body"]] = rendered(icon["body"], *sides), LABELS.index(label)
    return [(image, label) for image, label in found.values() if not is_filled(image)]


def rendered(body: str, width: float, height: float) -> Image.Image:
    """An icon in white on black, centered, with its longer side at `BOX` pixels of `SIZE`."""
    body = re.sub(r"<animate.*?/>", "", body).replace("currentColor", "#000")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="224" '
        f'height="224">{body}</svg>'
    )
    alpha = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).getchannel("A")
    alpha = alpha.crop(alpha.getbbox())
    factor = BOX * SCALE / max(alpha.size)
    alpha = alpha.resize(
        [max(1, round(side * factor)) for side in alpha.size], Image.Resampling.LANCZOS
    )
    image = Image.new("L", (SIZE * SCALE, SIZE * SCALE))
    image.paste(alpha, tuple((SIZE * SCALE - side) // 2 for side in alpha.size))
    return image


def is_filled(image: Image.Image) -> bool:
    """Whether the icon is a silhouette: a large area remains after every edge is eroded by 8 pixels."""
    return bool((np.asarray(image.filter(ImageFilter.MinFilter(17))) > 128).mean() > 0.005)


def thicknesses(image: Image.Image) -> list[Image.Image]:
    """The same drawing with thinner and thicker lines, where the thin ones do not vanish."""
    thin = image.filter(ImageFilter.MinFilter(3))
    kept = np.asarray(thin, float).mean() > 0.6 * np.asarray(image, float).mean()
    return [
        image,
        image.filter(ImageFilter.MaxFilter(3)),
        image.filter(ImageFilter.MaxFilter(5)),
        *[thin] * bool(kept),
    ]


def pixels(images: list[Image.Image]) -> np.ndarray:
    """Gray values 0..255 of shape [n, 28, 28, 1]."""
    small = [image.resize((SIZE, SIZE), Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image, "float32") for image in small])[..., None]


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels to train on, and to test on; no test image is also a training image."""
    train, test = [], []
    for folder in sorted(SETS.iterdir()):
        (test if folder.name in HELD_OUT else train).extend(drawings(folder))
    known = {image.tobytes() for image, _ in train}
    test = [(image, label) for image, label in test if image.tobytes() not in known]
    varied = [(image, label) for drawing, label in train for image in thicknesses(drawing)]
    x, y, x_test, y_test = (
        each
        for pairs in (varied, test)
        for each in (pixels([p[0] for p in pairs]), np.array([p[1] for p in pairs]))
    )
    return x, y, x_test, y_test


def network() -> keras.Model:
    """Gray values 0..255 in, the probabilities of twelve kinds of drawings out."""

    def convolution(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    image = keras.Input((SIZE, SIZE, 1), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.MaxPooling2D()(layers.ReLU()(convolution(x, 16)))
    x = layers.ReLU()(convolution(x, 32))
    x = layers.ReLU()(layers.Add()([x, convolution(x, 32)]))
    x = layers.MaxPooling2D()(x)
    x = layers.ReLU()(convolution(x, 64))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x)
    kind = layers.Dense(len(LABELS), activation="softmax", name="kind")(x)
    return keras.Model(image, kind, name="sketches")


def distorted(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Mirror, rotate, stretch, move and bend drawings at random, as if they were drawn by hand."""
    n, center = len(images), (SIZE - 1) / 2
    turn, slant = random.normal(0, 0.15, (2, n))
    grow = random.uniform(0.95, 1.25, (2, n)) * random.choice([-1, 1], n) ** np.array([[0], [1]])
    matrix = (
        np.array([[np.cos(turn), np.sin(turn) + slant], [-np.sin(turn), np.cos(turn)]]) * grow[None]
    )
    grid = np.mgrid[:SIZE, :SIZE] - center
    # a few random vectors in a coarse grid, with linear interpolation between them, bend the lines
    ramp = np.maximum(0, 1 - np.abs(np.linspace(0, 4, SIZE)[:, None] - np.arange(5)))
    bend = ramp @ random.normal(0, 1.0, (2, n, 5, 5)) @ ramp.T
    y, x = (
        np.einsum("ijn,jyx->inyx", matrix, grid) + bend + random.normal(center, 1.0, (2, n, 1, 1))
    )
    row, column = np.clip(np.floor([y, x]), 0, SIZE - 2).astype(int)
    down, right = np.clip([y - row, x - column], 0, 1)
    which, inside = np.arange(n)[:, None, None], (y > 0) & (y < SIZE - 1) & (x > 0) & (x < SIZE - 1)
    corners = [
        images[which, row + i, column + j, 0]
        * (down if i else 1 - down)
        * (right if j else 1 - right)
        for i in (0, 1)
        for j in (0, 1)
    ]
    return (np.sum(corners, axis=0) * inside)[..., None].astype("float32")


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Fit `model` to drawings that are distorted anew in each epoch."""
    # Compile another model of the same layers: the saved file needs no optimizer.
    trainer = keras.Model(model.inputs, model.outputs)
    epochs, batch, random = 60, 64, np.random.default_rng(0)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * -(-len(images) // batch))
    trainer.compile(
        keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    )
    weight = dict(enumerate(len(labels) / len(LABELS) / np.bincount(labels)))
    targets = keras.utils.to_categorical(labels, len(LABELS))
    for _ in range(epochs):
        trainer.fit(
            distorted(images, random), targets, batch_size=batch, class_weight=weight, verbose=0
        )


def main() -> None:
    keras.utils.set_random_seed(0)
    x, y, x_test, y_test = data()
    print(f"{len(x)} images to train on, {len(x_test)} to test on")
    model = network()
    train(model, x, y)
    right = model.predict(x_test, verbose=0).argmax(-1) == y_test
    print(
        f"accuracy on {len(x_test)} drawings of icon sets held out from training: "
        f"{right.mean():.1%}"
    )
    for index, label in enumerate(LABELS):
        print(f"  {label}: {right[y_test == index].sum()} of {(y_test == index).sum()}")
    model.save(HERE / "sketches.keras")


if __name__ == "__main__":
    main()
