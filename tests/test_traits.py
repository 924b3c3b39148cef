"""Every layer class declares its traits, and facts about a layer are stated only there."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.base import Layer, Wrapper
from kerasport.frontends.keras.layers.traits import MaskInput, MaskRule, Traits
from kerasport.frontends.keras.lower.masks import MaskTensors
from kerasport.frontends.keras.masks import MaskNames, output_mask
from kerasport.frontends.keras.model import Call, KerasTensor, LayerSpec
from kerasport.ir.tensor import BATCH, Input, TensorType
from kerasport.releases import Release

SOURCES = Path(__file__).parent.parent / "src" / "kerasport"


def declaring(cls: type[Layer]) -> type | None:
    """The class that declares the traits of a layer class: itself, or the base of its family."""
    return next((base for base in cls.__mro__ if "traits" in vars(base)), None)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_class_declares_its_traits_in_its_family(name: str) -> None:
    cls = LAYERS[name]
    base = declaring(cls)
    assert base is not None, f"{name} declares no traits"
    assert base.__module__ == cls.__module__


def test_a_layer_without_traits_is_found() -> None:
    class New(Layer):
        """A layer whose author forgot the traits."""

    assert declaring(New) is None


def test_the_traits_that_decide_about_numbers_have_no_default() -> None:
    required = {
        field.name for field in dataclasses.fields(Traits) if field.default is dataclasses.MISSING
    }
    assert required == {"mask", "integers", "identity"}


@pytest.mark.parametrize("name", LAYERS)
def test_traits_agree_with_each_other(name: str) -> None:
    cls, traits = LAYERS[name], LAYERS[name].traits
    assert not traits.same_object or traits.identity
    assert not traits.kept or traits.identity
    assert not traits.overruled_masks or traits.mask_input is MaskInput.NAMED
    assert not traits.wraps or issubclass(cls, Wrapper)
    assert (traits.mask_input is MaskInput.MERGED) <= (traits.mask is MaskRule.MERGES)


# ------------------------------------------------------------------------------- names of layers

SIMPLE = ("LeakyReLU", "ELU", "RepeatVector", "UnitNormalization", "SpatialDropout1D", "Cropping3D")


def strings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [value for value in values if isinstance(value, str)]


@pytest.mark.rows(2)
@pytest.mark.parametrize("name", SIMPLE)
def test_a_simple_layer_is_named_by_its_row_only(name: str) -> None:
    """Its class is the only other place; file dialects and rewrites that create it are exempt."""
    naming = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if name in strings(path)
    }
    allowed = (
        "frontends/keras/read/",
        "targets/tfjs/layers/rewrites/",
        "targets/tfjs/layers/spelling/",
        "targets/tfjs/layers/prepare/mask_leaks.py",  # layers for which TF.js supports masks
        "targets/tfjs/repaired.py",  # the dialect of the official converter
    )
    assert {path for path in naming if not path.startswith(allowed)} == set()


NAMED_ELSEWHERE = {
    "targets/onnx/half.py": "layers whose formula overflows float16, in the outcomes of any input",
    "targets/tfjs/repaired.py": "works on the JSON of a TF.js file, which has no layer classes",
    "verification/inputs.py": "random inputs depend on what reads them, such as a vocabulary",
    "verification/references/original.py": "Keras must run Python code for a Lambda",
}
"""Files outside the Keras front end and the layers-model that test class names → the reason."""


def test_class_names_are_tested_only_where_layers_are_known() -> None:
    test = re.compile(r"class_name (==|!=|in|not in) ")
    found = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if test.search(path.read_text(encoding="utf-8"))
    }
    known = ("frontends/keras/", "targets/tfjs/layers/")
    assert {path for path in found if not path.startswith(known)} == set(NAMED_ELSEWHERE)


def test_releases_are_compared_in_one_place() -> None:
    compared = re.compile(r"release\b[\w.()]* *(<|>|<=|>=|==) *\(")
    found = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if compared.search(path.read_text(encoding="utf-8"))
    }
    assert {path for path in found if not path.startswith("frontends/keras/read/")} == {
        "frontends/keras/dialect.py"
    }


# ------------------------------------------------------------------------------------ the engine

RELEASES: Sequence[Release] = ((2, 15), (3, 0), (3, 5), (3, 11), (3, 16))
CONFIGS = ({"axis": -1}, {"axis": 1}, {"return_sequences": True}, {"mask_zero": True})


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_names_and_tensors_of_masks_agree(release: Release) -> None:
    """Both interpretations give a mask in the same cases, and the same mask if inputs share it."""
    dialect, names = Dialect.of(release), MaskNames()
    edges = [KerasTensor(Call(LayerSpec(name, "InputLayer", {}))) for name in "ab"]
    inputs = [Input(name, TensorType("float32", (BATCH, 3, 4))) for name in "ab"]
    masks = [Input(f"{name}_mask", TensorType("bool", (BATCH, 3))) for name in "ab"]
    for class_name in LAYERS:
        for config in CONFIGS:
            spec = LayerSpec("layer", class_name, config)
            for picks in ((0, 0), (0, 1), (0, None), (None, None)):
                named = [None if pick is None else f"mask {pick}" for pick in picks]
                computed = [None if pick is None else masks[pick] for pick in picks]
                name = output_mask(spec, edges, named, {}, dialect, names)
                tensor = output_mask(spec, inputs, computed, {}, dialect, MaskTensors())
                assert (name is None) is (tensor is None), (class_name, config, picks)
                assert (name == "mask 0") is (tensor is masks[0]), (class_name, config, picks)


def test_the_rules_change_with_the_releases_of_keras() -> None:
    merging = [Dialect.of(release).merging for release in ((2, 15), (3, 3), (3, 4))]
    assert merging == ["all", "", "any"]
    stops = [Dialect.of(release).recurrent_masks_stop for release in ((2, 15), (3, 15), (3, 16))]
    assert stops == [False, False, True]
    passes = [Dialect.of(release).call_mask_passes for release in ((2, 15), (3, 10), (3, 11))]
    assert passes == ["always", "never", "by name"]
    counts = [Dialect.of(release).image_training_counts for release in ((2, 15), (3, 15), (3, 16))]
    assert counts == [True, False, True]
