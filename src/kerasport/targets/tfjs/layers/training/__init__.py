"""The `trainingConfig`: optimizer, loss and metrics, if TF.js has them with the same meaning.

TF.js rejects a whole model for one unknown entry, so entries without an equal are dropped and
reported.
Source: tfjs-layers engine/training.ts, losses.ts, metrics.ts, optimizers.ts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerasport.errors import Refusal, quoted
from kerasport.targets.tfjs.layers.spelling.native import Json

LOSSES: Mapping[str, str] = {
    **{
        name: name
        for name in (
            "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
            "mean_squared_logarithmic_error", "categorical_hinge", "categorical_crossentropy",
            "sparse_categorical_crossentropy", "binary_crossentropy", "poisson",
            "kullback_leibler_divergence", "logcosh",
        )
    },
    "mse": "mean_squared_error", "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error", "msle": "mean_squared_logarithmic_error",
    "log_cosh": "logcosh", "kl_divergence": "kullback_leibler_divergence",
    "kld": "kullback_leibler_divergence", "cosine_similarity": "cosine_proximity",
}  # fmt: skip
"""Name of a loss in Keras, in snake case → name in TF.js."""

METRICS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "acc": "acc",
    "mse": "mse",
    "mae": "mae",
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "binary_accuracy": "binary_accuracy",
    "categorical_accuracy": "categorical_accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "categorical_crossentropy": "categorical_crossentropy",
}
"""Name of a metric in Keras, in snake case → name in TF.js."""

WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper")
"""Classes that wrap a function `fn`, such as every metric that Keras 2 was given by name."""

UNCOMPILED = "the model is written uncompiled, which affects only training"

NOT_SAVED = "not part of the training configuration"

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "weight_decay": (None, 0, 0.0),
    "clipnorm": (None,),
    "clipvalue": (None,),
    "global_clipnorm": (None,),
    "use_ema": (False, None),
    "loss_scale_factor": (None,),
    "gradient_accumulation_steps": (None,),
    "amsgrad": (False, None),
    "centered": (False, None),
    "decay": (0, 0.0, None),
    "momentum": (0, 0.0, None),
}
"""Options of optimizers that TF.js lacks → the values without effect."""

HINGES = ("hinge", "squared_hinge")
"""Losses that treat labels of 0 as -1 in Keras, but not in TF.js."""
LARGEST_NUMBER = 3e38
"""About the largest finite float32."""
LARGE_EPSILON = 1e-5
"""Largest epsilon of Adam for which the different formula of TF.js makes no difference."""


def training_config(
    compiled: Mapping[str, Any] | None,
    renamed: Mapping[str, str],
    outputs: Sequence[str] = (),
    *,
    masked: bool = False,
    writer: str = "",
) -> tuple[Json, list[str]]:
    """The `trainingConfig` of a compiled model, and notes on what is lost.

    Returns None instead of a config if the model must be written uncompiled.

    Args:
        compiled: the config of `compile`, as in the file.
        renamed: name of a layer in Keras → name in TF.js.
        outputs: names of the outputs in TF.js.
        masked: whether an output has a mask, which Keras applies to the loss.
        writer: the version of Keras that wrote the file.
    """
    if not compiled or not compiled.get("loss"):
        return None, []
    if masked:
        return None, [f"{UNCOMPILED}: an output has a mask, which TF.js ignores in the loss"]
    if compiled.get("loss_weights") is not None:
        return None, [f"{UNCOMPILED}: TF.js does not support loss weights"]
    optimizer, why = _optimizer(compiled.get("optimizer") or compiled.get("optimizer_config"))
    loss = _loss(compiled["loss"], renamed)
    if optimizer is None or loss is None:
        name = _name(compiled["loss"]) or "of the model"
        why = why or f"the loss {name} does not exist in TF.js"
        return None, [f"{UNCOMPILED}: {why}"]
    old = writer.startswith(("1.", "2."))
    by_output = _by_output(compiled.get("metrics"), renamed, outputs, old=old)
    metrics, lost = _metrics(by_output, loss)
    if compiled.get("weighted_metrics"):
        lost.append(f"{NOT_SAVED}: weighted metrics, which TF.js does not support")
    return {"optimizer_config": optimizer, "loss": loss, "metrics": metrics}, lost


def _optimizer(value: Any) -> tuple[Json, str]:
    """The optimizer in TF.js, or None and why it has none."""
    name = value.get("class_name") if isinstance(value, Mapping) else value
    config = value.get("config") if isinstance(value, Mapping) else {}
    if not isinstance(name, str) or not isinstance(config, Mapping):
        return None, "the config of its optimizer is not valid"
    class_name = name.rpartition(">")[2].lower()
    if class_name not in OPTIMIZERS:
        return None, f"the optimizer {name} does not exist in TF.js"
    rate = config.get("learning_rate", config.get("lr", 0.001))
    if isinstance(rate, Mapping):
        return None, "TF.js does not support learning rate schedules"
    try:
        rate = _number({"learning_rate": rate}, "learning_rate", 0.001)
        optimizer, read = OPTIMIZERS[class_name](config, rate)
    except Refusal as refusal:
        return None, refusal.reason
    why = _difference(class_name, optimizer, config)
    unsupported = [
        key
        for key, neutral in NEUTRAL.items()
        if key not in read and config.get(key) not in neutral
    ]
    if not why and unsupported:
        why = f"the optimizers of TF.js do not support {unsupported[0]}"
    return (None, why) if why else (optimizer, "")


def _difference(class_name: str, optimizer: Json, config: Mapping[str, Any]) -> str:
    """How TF.js computes an optimizer differently from Keras; empty if it computes the same."""
    if class_name == "adam" and optimizer["config"]["epsilon"] > LARGE_EPSILON:
        return (
            "the Adam optimizer of TF.js applies epsilon differently, which matters for "
            f"epsilon={optimizer['config']['epsilon']:g}"
        )
    if class_name == "adagrad" and config.get("epsilon") not in (None, 0, 1e-7):
        return "the Adagrad optimizer of TF.js always uses epsilon=1e-7"
    return ""


def _number(config: Mapping[str, Any], option: str, default: float) -> float:
    """The value of an option of an optimizer.

    Raises:
        Refusal: it is not a finite number.
    """
    value = config.get(option)
    if value is None:
        return default
    # JSON has neither NaN nor infinity
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) < LARGEST_NUMBER:
        raise Refusal(option, f"the option {option} of its optimizer is not a finite number")
    return float(value)


def _sgd(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    momentum = _number(config, "momentum", 0.0)
    if not momentum:
        # the SGD of TF.js has no momentum
        return {"class_name": "SGD", "config": {"learning_rate": rate}}, ("momentum",)
    options = {
        "learning_rate": rate,
        "momentum": momentum,
        "use_nesterov": bool(config.get("nesterov")),
    }
    return {"class_name": "Momentum", "config": options}, ("momentum",)


def _adam(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    options = {
        "learning_rate": rate,
        "beta_1": _number(config, "beta_1", 0.9),
        "beta_2": _number(config, "beta_2", 0.999),
        "epsilon": _number(config, "epsilon", 0.0) or 1e-7,
    }
    return {"class_name": "Adam", "config": options}, ()


def _rmsprop(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    options = {
        "learning_rate": rate,
        # the name of rho in TF.js
        "decay": _number(config, "rho", 0.9),
        "momentum": _number(config, "momentum", 0.0),
        "epsilon": _number(config, "epsilon", 0.0) or 1e-7,
        # if True, TF.js subtracts epsilon, and may take the root of a negative number
        "centered": False,
    }
    return {"class_name": "RMSProp", "config": options}, ("momentum",)


def _adagrad(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    start = _number(config, "initial_accumulator_value", 0.1)
    return {
        "class_name": "Adagrad",
        "config": {"learning_rate": rate, "initial_accumulator_value": start},
    }, ()


OPTIMIZERS = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop, "adagrad": _adagrad}


def _name(value: Any) -> str:
    """The name of a loss or metric in snake case; empty if its options have no equal in TF.js."""
    if isinstance(value, Mapping):
        config = value.get("config") if isinstance(value.get("config"), Mapping) else {}
        if value.get("class_name") == "function":
            return str(value.get("config"))
        assert isinstance(config, Mapping)
        if _changes_result(config):
            return ""
        value = config.get("fn") if _is_wrapper(value) else value.get("class_name")
        if isinstance(value, Mapping):
            return _name(value)
    if not isinstance(value, str):
        return ""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in value)
    return snake.removeprefix("_" if value[:1].isupper() else "").replace("__", "_")


def _changes_result(config: Mapping[str, Any]) -> bool:
    """Whether an option of a loss or metric has a value that TF.js does not support."""
    return (
        any(config.get(option) for option in ("from_logits", "label_smoothing", "ignore_class"))
        or config.get("reduction") not in (None, "sum_over_batch_size", "auto")
        or config.get("axis") not in (None, -1)
        or config.get("threshold") not in (None, 0.5)
    )


def _loss(value: Any, renamed: Mapping[str, str]) -> Json:
    """The loss in TF.js, or those of all outputs; None if one of them has no equal."""
    if isinstance(value, list | tuple):
        losses = [_loss(item, renamed) for item in value]
        return losses if None not in losses else None
    if not isinstance(value, Mapping) or "class_name" in value:
        return LOSSES.get(_name(value))
    by_output = {renamed.get(name, name): _loss(item, renamed) for name, item in value.items()}
    # TF.js would convert a name with an underscore to camelCase, and not find it
    found = None not in by_output.values() and not any("_" in name for name in by_output)
    return by_output if found else None


def _is_wrapper(metric: Any) -> bool:
    """Whether a metric or loss has a class that wraps a function."""
    return (
        isinstance(metric, Mapping) and str(metric.get("class_name")).rpartition(">")[2] in WRAPPERS
    )


def _by_output(
    value: Any, renamed: Mapping[str, str], outputs: Sequence[str], *, old: bool
) -> dict[str, list[Any]]:
    """Name of an output in TF.js → its metrics; "" means all outputs.

    A list of lists has one entry per output. In Keras 3 so has every list of several outputs.
    """
    if isinstance(value, Mapping) and "class_name" not in value:
        return {renamed.get(name, name): _listed(metrics) for name, metrics in value.items()}
    metrics = _listed(value)
    nested = any(isinstance(metric, list | tuple) or metric is None for metric in metrics)
    if nested and len(metrics) == 1:
        return {"": _listed(metrics[0])}
    if len(metrics) == len(set(outputs)) == len(outputs) > 1 and (nested or not old):
        return dict(zip(outputs, map(_listed, metrics), strict=True))
    return {"": metrics}


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None else [value]


def _metrics(wanted: Mapping[str, list[Any]], loss: Json) -> tuple[Json, list[str]]:
    """The metrics in TF.js, and notes on those that are lost."""
    kept: dict[str, list[str]] = {}
    lost: list[str] = []
    for number, (output, metrics) in enumerate(wanted.items()):
        own = loss.get(output, loss) if isinstance(loss, dict) else loss
        own = loss[number] if isinstance(loss, list) and len(loss) == len(wanted) else own
        kept[output], without = _known_metrics(metrics, own)
        lost += without
    if set(kept) == {""}:
        return kept[""], lost
    if any("_" in name for name in kept):
        # TF.js would convert such a name to camelCase, and not find it
        lost.append(
            f"{NOT_SAVED}: the metrics per output, since TF.js changes output names that contain "
            "underscores"
        )
        return [], lost
    return kept, lost


def _known_metrics(wanted: Sequence[Any], loss: Json) -> tuple[list[str], list[str]]:
    kept, lost = [], []
    for metric in wanted:
        name = _accuracy(metric, loss) or _name(metric)
        if name == "sparse_categorical_accuracy" and loss != "sparse_categorical_crossentropy":
            lost.append(
                f"{NOT_SAVED}: the metric {name}, which TF.js supports only with the loss of that "
                "name"
            )
        elif METRICS.get(name) in ("accuracy", "acc") and "binary_crossentropy" in str(loss):
            # TF.js picks the kind of accuracy by the loss, Keras by the shape of the outputs
            lost.append(
                f"{NOT_SAVED}: the metric {name}; compile with a specific one, such as "
                "binary_accuracy"
            )
        elif name in METRICS:
            kept.append(METRICS[name])
        else:
            lost.append(
                f"{NOT_SAVED}: the metric {quoted(name or metric)}, which TF.js does not have"
            )
    return kept, lost


def _accuracy(metric: Any, loss: Json) -> str:
    """Return "accuracy" for what tf_keras writes for it next to a sparse loss; else "".

    tf_keras writes categorical accuracy, even if the labels are integers.
    """
    sparse = loss == "sparse_categorical_crossentropy" and _is_wrapper(metric)
    return "accuracy" if sparse and _name(metric) == "categorical_accuracy" else ""
