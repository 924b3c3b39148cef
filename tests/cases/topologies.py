"""Graphs: branches, sharing, nesting, structures, names."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers
from tests.cases.case import Case, no_layers_model

ROWS: list[Case] = []


def row(
    refused: str = "", covers: tuple[str, ...] = ()
) -> Callable[[Callable[[], keras.Model]], Callable[[], keras.Model]]:
    """Enter a function as the row of its name."""

    def enter(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
        refusals = no_layers_model(refused) if refused else {}
        ROWS.append(Case(build.__name__, build, refused=refusals, covers=covers))
        return build

    return enter


def dense_model(size: int = 4, name: str | None = None) -> keras.Model:
    """A model of two layers that keeps the size."""
    x = layers.Input((size,))
    return keras.Model(x, layers.Dense(size)(layers.Dense(size, activation="tanh")(x)), name=name)


def dense_chain(size: int = 4, name: str | None = None) -> keras.Sequential:
    """The same as a Sequential."""
    made = [layers.Input((size,)), layers.Dense(size, activation="tanh"), layers.Dense(size)]
    return keras.Sequential(made, name=name)


# ------------------------------------------------------------------------------------- ins and outs


@row()
def two_inputs_two_outputs() -> keras.Model:
    x, y = layers.Input((3,)), layers.Input((2,))
    z = layers.Concatenate()([y, x])
    return keras.Model([x, y], [layers.Dense(2)(z), layers.Dense(4)(z)])


@row()
def inputs_in_another_order() -> keras.Model:
    x, y = layers.Input((3,)), layers.Input((3,))
    return keras.Model([y, x], layers.Concatenate()([layers.Dense(2)(x), y]))


@row()
def dict_of_inputs() -> keras.Model:
    inputs = {"zebra": layers.Input((3,), name="a"), "ape": layers.Input((2,), name="b")}
    return keras.Model(
        inputs, layers.Dense(2)(layers.Concatenate()([inputs["zebra"], inputs["ape"]]))
    )


@row()
def dict_of_outputs() -> keras.Model:
    x = layers.Input((3,))
    return keras.Model(x, {"z": layers.Dense(2)(x), "a": layers.Dense(4)(x)})


@row()
def nested_structures() -> keras.Model:
    x, y, z = (layers.Input((3,)) for _ in range(3))
    inputs = {"b": [x, y], "a": (z,)}
    out = {
        "second": [layers.Dense(2)(x), {"inner": layers.Dense(4)(y)}],
        "first": layers.Dense(5)(z),
    }
    return keras.Model(inputs, out)


@row()
def single_in_a_list() -> keras.Model:
    x = layers.Input((3,))
    return keras.Model([x], [layers.Dense(2)(x)])


@row()
def same_output_twice() -> keras.Model:
    x = layers.Input((3,))
    y = layers.Dense(2)(x)
    return keras.Model(x, [y, y, layers.Dense(1)(y), y])


@row()
def input_as_output() -> keras.Model:
    x = layers.Input((3,))
    return keras.Model(x, [x, layers.Dense(2)(x)])


@row()
def input_as_only_output() -> keras.Model:
    x = layers.Input((3,))
    return keras.Model(x, x)


@row()
def unused_input() -> keras.Model:
    x, y = layers.Input((3,)), layers.Input((2,))
    return keras.Model([x, y], layers.Dense(2)(x))


@row()
def output_in_the_middle() -> keras.Model:
    x = layers.Input((3,))
    y = layers.Dense(4, activation="relu")(x)
    return keras.Model(x, [layers.Dense(2)(y), y])


@row()
def from_intermediate_tensor() -> keras.Model:
    whole = dense_chain()
    return keras.Model(whole.layers[0].output, whole.layers[1].output)


@row()
def up_to_intermediate_tensor() -> keras.Model:
    x = layers.Input((7, 6, 3))
    y = layers.Conv2D(4, 3)(x)
    keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    return keras.Model(x, [layers.GlobalAveragePooling2D()(y), y])


@row()
def rank_1_input() -> keras.Model:
    x = layers.Input((), dtype="int32")
    return keras.Model(x, layers.Dense(2)(layers.Embedding(5, 3)(x)))


@row()
def rank_1_input_of_floats() -> keras.Model:
    x = layers.Input(())
    return keras.Model(x, layers.Dense(2)(layers.Reshape((1,))(x)))


@row()
def rank_1_inputs_merged() -> keras.Model:
    x, y = layers.Input(()), layers.Input(())
    return keras.Model([x, y], layers.Reshape((1,))(layers.Add()([x, y])))


@row()
def rank_1_input_as_output() -> keras.Model:
    x = layers.Input(())
    return keras.Model(x, [x, layers.Reshape((1, 1))(x)])


@row()
def rank_1_input_of_a_nested_model() -> keras.Model:
    x = layers.Input((), dtype="int32")
    inner = rank_1_input()
    return keras.Model(x, layers.Dense(2)(inner(x)))


@row()
def rank_1_output() -> keras.Model:
    x = layers.Input((4,))
    return keras.Model(x, layers.Reshape(())(layers.Dense(1)(x)))


@row()
def fixed_batch_size() -> keras.Model:
    x = layers.Input((4,), batch_size=2)
    return keras.Model(x, layers.Dense(2)(x))


# ------------------------------------------------------------------------------------------ sharing


@row()
def layer_shared_by_two_inputs() -> keras.Model:
    x, y = layers.Input((3,)), layers.Input((3,))
    shared = layers.Dense(2)
    return keras.Model([x, y], layers.Concatenate()([shared(y), shared(x)]))


@row()
def layer_shared_with_other_ranks() -> keras.Model:
    x, y = layers.Input((3,)), layers.Input((4, 3))
    shared = layers.Dense(2, activation="relu")
    return keras.Model([x, y], [shared(x), shared(y)])


@row()
def layer_on_its_own_output() -> keras.Model:
    x = layers.Input((3,))
    shared = layers.Dense(3, activation="tanh")
    return keras.Model(x, shared(shared(shared(x))))


@row()
def shared_call_order_differs_from_creation_order() -> keras.Model:
    x, y = layers.Input((3,)), layers.Input((3,))
    shared, other = layers.Dense(3, activation="tanh"), layers.Dense(3)
    first = shared(x)
    second = shared(other(first))
    third = shared(y)
    return keras.Model([x, y], [first, second, third])


@row()
def shared_call_order_crossed() -> keras.Model:
    x = layers.Input((3,))
    s, t = layers.Dense(3, activation="tanh"), layers.Dense(3, activation="relu")
    a, b = s(x), t(x)
    c, d = s(b), t(a)
    e, f = s(d), t(c)
    return keras.Model(x, [f, e, d, c, b, a])


@row()
def shared_later_call_is_an_earlier_input() -> keras.Model:
    x, y = layers.Input((3,)), layers.Input((3,))
    s, t = layers.Dense(3, activation="tanh"), layers.Dense(3, activation="relu")
    late = s(t(t(x)))
    early = s(y)
    return keras.Model([x, y], layers.Concatenate()([early, late, s(early)]))


@row()
def shared_call_that_no_output_needs() -> keras.Model:
    x = layers.Input((3,))
    s = layers.Dense(3, activation="tanh")
    a = s(x)
    s(a)
    return keras.Model(x, s(layers.Dense(3)(a)))


@row()
def merge_shared() -> keras.Model:
    x, y, z = (layers.Input((3,)) for _ in range(3))
    add = layers.Add()
    return keras.Model([x, y, z], add([add([x, y]), z]))


@row()
def same_tensor_merged_twice() -> keras.Model:
    x = layers.Input((3,))
    y = layers.Dense(3)(x)
    return keras.Model(x, layers.Concatenate()([y, layers.Add()([y, y]), y]))


@row()
def residual() -> keras.Model:
    x = layers.Input((3,))
    y = layers.Add()([x, layers.Dense(3, activation="relu")(x)])
    return keras.Model(x, layers.Add()([y, layers.Dense(3, activation="relu")(y)]))


@row()
def squeeze_and_excite() -> keras.Model:
    x = layers.Input((5, 4, 3))
    s = layers.Dense(3, activation="sigmoid")(
        layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(x))
    )
    return keras.Model(x, layers.Multiply()([x, layers.Reshape((1, 1, 3))(s)]))


# ------------------------------------------------------------------------------------------ nesting


@row(covers=("Functional",))
def nested_functional() -> keras.Model:
    x = layers.Input((4,))
    return keras.Model(x, layers.Dense(2)(dense_model()(x)))


@row(covers=("Sequential",))
def nested_sequential() -> keras.Model:
    x = layers.Input((4,))
    return keras.Model(x, layers.Dense(2)(dense_chain()(x)))


@row()
def nested_three_deep() -> keras.Model:
    model = dense_model()
    for make in (dense_chain, dense_model):
        x = layers.Input((4,))
        model = keras.Model(x, make()(model(x)))
    return model


@row()
def functional_in_sequential() -> keras.Model:
    return keras.Sequential([layers.Input((4,)), layers.Dense(4), dense_model(), layers.Dense(2)])


@row()
def functional_first_in_sequential() -> keras.Model:
    return keras.Sequential([dense_model(), layers.Dense(2)])


@row()
def sequential_first_in_sequential() -> keras.Model:
    return keras.Sequential([dense_chain(), layers.Dense(2)])


@row()
def sequential_in_sequential_in_functional() -> keras.Model:
    x = layers.Input((4,))
    return keras.Model(x, keras.Sequential([dense_chain(), dense_chain(), layers.Dense(2)])(x))


@row()
def sequential_of_one_layer() -> keras.Model:
    return keras.Sequential([layers.Input((4,)), layers.Dense(2)])


@row()
def sequential_without_input_layer() -> keras.Model:
    model = keras.Sequential([layers.Dense(3), layers.Dense(2)])
    model.build((None, 4))
    return model


@row()
def nested_functional_twice() -> keras.Model:
    x, y = layers.Input((4,)), layers.Input((4,))
    inner = dense_model()
    return keras.Model([x, y], layers.Concatenate()([inner(x), inner(y), inner(inner(x))]))


@row()
def nested_sequential_twice() -> keras.Model:
    x, y = layers.Input((4,)), layers.Input((4,))
    inner = dense_chain()
    return keras.Model([x, y], layers.Concatenate()([inner(y), inner(x), inner(inner(y))]))


@row()
def nested_twice_with_other_shapes() -> keras.Model:
    image = layers.Input((None, None, 3))
    inner = keras.Model(image, layers.Conv2D(3, 3, padding="same", activation="relu")(image))
    x = layers.Input((8, 6, 3))
    small = layers.MaxPooling2D(2)(inner(x))
    return keras.Model(x, [inner(small), inner(inner(x))])


@row()
def nested_twice_with_other_ranks() -> keras.Model:
    inner = dense_chain()
    x, y = layers.Input((4,)), layers.Input((2, 4))
    return keras.Model([x, y], [inner(x), layers.TimeDistributed(inner)(y)])


@row()
def nested_with_several_inputs_and_outputs() -> keras.Model:
    a, b = layers.Input((4,)), layers.Input((3,))
    c = layers.Concatenate()([a, b])
    inner = keras.Model([a, b], [layers.Dense(2)(c), layers.Dense(3)(b)])
    x, y = layers.Input((4,)), layers.Input((3,))
    p, q = inner([x, y])
    r, _ = inner([layers.Dense(4)(p), q])
    return keras.Model([y, x], [q, r])


@row()
def nested_with_dicts() -> keras.Model:
    a, b = layers.Input((4,), name="p"), layers.Input((4,), name="q")
    inner = keras.Model({"y": a, "x": b}, {"v": layers.Dense(2)(a), "u": layers.Dense(3)(b)})
    x, y = layers.Input((4,)), layers.Input((4,))
    made = inner({"x": x, "y": y})
    return keras.Model([x, y], [made["v"], made["u"]])


@row()
def nested_with_same_output_twice() -> keras.Model:
    a = layers.Input((4,))
    b = layers.Dense(3)(a)
    inner = keras.Model(a, [b, b, a])
    x = layers.Input((4,))
    return keras.Model(x, layers.Concatenate()(inner(x)))


@row()
def nested_of_input_alone() -> keras.Model:
    a = layers.Input((4,))
    x = layers.Input((4,))
    return keras.Model(x, layers.Dense(2)(keras.Model(a, a)(x)))


@row()
def nested_with_unused_input() -> keras.Model:
    a, b = layers.Input((4,)), layers.Input((4,))
    inner = keras.Model([a, b], layers.Dense(3)(b))
    x, y = layers.Input((4,)), layers.Input((4,))
    return keras.Model([x, y], inner([x, y]))


@row()
def nested_as_output_and_inside() -> keras.Model:
    x = layers.Input((4,))
    y = dense_model()(x)
    return keras.Model(x, [y, dense_chain()(y)])


@row()
def layer_called_and_inside_nested() -> keras.Model:
    inner = dense_model()
    x = layers.Input((4,))
    return keras.Model(x, layers.Concatenate()([inner.layers[1](x), inner(x)]))


@row(
    "the file has 0"
)  # Keras does not say in it that the two layers are one, and cannot load it either
def layer_inside_nested_and_called() -> keras.Model:
    inner = dense_model()
    x = layers.Input((4,))
    return keras.Model(x, layers.Concatenate()([inner(x), inner.layers[1](x)]))


@row()
def nested_frozen() -> keras.Model:
    inner = keras.Sequential(
        [layers.Input((4,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(3)]
    )
    inner.trainable = False
    x = layers.Input((4,))
    return keras.Model(x, layers.BatchNormalization()(inner(x)))


@row()
def nested_with_frozen_layer() -> keras.Model:
    inner = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(4, trainable=False),
            layers.BatchNormalization(),
            layers.Dense(3),
        ]
    )
    x = layers.Input((4,))
    return keras.Model(x, layers.Dense(2)(inner(x)))


@row()
def nested_backbone_by_tensors() -> keras.Model:
    backbone = keras.Sequential(
        [layers.Input((6, 6, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Conv2D(2, 1)]
    )
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(backbone.layers[-1].output))
    return keras.Model(backbone.inputs, x)


@row()
def autoencoder() -> keras.Model:
    encoder = keras.Sequential(
        [layers.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(2)], name="encoder"
    )
    decoder = keras.Sequential(
        [layers.Input((2,)), layers.Dense(4, activation="relu"), layers.Dense(6)], name="decoder"
    )
    x = layers.Input((6,))
    return keras.Model(x, decoder(encoder(x)))


# -------------------------------------------------------------------------------------------- names


def named(*names: str) -> keras.Model:
    """A branch of Dense layers of those names."""
    x = layers.Input((3,), name=names[0])
    y = layers.Add()([layers.Dense(4, name=name)(x) for name in names])
    return keras.Model(x, y)


@row()
def name_inside_and_outside() -> keras.Model:
    inner = keras.Sequential([layers.Input((3,)), layers.Dense(3, name="same")], name="inner")
    x = layers.Input((3,))
    return keras.Model(x, layers.Dense(2, name="same")(inner(x)))


@row()
def name_inside_two_nested_models() -> keras.Model:
    x = layers.Input((3,))
    y = x
    for name in ("one", "two"):
        y = keras.Sequential([layers.Input((3,)), layers.Dense(3, name="same")], name=name)(y)
    return keras.Model(x, y)


@row()
def name_of_model_is_that_of_its_layer() -> keras.Model:
    inner = keras.Sequential([layers.Input((3,)), layers.Dense(3, name="same")], name="same")
    x = layers.Input((3,))
    return keras.Model(x, inner(x), name="same")


@row()
def names_that_become_the_same() -> keras.Model:
    x = layers.Input((3,), name="a b")
    return keras.Model(
        x, layers.Add()([layers.Dense(4, name=name)(x) for name in ("a_b", "a:b", "a b_1", "a+b")])
    )


@row()
def names_with_counters() -> keras.Model:
    x = layers.Input((3,))
    return keras.Model(
        x,
        layers.Add()([layers.Dense(4, name=name)(x) for name in ("a c", "a_c", "a_c_1", "a_c_2")]),
    )


@row()
def names_of_other_alphabets() -> keras.Model:
    x = layers.Input((3,), name="ввод")
    return keras.Model(
        x, layers.Add()([layers.Dense(4, name=name)(x) for name in ("层", "層", "é", "😀")])
    )


@row()
def names_with_underscores() -> keras.Model:
    x = layers.Input((3,), name="_in_")
    return keras.Model(
        x,
        layers.Add()([layers.Dense(4, name=name)(x) for name in ("_a", "__a", "a_", "a__b", "_")]),
    )


@row()
def names_of_numbers() -> keras.Model:
    x = layers.Input((3,), name="0")
    return keras.Model(
        x, layers.Add()([layers.Dense(4, name=name)(x) for name in ("1", "2d", "3.5", "-1")])
    )


@row()
def names_of_javascript() -> keras.Model:
    x = layers.Input((3,), name="constructor")
    names = ("toString", "__proto__", "valueOf", "hasOwnProperty", "length", "name")
    return keras.Model(x, layers.Add()([layers.Dense(4, name=name)(x) for name in names]))


@row()
def names_with_markup() -> keras.Model:
    x = layers.Input((3,), name="<b>")
    return keras.Model(
        x, layers.Add()([layers.Dense(4, name=name)(x) for name in ('"', "\\", "a\nb", "<i>")])
    )


@row()
def name_very_long() -> keras.Model:
    x = layers.Input((3,), name="x" * 500)
    return keras.Model(x, layers.Dense(2, name="y" * 1000)(x))


@row()
def names_of_weights() -> keras.Model:
    x = layers.Input((3,), name="kernel")
    return keras.Model(x, layers.Dense(2, name="bias")(layers.Dense(4, name="dense.kernel")(x)))


@row()
def name_with_a_dot() -> keras.Model:
    x = layers.Input((3,), name="block1.in")
    return keras.Model(x, layers.Dense(2, name="block1.dense-2")(x))


# --------------------------------------------------------------------------------------- large ones


@row()
def two_hundred_layers() -> keras.Model:
    x = layers.Input((3,))
    y = x
    for _ in range(100):
        y = layers.Add()([y, layers.Dense(3, activation="tanh")(y)])
        y = layers.LayerNormalization()(y)
    return keras.Model(x, y)


@row()
def densely_connected() -> keras.Model:
    x = layers.Input((3,))
    made = [x]
    for _ in range(12):
        made.append(
            layers.Dense(3, activation="tanh")(layers.Add()(made) if len(made) > 1 else made[0])
        )
    return keras.Model(x, layers.Concatenate()(made))


@row()
def u_net() -> keras.Model:
    x = layers.Input((8, 8, 2))
    skips, y = [], x
    for filters in (3, 5):
        y = layers.Conv2D(filters, 3, padding="same", activation="relu")(y)
        y = layers.BatchNormalization()(y)
        skips.append(y)
        y = layers.MaxPooling2D()(y)
    y = layers.SeparableConv2D(6, 3, padding="same", activation="silu")(y)
    for skip in reversed(skips):
        y = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(y)
        y = layers.Concatenate()([y, skip])
        y = layers.Conv2D(3, 3, padding="same", activation="relu")(layers.Dropout(0.1)(y))
    return keras.Model(x, layers.Conv2D(1, 1, activation="sigmoid")(y))


@row()
def reg_net() -> keras.Model:
    """Blocks of RegNet: grouped between pointwise convolutions, with squeeze and excitation."""
    x = layers.Input((9, 9, 4))
    y = x
    for _ in range(2):
        z = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y)))
        z = layers.Conv2D(8, 3, padding="same", groups=4, use_bias=False)(z)
        z = layers.ReLU()(layers.BatchNormalization()(z))
        squeezed = layers.GlobalAveragePooling2D(keepdims=True)(z)
        squeezed = layers.Conv2D(2, 1, activation="relu")(squeezed)
        z = layers.Multiply()([z, layers.Conv2D(8, 1, activation="hard_sigmoid")(squeezed)])
        y = layers.Add()([layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(z)), y])
    return keras.Model(x, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(y)))


CASES = tuple(ROWS)
