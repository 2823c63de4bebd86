"""A calibrated linear head on the embeddings that scoring has already stored: seconds, on any number of classes."""

from inference.recipes.base import TrainingRecipe

RECIPE = TrainingRecipe(
    name="quick_head",
    title="A calibrated linear head on the stored embeddings of a model; takes seconds",
    n_classes=None,
    # Profile and side are those of the model whose embeddings they are.
    profile="nsfwjs",
    side=224,
    backbone="",
    epochs=1,
    class_weights=False,
)
