"""What would help, a line each, with the command to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kerasport.diagnosis.probe import Environment, Package

LEGACY = "TF_USE_LEGACY_KERAS"
TRUE = ("1", "true", "True")  # what TensorFlow takes for set
FIRST_WITH_KERAS_3 = (2, 16)  # of TensorFlow

NOT_NEEDED = "kerasport needs neither: kerasport convert model.keras web_model"

# Part of what an import says → what it means and what would do.
KNOWN: Mapping[str, str] = {
    "No module named 'tensorflow_decision_forests'": (
        f"it imports TensorFlow Decision Forests whatever it converts, which is not there; {NOT_NEEDED}"
    ),
    "inference.so": f"TensorFlow Decision Forests is of another TensorFlow; {NOT_NEEDED}",
    "No module named 'tensorflow'": "TensorFlow is not there: pip install tensorflow",
    "No module named 'jax'": "JAX is not there: pip install jax",
    "No module named 'torch'": "PyTorch is not there: pip install torch",
    "No module named 'pkg_resources'": 'setuptools has none since 82: pip install "setuptools<82"',
    "has no attribute 'estimator'": 'TensorFlow Hub is too old: pip install -U "tensorflow-hub>=0.16.1"',
    "has no attribute 'object'": f"tensorflowjs is too old for this numpy; {NOT_NEEDED}",
    "compiled using NumPy 1.x": 'TensorFlow is too old for this numpy: pip install "numpy<2"',
    "numpy.core": 'TensorFlow is too old for this numpy: pip install "numpy<2"',
    "_ARRAY_API": 'TensorFlow is too old for this numpy: pip install "numpy<2"',
    "Descriptors cannot be created": 'protobuf is too new: pip install "protobuf<3.21"',
    "signal 4": "the processor lacks instructions that its wheel was built for (AVX): use another build of it",
    "no answer in": "its import hangs; try it alone, with a longer --timeout",
}


def advice_on(found: Environment, variables: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Lines of advice on an environment, and whether something in it is broken."""
    for package in found.packages.values():
        if package.state == "fails":
            yield f"{package.name} {package.version} cannot be imported: {_why(package, found)}", True
    yield from ((line, True) for line in _mismatches(found))
    yield from _on_legacy(found, variables.get(LEGACY))


def _why(package: Package, found: Environment) -> str:
    if package.name == "keras" and "No module named 'tensorflow'" in package.error and not found.version("tensorflow"):
        others = [name for name in ("jax", "torch") if found.packages[name].version]
        if others:
            return f"its backend, TensorFlow, is not there; use the one that is: export KERAS_BACKEND={others[0]}"
        return "it has no backend: pip install jax, and export KERAS_BACKEND=jax; or pip install tensorflow"
    return next((why for said, why in KNOWN.items() if said in package.error), package.error)


def _mismatches(found: Environment) -> Iterator[str]:
    """Versions that do not go together, whether or not their import tells."""
    tensorflow, legacy, keras = (found.version(name) for name in ("tensorflow", "tf_keras", "keras"))
    if tensorflow and legacy and tensorflow != legacy:
        yield (
            f"tf_keras {found.packages['tf_keras'].version} is not the one for TensorFlow "
            f"{found.packages['tensorflow'].version}: pip install {tf_keras_for(tensorflow)}"
        )
    if tensorflow >= FIRST_WITH_KERAS_3 and keras and keras < (3,):
        yield (
            f"TensorFlow {found.packages['tensorflow'].version} goes with Keras 3, and Keras "
            f'{found.packages["keras"].version} is installed: pip install -U "keras>=3"'
        )
    if tensorflow and tensorflow < FIRST_WITH_KERAS_3 and keras >= (3,):
        yield (
            f"tf.keras of TensorFlow {found.packages['tensorflow'].version} is Keras 2, and Keras "
            f'{found.packages["keras"].version} is installed beside it; for Keras 2: pip install "keras<3"'
        )


def tf_keras_for(tensorflow: tuple[int, ...]) -> str:
    """What pip installs as tf_keras for a TensorFlow; both have the same numbers."""
    return f'"tf_keras~={tensorflow[0]}.{tensorflow[1]}.0"' if len(tensorflow) == 2 else "tf_keras"


def legacy_keras(found: Environment, value: str | None) -> str:
    """Whether TF_USE_LEGACY_KERAS is set, and what that changes here."""
    tensorflow = found.packages["tensorflow"]
    shown = f"{LEGACY} is not set" if value is None else f"{LEGACY} is {value!r}"
    if not tensorflow.version:
        return f"{shown}, which changes nothing without TensorFlow"
    if found.version("tensorflow") < FIRST_WITH_KERAS_3:
        return f"{shown}, which changes nothing: tf.keras of TensorFlow {tensorflow.version} is Keras 2"
    if value in TRUE:
        return f"{shown}: tf.keras is tf_keras, and what it saves is of Keras 2; `import keras` stays Keras 3"
    unset = "" if value is None else ", which TensorFlow takes for unset"
    return f"{shown}{unset}: tf.keras is Keras 3, and what it saves is of Keras 3"


def _on_legacy(found: Environment, value: str | None) -> Iterator[tuple[str, bool]]:
    tensorflow = found.version("tensorflow")
    if value is not None and value not in (*TRUE, "", "0", "false", "False"):
        yield f"{LEGACY} is {value!r}, which TensorFlow takes for unset: export {LEGACY}=1", True
    if value in TRUE and tensorflow >= FIRST_WITH_KERAS_3 and not found.version("tf_keras"):
        yield f"{LEGACY} asks for tf_keras, which is not there: pip install {tf_keras_for(tensorflow)}", True
