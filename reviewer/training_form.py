"""The form that has a model trained on a release."""

from typing import Any, cast

from django import forms

from labeling.models import ModelVersion, Release
from labeling.pipeline.training import ALSO, TrainOptions, fitting_recipes

_NUMBER = {"autocomplete": "off"}
_EMPTY = "Left empty: as the recipe has it, below."


class TrainForm(forms.Form):
    """A recipe, and what of it is chosen anew; what stays empty is as the recipe has it."""

    recipe = forms.ChoiceField(label="Recipe", help_text="Those that fit the taxonomy.")
    weights = forms.ChoiceField(
        required=False,
        label="Start from",
        help_text="A head needs a registered model that has scored the images; a recipe with a backbone any of these.",
    )
    size = forms.ChoiceField(
        required=False, label="Size", help_text="How large the backbone is made; larger is slower and knows more."
    )
    epochs = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1000,
        label="Epochs, at most",
        help_text=_EMPTY,
        widget=forms.NumberInput(attrs=_NUMBER),
    )
    batch_size = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1024,
        label="Images a step",
        help_text=_EMPTY,
        widget=forms.NumberInput(attrs=_NUMBER),
    )
    learning_rate = forms.FloatField(
        required=False,
        min_value=1e-8,
        max_value=10,
        label="Learning rate",
        help_text=_EMPTY,
        widget=forms.NumberInput(attrs={**_NUMBER, "step": "any"}),
    )
    seed = forms.IntegerField(
        initial=0, min_value=0, max_value=2**31 - 1, label="Seed", widget=forms.NumberInput(attrs=_NUMBER)
    )
    also = forms.MultipleChoiceField(
        required=False,
        label="Keep beside the Keras file",
        widget=forms.CheckboxSelectMultiple,
        choices=[(kind, name) for kind, name in ALSO.items()],
    )

    def __init__(self, release: Release, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        recipes = fitting_recipes(release.dataset.taxonomy.classes.count())
        self.recipes = recipes
        _choices(self, "recipe", [(recipe.name, recipe.name) for recipe in recipes])
        names = dict.fromkeys(
            ModelVersion.objects.filter(release__isnull=True).values_list("name", flat=True).order_by("name")
        ) | dict.fromkeys(ModelVersion.objects.filter(release__dataset=release.dataset).values_list("name", flat=True))
        given = [("", "what the recipe starts from"), ("imagenet", "ImageNet weights"), ("none", "chance")]
        _choices(self, "weights", [*given, *((name, name) for name in names)])
        sizes = dict.fromkeys(size for recipe in recipes for size in recipe.sizes)
        _choices(self, "size", [("", "what the recipe has"), *((size, size) for size in sizes)])

    def options(self) -> TrainOptions:
        """Only after `is_valid()`."""
        chosen = {name: value for name, value in self.cleaned_data.items() if name != "recipe"}
        return TrainOptions.of(chosen)


def _choices(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    cast("forms.ChoiceField", form.fields[name]).choices = choices
