"""What the owner of a model file says of it: the facts that no file tells by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Declared:
    """Facts of a model file.

    Attributes:
        path: the model's file or folder.
        name: what the model will be called.
        taxonomy: slug of the taxonomy.
        class_names: the taxonomy's classes in its order, which is the order of every answer.
        profile: name of the preprocessing profile that it was trained with.
        output_order: the classes in the order of the model's outputs; empty = as `class_names`.
        positive_class: the class that a single output is the probability of.
        embedding_layer: where to read embeddings; None = the one pooled layer.
        input_size: (height, width); None = the model says.
        output: `probabilities` or `logits`.
        licence, trained_on: free text.
        trust_code: whether code inside the model may be run.
        source_sha256: hex digest of the file or folder, see `register.source_hash`.
    """

    path: str
    name: str
    taxonomy: str
    class_names: tuple[str, ...]
    profile: str
    output_order: tuple[str, ...] = ()
    positive_class: str | None = None
    embedding_layer: str | None = None
    input_size: tuple[int, int] | None = None
    output: str = "probabilities"
    licence: str = "unknown"
    trained_on: str = "unknown"
    trust_code: bool = False
    source_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Declared:
        """The reverse of `to_json`, after a way through JSON."""
        restored = dict(facts)
        for key in ("class_names", "output_order", "input_size"):
            if isinstance(restored[key], list):
                restored[key] = tuple(restored[key])
        return cls(**restored)
