"""GantMan's network: InceptionV3 at 299 pixels; the head alone first, then all of it at a falling rate."""

from inference.recipes.base import Augmentation, TrainingRecipe

RECIPE = TrainingRecipe(
    name="five_inception",
    title="InceptionV3 299 for five classes; the head first, then the whole network",
    n_classes=5,
    profile="gantman",
    side=299,
    backbone="inception_v3",
    dropout=0.2,
    augmentation=Augmentation(rotation=15, shift=0.1, zoom=0.1, flip=True),
    epochs=12,
    frozen_epochs=1,
    batch_size=32,
    learning_rate=3e-4,
    falling=True,
    weight_decay=1e-4,
)
