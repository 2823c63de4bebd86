"""Named recipes. A further one is one more small module beside these, and one more name below."""

from __future__ import annotations

from inference.errors import ModelRefused
from inference.recipes import binary_mobilenet, five_inception, five_vit, quick_head, seven_mobilenet
from inference.recipes.base import TrainingRecipe

RECIPES: dict[str, TrainingRecipe] = {
    module.RECIPE.name: module.RECIPE
    for module in (quick_head, binary_mobilenet, five_inception, seven_mobilenet, five_vit)
}


def fitting_recipes(n_classes: int) -> tuple[TrainingRecipe, ...]:
    """The recipes that can be trained for so many classes."""
    return tuple(recipe for recipe in RECIPES.values() if recipe.fits(n_classes))


def find_recipe(name: str, n_classes: int) -> TrainingRecipe:
    """The recipe of that name, for so many classes.

    Raises:
        ModelRefused: there is none, or it is for another number of classes; with those that fit.
    """
    fitting = ", ".join(recipe.name for recipe in fitting_recipes(n_classes))
    recipe = RECIPES.get(name)
    if recipe is None:
        raise ModelRefused(
            f"expected a recipe of {', '.join(RECIPES)}, received {name!r}: for {n_classes} classes choose {fitting}"
        )
    if not recipe.fits(n_classes):
        raise ModelRefused(
            f"expected {recipe.n_classes} classes for the recipe {name}, the taxonomy has {n_classes}: choose {fitting}"
        )
    return recipe
