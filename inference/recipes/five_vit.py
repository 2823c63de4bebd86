"""ViT-B/16 at 224 pixels for five classes, as the published classifier has it; the whole network is trained."""

from inference.recipes.base import FULL, Augmentation, TrainingRecipe

RECIPE = TrainingRecipe(
    name="five_vit",
    title="ViT-B/16 224 for five classes; the whole network is trained",
    n_classes=5,
    profile="vit_half",
    side=224,
    backbone="vit",
    sizes={
        FULL: {"width": 768, "depth": 12, "heads": 12},
        "tiny": {"width": 192, "depth": 12, "heads": 3},
        "trial": {"width": 48, "depth": 2, "heads": 3},
    },
    augmentation=Augmentation(flip=True),
    epochs=8,
    frozen_epochs=0,
    batch_size=32,
    learning_rate=1e-4,
    falling=True,
    weight_decay=1e-2,
)
