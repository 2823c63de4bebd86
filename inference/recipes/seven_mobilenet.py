"""The detector of seven sub-classes in two categories: MobileNetV2 at 224 pixels with a narrow head."""

from inference.recipes.base import FULL, Augmentation, TrainingRecipe

RECIPE = TrainingRecipe(
    name="seven_mobilenet",
    title="MobileNetV2 224 for seven sub-classes; only the head is trained",
    n_classes=7,
    profile="seven",
    side=224,
    backbone="mobilenet_v2",
    sizes={FULL: {"alpha": 1.0}, "small": {"alpha": 0.35}},
    hidden=16,
    dropout=0.5,
    augmentation=Augmentation(flip=True),
    epochs=20,
    patience=4,
    batch_size=32,
    learning_rate=1e-3,
)
