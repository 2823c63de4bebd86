"""What a recipe says: how a network for some classes is built and trained. Data alone, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inference.errors import ModelRefused

IMAGENET = "imagenet"
NO_WEIGHTS = "none"

FULL = "full"

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "nsfwjs": (0.0, 1.0),
        "keras_default": (0.0, 1.0),
        "gantman": (0.0, 1.0),
        "seven": (-1.0, 1.0),
        "vit_half": (-1.0, 1.0),
    }
)
"""Preprocessing profile → darkest and brightest value of a prepared picture; profiles in RGB order only."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How pictures are varied at random while they are learned from; what comes in at a border repeats the border.

    Attributes:
        rotation: up to so many degrees, either way.
        shift: up to this share of height and width, either way.
        shear: up to this slope.
        zoom: up to this share larger or smaller, height and width apart.
        flip: mirror half of them.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    flip: bool = False


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """One way to a trained model.

    Attributes:
        name: what people type.
        title: one line for people.
        n_classes: how many classes it is for; None for any number.
        profile: preprocessing profile of pictures, in training as in serving.
        side: height and width in pixels.
        backbone: a name in `backbones.ARCHITECTURES`; empty for a head on embeddings that are there already.
        sizes: how large the backbone may be made → its arguments; the first is meant.
        one_output: a single sigmoid, the probability of the more harmful of two classes; else a softmax.
        hidden: units of a layer between embedding and answer; 0 for none.
        dropout: share of the values before the last layer that a step leaves out.
        augmentation: None for pictures as they are.
        epochs: at most.
        frozen_epochs: epochs in which the backbone stays as it came; None for all.
        patience: epochs without a better validation loss, after which training ends.
        batch_size: images a step.
        learning_rate: of Adam; its peak, where it falls.
        falling: the learning rate rises for a while and then falls along a cosine; else it stays.
        weight_decay: decoupled, of all weights but biases and normalisation.
        class_weights: every class counts alike, whatever its size.
    """

    name: str
    title: str
    n_classes: int | None
    profile: str
    side: int
    backbone: str
    sizes: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({FULL: {}}))
    one_output: bool = False
    hidden: int = 0
    dropout: float = 0.0
    augmentation: Augmentation | None = None
    epochs: int = 10
    frozen_epochs: int | None = None
    patience: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-3
    falling: bool = False
    weight_decay: float = 0.0
    class_weights: bool = True

    def fits(self, n_classes: int) -> bool:
        """Whether it can be trained for so many classes."""
        return self.n_classes is None or self.n_classes == n_classes

    def arguments(self, size: str) -> Mapping[str, float]:
        """What the backbone of this size is built with.

        Raises:
            ModelRefused: there is no such size, with those that there are.
        """
        try:
            return self.sizes[size]
        except KeyError:
            raise ModelRefused(
                f"expected a size of {', '.join(self.sizes)} for the recipe {self.name}, received {size!r}"
            ) from None
