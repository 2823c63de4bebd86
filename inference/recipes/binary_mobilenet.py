"""The tutorial detector: MobileNetV2 at 224 pixels, one sigmoid, a frozen backbone and strong augmentation.

Its sigmoid is declared here to be the probability of the more harmful class, which the tutorial left to the order of
its folders. Its pictures stay in 0..1; the backbone itself gets the range that its weights expect.
"""

from inference.recipes.base import FULL, Augmentation, TrainingRecipe

RECIPE = TrainingRecipe(
    name="binary_mobilenet",
    title="MobileNetV2 224, one output for two classes; only the head is trained",
    n_classes=2,
    profile="keras_default",
    side=224,
    backbone="mobilenet_v2",
    sizes={FULL: {"alpha": 1.0}, "small": {"alpha": 0.35}},
    one_output=True,
    hidden=1024,
    augmentation=Augmentation(rotation=40, shift=0.2, shear=0.2, zoom=0.2, flip=True),
    epochs=10,
    batch_size=32,
    learning_rate=1e-4,
)
