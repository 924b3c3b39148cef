"""`trainingConfig`: optimizer, loss and metrics, where TF.js has them with the same meaning.

One entry that TF.js does not know makes it refuse the whole model, so what has no equal is left out and reported.
Source: tfjs-layers engine/training.ts, losses.ts, metrics.ts, optimizers.ts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerasport.errors import Refusal, quoted
from kerasport.targets.tfjs.layers.spelling.native import Json

# Keras name, in snake case → TF.js name
LOSSES: Mapping[str, str] = {
    name: name
    for name in (
        "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
        "categorical_hinge", "categorical_crossentropy", "sparse_categorical_crossentropy",
        "binary_crossentropy", "poisson", "kullback_leibler_divergence", "logcosh",
    )
} | {
    "mse": "mean_squared_error", "mae": "mean_absolute_error", "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error", "log_cosh": "logcosh", "kl_divergence": "kullback_leibler_divergence",
    "kld": "kullback_leibler_divergence", "cosine_similarity": "cosine_proximity",
}  # fmt: skip
METRICS: Mapping[str, str] = {
    "accuracy": "accuracy", "acc": "acc", "mse": "mse", "mae": "mae", "mean_squared_error": "mse",
    "mean_absolute_error": "mae", "binary_accuracy": "binary_accuracy",
    "categorical_accuracy": "categorical_accuracy", "sparse_categorical_accuracy": "accuracy",
    "categorical_crossentropy": "categorical_crossentropy",
}  # fmt: skip

WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper")
"""Classes that hold a function, under `fn`: Keras 2 writes so every metric that was given by its name."""

UNCOMPILED = "the model is written uncompiled, which affects only training"

# Options that Keras's optimizers have and TF.js's lack, with the values that change nothing.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "weight_decay": (None, 0, 0.0), "clipnorm": (None,), "clipvalue": (None,), "global_clipnorm": (None,),
    "use_ema": (False, None), "loss_scale_factor": (None,), "gradient_accumulation_steps": (None,),
    "amsgrad": (False, None), "centered": (False, None), "decay": (0, 0.0, None), "momentum": (0, 0.0, None),
}  # fmt: skip


HINGES = ("hinge", "squared_hinge")  # Keras takes labels of 0 for -1, TF.js does not
LARGEST_NUMBER = 3e38  # TF.js computes in float32
LARGE_EPSILON = 1e-5  # from which on it matters that TF.js's Adam adds it at another place


def training_config(
    compiled: Mapping[str, Any] | None,
    renamed: Mapping[str, str],
    outputs: Sequence[str] = (),
    *,
    masked: bool = False,
    writer: str = "",
) -> tuple[Json, list[str]]:
    """The `trainingConfig` of a compiled model, and what of it was left out; None where nothing is left.

    Args:
        compiled: the config of `compile`, as the file holds it.
        renamed: name of a layer in Keras → in TF.js.
        outputs: names of the outputs in TF.js.
        masked: whether an output carries a mask, by which Keras leaves steps out of the loss.
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
        lost = (
            why or f"the loss {_name(compiled['loss']) or 'of the model'} does not exist in TF.js"
        )
        return None, [f"{UNCOMPILED}: {lost}"]
    old = writer.startswith(("1.", "2."))
    metrics, lost_metrics = _metrics(
        _by_output(compiled.get("metrics"), renamed, outputs, old=old), loss
    )
    if compiled.get("weighted_metrics"):
        lost_metrics.append(
            "not part of the training configuration: weighted metrics, which TF.js does not support"
        )
    return {"optimizer_config": optimizer, "loss": loss, "metrics": metrics}, lost_metrics


def _optimizer(value: Any) -> tuple[Json, str]:
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
        made, read = OPTIMIZERS[class_name](config, rate)
    except Refusal as refusal:
        return None, refusal.reason
    if class_name == "adam" and made["config"]["epsilon"] > LARGE_EPSILON:
        return None, (
            "the Adam optimizer of TF.js applies epsilon differently, which matters for "
            f"epsilon={made['config']['epsilon']:g}"
        )
    if class_name == "adagrad" and config.get("epsilon") not in (None, 0, 1e-7):
        return None, "the Adagrad optimizer of TF.js always uses epsilon=1e-7"
    unlike = [
        key
        for key, neutral in NEUTRAL.items()
        if key not in read and config.get(key) not in (*neutral,)
    ]
    return (None, f"the optimizers of TF.js do not support {unlike[0]}") if unlike else (made, "")


def _number(config: Mapping[str, Any], option: str, default: float) -> float:
    """The value of an option of an optimizer.

    Raises:
        Refusal: the file has something else than a number.
    """
    value = config.get(option)
    if value is None:
        return default
    # NaN and infinity have no spelling in JSON
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) < LARGEST_NUMBER:
        raise Refusal(option, f"the option {option} of its optimizer is not a finite number")
    return float(value)


def _sgd(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    momentum = _number(config, "momentum", 0.0)
    if not momentum:  # TF.js's SGD has none, and would ignore it in silence
        return {"class_name": "SGD", "config": {"learning_rate": rate}}, ("momentum",)
    made = {
        "learning_rate": rate,
        "momentum": momentum,
        "use_nesterov": bool(config.get("nesterov")),
    }
    return {"class_name": "Momentum", "config": made}, ("momentum",)


def _adam(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    made = {
        "learning_rate": rate,
        "beta_1": _number(config, "beta_1", 0.9),
        "beta_2": _number(config, "beta_2", 0.999),
        "epsilon": _number(config, "epsilon", 0.0) or 1e-7,
    }
    return {"class_name": "Adam", "config": made}, ()


def _rmsprop(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    made = {
        "learning_rate": rate,
        "decay": _number(config, "rho", 0.9),  # TF.js's name for it
        "momentum": _number(config, "momentum", 0.0),
        "epsilon": _number(config, "epsilon", 0.0) or 1e-7,
        "centered": False,  # TF.js subtracts the epsilon then, and takes the root of negative numbers
    }
    return {"class_name": "RMSProp", "config": made}, ("momentum",)


def _adagrad(config: Mapping[str, Any], rate: float) -> tuple[Json, tuple[str, ...]]:
    start = _number(config, "initial_accumulator_value", 0.1)
    return {
        "class_name": "Adagrad",
        "config": {"learning_rate": rate, "initial_accumulator_value": start},
    }, ()


OPTIMIZERS = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop, "adagrad": _adagrad}


def _name(value: Any) -> str:
    """A loss or metric in snake case, however it is written; empty where its options have no equal."""
    if isinstance(value, Mapping):
        config = value.get("config") if isinstance(value.get("config"), Mapping) else {}
        if value.get("class_name") == "function":
            return str(value.get("config"))
        assert isinstance(config, Mapping)
        if any(config.get(option) for option in ("from_logits", "label_smoothing", "ignore_class")):
            return ""
        if config.get("reduction") not in (None, "sum_over_batch_size", "auto"):
            return ""
        if config.get("axis") not in (None, -1) or config.get("threshold") not in (None, 0.5):
            return ""
        value = config.get("fn") if _is_wrapper(value) else value.get("class_name")
        if isinstance(value, Mapping):
            return _name(value)
    if not isinstance(value, str):
        return ""
    return "".join(
        f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(value)
    ).replace("__", "_")


def _loss(value: Any, renamed: Mapping[str, str]) -> Json:
    if isinstance(value, list | tuple):
        losses = [_loss(item, renamed) for item in value]
        return losses if None not in losses else None
    if isinstance(value, Mapping) and "class_name" not in value:
        by_output = {renamed.get(name, name): _loss(item, renamed) for name, item in value.items()}
        # TF.js would turn a name with an underscore into camelCase, and not find it
        return (
            by_output
            if None not in by_output.values() and not any("_" in name for name in by_output)
            else None
        )
    return LOSSES.get(_name(value))


def _is_wrapper(metric: Any) -> bool:
    """Whether it is a metric or loss of a class that holds a function."""
    return (
        isinstance(metric, Mapping) and str(metric.get("class_name")).rpartition(">")[2] in WRAPPERS
    )


def _by_output(
    value: Any, renamed: Mapping[str, str], outputs: Sequence[str], *, old: bool
) -> dict[str, list[Any]]:
    """The metrics of each output, by its name in TF.js; those of every output under the name "".

    A list that holds lists, or in Keras 3 any list for several outputs, has one entry for each output.
    """
    if isinstance(value, Mapping) and "class_name" not in value:
        return {renamed.get(name, name): _listed(metrics) for name, metrics in value.items()}
    metrics = _listed(value)
    nested = any(isinstance(each, list | tuple) or each is None for each in metrics)
    if nested and len(metrics) == 1:
        return {"": _listed(metrics[0])}
    if len(metrics) == len(set(outputs)) == len(outputs) > 1 and (nested or not old):
        return dict(zip(outputs, map(_listed, metrics), strict=True))
    return {"": metrics}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _metrics(wanted: Mapping[str, list[Any]], loss: Json) -> tuple[Json, list[str]]:
    """The metrics as TF.js has them, and what was left out."""
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
        # TF.js would turn such a name into camelCase, and not find it
        lost.append(
            "not part of the training configuration: the metrics per output, since TF.js changes "
            "output names that contain underscores"
        )
        return [], lost
    return kept, lost


def _known_metrics(wanted: Sequence[Any], loss: Json) -> tuple[list[str], list[str]]:
    kept, lost = [], []
    for metric in wanted:
        name = _accuracy(metric, loss) or _name(metric)
        if name == "sparse_categorical_accuracy" and loss != "sparse_categorical_crossentropy":
            lost.append(
                f"not part of the training configuration: the metric {name}, which TF.js supports "
                "only with the loss of that name"
            )
        elif METRICS.get(name) in ("accuracy", "acc") and "binary_crossentropy" in str(loss):
            # of which accuracy it is, TF.js decides by the loss, Keras by the shape of the outputs
            lost.append(
                f"not part of the training configuration: the metric {name}; compile with a "
                "specific one, such as binary_accuracy"
            )
        elif name in METRICS:
            kept.append(METRICS[name])
        else:
            lost.append(
                f"not part of the training configuration: the metric {quoted(name or metric)}, "
                "which TF.js does not have"
            )
    return kept, lost


def _accuracy(metric: Any, loss: Json) -> str:
    """What tf_keras writes for "accuracy": categorical accuracy, even beside labels that are integers; else empty."""
    sparse = loss == "sparse_categorical_crossentropy" and _is_wrapper(metric)
    return "accuracy" if sparse and _name(metric) == "categorical_accuracy" else ""
