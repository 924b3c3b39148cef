"""Advice on an environment, one line each, with the command to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kerasport.diagnosis.probe import Environment, Package
from kerasport.verification.references.keras_runner import BACKENDS
from kerasport.verification.references.original import configured_backend

LEGACY = "TF_USE_LEGACY_KERAS"
TRUE = ("1", "true", "True")  # the values with which TensorFlow uses tf_keras
FIRST_WITH_KERAS_3 = (2, 16)  # version of TensorFlow

NOT_NEEDED = "kerasport does not need it: kerasport convert model.keras web_model"

# Part of an import error → cause and remedy.
KNOWN: Mapping[str, str] = {
    "No module named 'tensorflow_decision_forests'": (
        f"it always imports TensorFlow Decision Forests, which is not installed; {NOT_NEEDED}"
    ),
    "inference.so": (
        f"TensorFlow Decision Forests was built for another version of TensorFlow; {NOT_NEEDED}"
    ),
    "No module named 'tensorflow'": "TensorFlow is not installed: pip install tensorflow",
    "No module named 'jax'": "JAX is not installed: pip install jax",
    "No module named 'torch'": "PyTorch is not installed: pip install torch",
    "No module named 'pkg_resources'": (
        'setuptools removed pkg_resources in version 82: pip install "setuptools<82"'
    ),
    "has no attribute 'estimator'": (
        'TensorFlow Hub is too old: pip install -U "tensorflow-hub>=0.16.1"'
    ),
    "has no attribute 'object'": f"tensorflowjs is too old for this numpy; {NOT_NEEDED}",
    "compiled using NumPy 1.x": 'TensorFlow is too old for this numpy: pip install "numpy<2"',
    "numpy.core": 'TensorFlow is too old for this numpy: pip install "numpy<2"',
    "_ARRAY_API": 'TensorFlow is too old for this numpy: pip install "numpy<2"',
    "Descriptors cannot be created": 'protobuf is too new: pip install "protobuf<3.21"',
    "signal 4": (
        "the processor lacks instructions that the package was built for (AVX): install another "
        "build"
    ),
    "no answer in": "its import hangs; try again with a longer --timeout",
}


def advice_on(found: Environment, variables: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Lines of advice on an environment, each with whether something is broken."""
    for package in found.packages.values():
        if package.state == "fails":
            yield (
                f"{package.name} {package.version} cannot be imported: {_why(package, found)}",
                True,
            )
    yield from ((line, True) for line in _mismatches(found))
    yield from _on_backend(found, variables)
    yield from _on_legacy(found, variables.get(LEGACY))


def _why(package: Package, found: Environment) -> str:
    if (
        package.name == "keras"
        and "No module named 'tensorflow'" in package.error
        and not found.version("tensorflow")
    ):
        others = [name for name in ("jax", "torch") if found.packages[name].version]
        if others:
            return (
                f"its backend, TensorFlow, is not installed; {others[0]} is: export "
                f"KERAS_BACKEND={others[0]}"
            )
        return (
            "it has no backend: pip install jax, and export KERAS_BACKEND=jax; or pip install "
            "tensorflow"
        )
    return next((why for text, why in KNOWN.items() if text in package.error), package.error)


def _on_backend(found: Environment, variables: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """What to set so that Keras finds the only installed backend; nothing if it is the default."""
    keras = found.packages["keras"]
    default = configured_backend() or "tensorflow"
    if keras.state != "works" or variables.get("KERAS_BACKEND") or found.version("keras") < (3,):
        return
    if keras.detail in BACKENDS and keras.detail != default:
        yield (
            (
                f"Keras works with {keras.detail}, but uses {default} unless you choose: export "
                f"KERAS_BACKEND={keras.detail} for your own programs. kerasport verify does so "
                "itself"
            ),
            False,
        )


def _mismatches(found: Environment) -> Iterator[str]:
    """Incompatible versions, even if the packages can be imported."""
    tensorflow, legacy, keras = (
        found.version(name) for name in ("tensorflow", "tf_keras", "keras")
    )
    if tensorflow and legacy and tensorflow != legacy:
        yield (
            f"tf_keras {found.packages['tf_keras'].version} does not match TensorFlow "
            f"{found.packages['tensorflow'].version}: pip install {tf_keras_for(tensorflow)}"
        )
    if tensorflow >= FIRST_WITH_KERAS_3 and keras and keras < (3,):
        yield (
            f"TensorFlow {found.packages['tensorflow'].version} needs Keras 3, but Keras "
            f'{found.packages["keras"].version} is installed: pip install -U "keras>=3"'
        )
    if tensorflow and tensorflow < FIRST_WITH_KERAS_3 and keras >= (3,):
        yield (
            f"TensorFlow {found.packages['tensorflow'].version} needs Keras 2, but Keras "
            f'{found.packages["keras"].version} is installed: pip install "keras<3"'
        )


def tf_keras_for(tensorflow: tuple[int, ...]) -> str:
    """The pip requirement of the tf_keras for a TensorFlow version; both have the same version."""
    return f'"tf_keras~={tensorflow[0]}.{tensorflow[1]}.0"' if len(tensorflow) == 2 else "tf_keras"


def legacy_keras(found: Environment, value: str | None) -> str:
    """What TF_USE_LEGACY_KERAS changes in the environment; empty if it has no effect there."""
    if found.version("tensorflow") < FIRST_WITH_KERAS_3:  # or without TensorFlow
        return ""
    shown = f"{LEGACY} is not set" if value is None else f"{LEGACY} is {value!r}"
    if value in TRUE:
        return (
            f"{shown}: tf.keras is tf_keras and saves files of Keras 2; `import keras` is still "
            "Keras 3"
        )
    unset = "" if value is None else ", which TensorFlow ignores"
    return f"{shown}{unset}: tf.keras is Keras 3 and saves files of Keras 3"


def _on_legacy(found: Environment, value: str | None) -> Iterator[tuple[str, bool]]:
    tensorflow = found.version("tensorflow")
    if tensorflow < FIRST_WITH_KERAS_3:
        return
    if value is not None and value not in (*TRUE, "", "0", "false", "False"):
        yield f"{LEGACY} is {value!r}, which TensorFlow ignores: export {LEGACY}=1", True
    if value in TRUE and not found.version("tf_keras"):
        yield (
            (
                f"{LEGACY} needs tf_keras, which is not installed: pip install "
                f"{tf_keras_for(tensorflow)}"
            ),
            True,
        )
