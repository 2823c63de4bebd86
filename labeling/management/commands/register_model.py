"""manage.py register_model"""

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.management.base import WinnowCommand
from labeling.pipeline.model_versions import OwnModel, register_model


def size(text: str) -> tuple[int, int]:
    """`224x192` → (224, 192)."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ArgumentTypeError(f"expected HEIGHTxWIDTH, such as 224x224, received {text!r}")
    return int(height), int(width)


def names(text: str) -> tuple[str, ...]:
    """`a,b,c` → ("a", "b", "c")."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


class Command(WinnowCommand):
    help = "Convert a model file of your own for scoring, check it against its original and register it."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path", type=Path, help=".keras, .h5, .tflite, .onnx, a SavedModel folder or a TensorFlow.js folder"
        )
        parser.add_argument("--name", required=True, help="What the model is called from now on.")
        parser.add_argument(
            "--taxonomy", required=True, help="Its classes: a built-in taxonomy or a .toml or .json file."
        )
        parser.add_argument("--profile", required=True, help="The preprocessing that it was trained with.")
        parser.add_argument("--positive-class", help="For one output: the class that it is the probability of.")
        parser.add_argument(
            "--classes", type=names, default=(), help="a,b,c: the outputs' classes, where not in the taxonomy's order."
        )
        parser.add_argument("--embedding-layer", help="Where to read embeddings; the one pooled layer when left out.")
        parser.add_argument("--input-size", type=size, help="HEIGHTxWIDTH, for a model that leaves it open.")
        parser.add_argument("--logits", action="store_true", help="The outputs are logits, not probabilities.")
        parser.add_argument("--trust-code", action="store_true", help="Run code inside the model (Lambda layers).")
        parser.add_argument("--sha256", help="What the file's hash must be.")
        parser.add_argument("--licence", default="unknown")
        parser.add_argument("--trained-on", default="unknown", help="What it learned from, in your words.")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        known = {key: options[key] for key in OwnModel.__dataclass_fields__}
        model = register_model(OwnModel(**known), progress=lambda step: self.stderr.write(step))
        told = (
            "class_names",
            "output_order",
            "positive_class",
            "embedding_layer",
            "runtime",
            "runtime_reason",
            "drift",
        )
        return {
            "name": model.name,
            "version": model.version,
            "sha256": model.sha256,
            "profile": model.profile,
            "taxonomy": str(model.taxonomy),
            **{fact: model.sidecar[fact] for fact in told},
        }

    def say(self, summary: dict[str, Any]) -> str:
        order = summary["output_order"] or summary["class_names"]
        outputs = (
            f"one output, P({summary['positive_class']})"
            if summary["positive_class"]
            else f"outputs {', '.join(order)}"
        )
        reason = f" because {summary['runtime_reason']}" if summary["runtime_reason"] else ""
        return (
            f"{summary['name']} v{summary['version']} is ready: {outputs}; profile {summary['profile']}, "
            f"embeddings from {summary['embedding_layer']}, runs in {summary['runtime']}{reason}."
        )
