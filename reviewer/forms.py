"""What people send. Forms parse into domain types; they never write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast
from uuid import UUID

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone

from labeling.actions.bulk import MOST_VERDICTS
from labeling.actions.tokens import MOST_PER_MINUTE, PER_MINUTE
from labeling.actions.triage import MOST_HOURS
from labeling.actions.verdicts import Shown
from labeling.actions.wellness import Wishes
from labeling.errors import WrongUsage
from labeling.exporters.formats import FORMATS
from labeling.importers.decisions import SUFFIXES
from labeling.models import (
    SPLITS,
    Comfort,
    Consensus,
    Dataset,
    ImageSize,
    LabelsUsed,
    ModelVersion,
    Person,
    QueueOrder,
    Release,
    Scope,
    ShieldStyle,
    TaxonomyClass,
    VerdictKind,
)
from labeling.models.dataset import Theme
from labeling.pipeline.cutting import parse_ratios
from labeling.pipeline.exporting import fitting_maps
from labeling.pipeline.quality_limits import Limit
from labeling.pipeline.training import fitting_recipes
from labeling.queries.team import SettledFilter
from reviewer.http import row_number

RELABEL = "relabel:"


@dataclass(frozen=True)
class Decision:
    kind: VerdictKind
    label: TaxonomyClass | None


class VerdictForm(forms.Form):
    """A decision button of the review page: `keep`, `exclude`, `unsure` or `relabel:<class name>`."""

    decision = forms.CharField(max_length=120)
    key = forms.UUIDField()
    # The browser's own clock measured it, so nonsense is dropped rather than refused: the verdict matters more.
    seconds = forms.CharField(max_length=20, required=False)

    shown_suggestion = forms.CharField(max_length=100, required=False)
    shown_quality = forms.CharField(max_length=30, required=False)

    def __init__(self, *args: object, classes: list[TaxonomyClass], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._classes = {known.name: known for known in classes}

    def clean_decision(self) -> Decision:
        text: str = self.cleaned_data["decision"]
        if text.startswith(RELABEL):
            name = text.removeprefix(RELABEL)
            if name not in self._classes:
                raise forms.ValidationError(
                    f"Expected one of the classes {', '.join(self._classes)}, received {name!r}. Reload the page."
                )
            return Decision(VerdictKind.RELABEL, self._classes[name])
        if text not in {VerdictKind.KEEP, VerdictKind.EXCLUDE, VerdictKind.UNSURE}:
            raise forms.ValidationError(
                f"Expected keep, exclude, unsure or relabel:<class>, received {text!r}. Reload the page."
            )
        return Decision(VerdictKind(text), None)

    def clean_seconds(self) -> float | None:
        try:
            seconds = float(self.cleaned_data["seconds"])
        except ValueError:
            return None
        return seconds if 0 <= seconds < 86_400 else None

    def first_error(self) -> str:
        field, errors = next(iter(self.errors.items()))
        return f"Not saved: {field}: {errors[0]}"

    def shown(self) -> Shown | None:
        """What the page had shown, if the request tells; only after `is_valid()`."""
        label = self._classes.get(self.cleaned_data["shown_suggestion"])
        try:
            quality = float(self.cleaned_data["shown_quality"])
        except ValueError:
            return None
        return Shown(label.pk, quality) if label is not None and 0 <= quality <= 1 else None

    def parsed(self) -> tuple[Decision, UUID, float | None]:
        """The decision, its key, and the seconds that it took. Only after `is_valid()`."""
        return self.cleaned_data["decision"], self.cleaned_data["key"], self.cleaned_data["seconds"]


class DecisionForm(forms.Form):
    """A decision about many images at once: `keep`, `exclude` or `relabel:<class name>`."""

    decision = forms.CharField(max_length=120)
    key = forms.UUIDField()

    def __init__(self, *args: object, classes: list[TaxonomyClass], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._classes = {known.name: known for known in classes}

    def clean_decision(self) -> Decision:
        text: str = self.cleaned_data["decision"]
        label = self._classes.get(text.removeprefix(RELABEL)) if text.startswith(RELABEL) else None
        if label is not None:
            return Decision(VerdictKind.RELABEL, label)
        if text in {VerdictKind.KEEP, VerdictKind.EXCLUDE}:
            return Decision(VerdictKind(text), None)
        raise forms.ValidationError(
            f"Expected keep, exclude or relabel: with one of {', '.join(self._classes)}, received {text!r}."
        )

    def first_error(self) -> str:
        field, errors = next(iter(self.errors.items()))
        return f"Not saved: {field}: {errors[0]}"

    def parsed(self) -> tuple[Decision, UUID]:
        """The decision and its key. Only after `is_valid()`."""
        return self.cleaned_data["decision"], self.cleaned_data["key"]


FIRST, BACK = "first", "back"


class SelectionForm(forms.Form):
    """What to do with images of the explorer, and with which of them.

    `decision` is `keep`, `exclude`, `unsure` (to a second person), `relabel:<class name>`, `first` (in the queue) or
    `back` (to its place there). `scope` says whether the ticked images are meant or all that match; `expected` how
    many those were when the page was made.
    """

    decision = forms.CharField(max_length=120)
    scope = forms.ChoiceField(choices=[("selected", "the selected ones"), ("matching", "all that match")])
    expected = forms.IntegerField(min_value=0, required=False)
    image = forms.TypedMultipleChoiceField(coerce=int, required=False)
    key = forms.UUIDField()

    def __init__(self, *args: object, classes: list[TaxonomyClass], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._classes = {known.name: known for known in classes}
        sent = self.data.getlist("image") if isinstance(self.data, QueryDict) else []
        self.fields["image"].choices = [(pk, pk) for pk in sent if row_number(pk)]  # type: ignore[attr-defined]

    def clean_decision(self) -> Decision | str:
        text: str = self.cleaned_data["decision"]
        label = self._classes.get(text.removeprefix(RELABEL)) if text.startswith(RELABEL) else None
        if label is not None:
            return Decision(VerdictKind.RELABEL, label)
        if text in {FIRST, BACK}:
            return text
        if text in {VerdictKind.KEEP, VerdictKind.EXCLUDE, VerdictKind.UNSURE}:
            return Decision(VerdictKind(text), None)
        raise forms.ValidationError(f"Choose what to do with the images; {text!r} is nothing that can be done.")

    def clean(self) -> dict[str, object]:
        cleaned: dict[str, object] = super().clean() or self.cleaned_data
        if cleaned.get("scope") == "selected" and not cleaned.get("image"):
            raise forms.ValidationError("Select images first, or choose all that match.")
        return cleaned

    def first_error(self) -> str:
        _, errors = next(iter(self.errors.items()))
        return f"Nothing was changed. {errors[0]}"


class GridForm(forms.Form):
    """A page of the grid: the items that were `shown`, those of them that stayed `selected`, and the suggestion."""

    key = forms.UUIDField()
    label = forms.CharField(max_length=100)
    shown = forms.TypedMultipleChoiceField(coerce=int)
    selected = forms.TypedMultipleChoiceField(coerce=int, required=False)

    def __init__(self, *args: object, classes: list[TaxonomyClass], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._classes = {known.name: known for known in classes}
        for name in ("shown", "selected"):
            sent = self.data.getlist(name) if isinstance(self.data, QueryDict) else []
            self.fields[name].choices = [(pk, pk) for pk in sent if row_number(pk)]  # type: ignore[attr-defined]

    def clean_label(self) -> TaxonomyClass:
        name: str = self.cleaned_data["label"]
        if name not in self._classes:
            raise forms.ValidationError(f"Expected one of {', '.join(self._classes)}, received {name!r}.")
        return self._classes[name]

    def first_error(self) -> str:
        field, errors = next(iter(self.errors.items()))
        return f"Nothing was settled: {field}: {errors[0]}"


class OrderForm(forms.Form):
    order = forms.ChoiceField(choices=QueueOrder.choices)


class AuditForm(forms.Form):
    half_width = forms.FloatField(
        initial=1,
        min_value=0.05,
        max_value=50,
        label="± percentage points",
        help_text="Half of the interval's width. Narrower takes more images.",
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal", "autocomplete": "off"}),
    )


def limits_form(limits: Sequence[Limit], sent: QueryDict | None = None) -> forms.Form:
    """One number field a threshold."""
    form = forms.Form(sent)
    for limit in limits:
        form.fields[limit.name] = forms.FloatField(
            label=limit.meaning,
            initial=limit.value,
            min_value=0,
            help_text=f"{limit.name}; Winnow's own is {limit.default:g}.",
            widget=forms.NumberInput(attrs={"step": "any", "autocomplete": "off"}),
        )
    return form


class RuleForm(forms.Form):
    key = forms.UUIDField(widget=forms.HiddenInput)
    verdicts_wanted = forms.IntegerField(
        min_value=1,
        max_value=MOST_VERDICTS,
        label="Verdicts an image",
        help_text="Each of another person.",
        widget=forms.NumberInput(attrs={"autocomplete": "off"}),
    )
    consensus = forms.ChoiceField(
        choices=Consensus.choices, label="It is settled when", help_text="Otherwise it waits for adjudication."
    )


class SharesForm(forms.Form):
    """Percentages of the page; `shares` gives them as 0..1."""

    blind_share = forms.FloatField(
        min_value=0,
        max_value=100,
        label="Shown blind, % of images",
        help_text="Without label and suggestion, to measure how far these steer people.",
        widget=forms.NumberInput(attrs={"step": "any", "autocomplete": "off"}),
    )
    golden_rate = forms.FloatField(
        min_value=0,
        max_value=100,
        label="Golden images, % of images",
        help_text="Mixed in unseen. A person is asked each once.",
        widget=forms.NumberInput(attrs={"step": "any", "autocomplete": "off"}),
    )

    def shares(self) -> tuple[float, float]:
        """The blind share and the golden rate; only after `is_valid()`."""
        return self.cleaned_data["blind_share"] / 100, self.cleaned_data["golden_rate"] / 100


class AgainForm(forms.Form):
    """Which settled images are reviewed again, and how."""

    key = forms.UUIDField(widget=forms.HiddenInput)
    how = forms.ChoiceField(
        choices=[("second", "send to one more person"), ("reopen", "reopen: what was decided no longer counts")],
        label="What to do",
    )
    person = forms.ModelChoiceField(
        Person.objects.none(), required=False, empty_label="anybody", to_field_name="username", label="Decided by"
    )
    kind = forms.ChoiceField(
        choices=[("", "anything"), ("keep", "keep"), ("relabel", "relabel"), ("exclude", "exclude")],
        required=False,
        label="Decided to",
    )
    given = forms.ChoiceField(required=False, label="Given label")
    current = forms.ChoiceField(required=False, label="Label now")
    split = forms.ChoiceField(choices=[("", "any"), *((split, split) for split in SPLITS)], required=False)

    def __init__(self, *args: object, people: QuerySet[Person], classes: list[TaxonomyClass], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        cast("forms.ModelChoiceField[Person]", self.fields["person"]).queryset = people
        for name in ("given", "current"):
            choices = [("", "any"), *((known.name, known.name) for known in classes)]
            cast(forms.ChoiceField, self.fields[name]).choices = choices

    def filters(self) -> SettledFilter:
        """Which settled items are meant; only after `is_valid()`."""
        chosen = self.cleaned_data
        return SettledFilter(
            person=chosen["person"],
            kind=chosen["kind"],
            given=chosen["given"],
            current=chosen["current"],
            split=chosen["split"],
        )


class SinceForm(forms.Form):
    key = forms.UUIDField()
    since = forms.DateTimeField(input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"])


class GoldenForm(forms.Form):
    """Rows `path,label`, pasted or as a file."""

    rows = forms.CharField(
        required=False,
        max_length=1_000_000,
        label="Rows",
        help_text="The first line is path,label.",
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "placeholder": "path,label"}),
    )
    file = forms.FileField(required=False, label="or a CSV file", widget=forms.FileInput(attrs={"accept": ".csv"}))

    def lines(self) -> list[str]:
        """The lines of the file, or of what was pasted; only after `is_valid()`."""
        sent = self.cleaned_data["file"]
        text = sent.read().decode("utf-8-sig", errors="replace") if sent else self.cleaned_data["rows"]
        return str(text).splitlines()


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(
        max_length=100,
        label="Used by",
        help_text="The product or person that calls.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, label="May", widget=forms.CheckboxSelectMultiple, initial=[Scope.PREDICT, Scope.MODERATE]
    )
    per_minute = forms.IntegerField(
        min_value=1,
        max_value=MOST_PER_MINUTE,
        initial=PER_MINUTE,
        label="Calls a minute, at most",
        widget=forms.NumberInput(attrs={"autocomplete": "off"}),
    )
    days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=36500,
        label="Expires after days",
        help_text="Empty: never.",
        widget=forms.NumberInput(attrs={"autocomplete": "off"}),
    )

    def expires_at(self) -> datetime | None:
        """Only after `is_valid()`."""
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=days) if days else None


class WebhookForm(forms.Form):
    url = forms.CharField(
        max_length=2000,
        label="Address",
        help_text="Is sent a JSON object for each reported image that people have decided.",
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://"}),
    )


class KeyForm(forms.Form):
    """A request that is harmless to repeat: its key was made when the page was."""

    key = forms.UUIDField()


class TriageForm(forms.Form):
    hours = forms.IntegerField(min_value=1, max_value=MOST_HOURS, label="Decide within hours of arrival")


class ReleaseForm(forms.Form):
    ratios = forms.CharField(
        initial="80/10/10",
        max_length=20,
        label="Train / validation / test",
        help_text="Percent. Images that already have a split keep it.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "size": 10}),
    )
    note = forms.CharField(
        max_length=500,
        required=False,
        label="Note",
        help_text="What changed, for the person who trains on it.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "size": 40}),
    )
    leave_out_conflicts = forms.BooleanField(
        required=False,
        label="Leave out conflicts",
        help_text="Identical files with different labels; otherwise they refuse the cut.",
    )

    def clean_ratios(self) -> tuple[int, int, int]:
        try:
            return parse_ratios(self.cleaned_data["ratios"])
        except WrongUsage as error:
            raise forms.ValidationError(str(error)) from error


class EvaluationForm(forms.Form):
    """Which model on which part of which release, and against which labels."""

    model = forms.ModelChoiceField(ModelVersion.objects.none(), label="Model")
    release = forms.ModelChoiceField(Release.objects.none(), label="Release")
    split = forms.ChoiceField(choices=[(split, split) for split in reversed(SPLITS)], label="Split")
    labels = forms.ChoiceField(choices=LabelsUsed.choices, label="Labels")

    def __init__(self, *args: Any, dataset: Dataset, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = cast(dict[str, forms.ModelChoiceField[Any]], self.fields)
        fields["model"].queryset = ModelVersion.objects.order_by("-pk")
        fields["release"].queryset = dataset.releases.all()
        fields["model"].empty_label = fields["release"].empty_label = None

    def first_error(self) -> str:
        field, errors = next(iter(self.errors.items()))
        return f"Nothing was started. {field.capitalize()}: {errors[0]}"


class LoopForm(forms.Form):
    """What the loop's round trains."""

    recipe = forms.ChoiceField(label="Recipe")
    leave_out_conflicts = forms.BooleanField(required=False, label="Leave out identical files with two labels")

    def __init__(self, *args: Any, classes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(recipe.name, recipe.name.replace("_", " ")) for recipe in fitting_recipes(classes)]
        cast(forms.ChoiceField, self.fields["recipe"]).choices = names

    def first_error(self) -> str:
        field, errors = next(iter(self.errors.items()))
        return f"Nothing was started. {field.capitalize()}: {errors[0]}"


class VerdictsFileForm(forms.Form):
    """A file of decisions, and whose verdicts they become."""

    file = forms.FileField(
        label="File",
        help_text=f"{', '.join(SUFFIXES)}: verdicts, Label Studio’s JSON, or CVAT’s ImageNet zip.",
        widget=forms.FileInput(attrs={"accept": ",".join(SUFFIXES)}),
    )
    reviewer = forms.CharField(
        max_length=150,
        label="Whose verdicts",
        help_text="The name of a member.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean_file(self) -> UploadedFile[Any]:
        file: UploadedFile[Any] = self.cleaned_data["file"]
        if Path(file.name or "").suffix.lower() not in SUFFIXES:
            raise forms.ValidationError(f"Expected a file ending in {', '.join(SUFFIXES)}, received {file.name}.")
        return file

    def first_error(self) -> str:
        field, errors = next(iter(self.errors.items()))
        return f"Nothing was imported. {field.capitalize()}: {errors[0]}"


class ExportForm(forms.Form):
    """What becomes of a release; `labels` offers the built-in taxonomies that the classes map onto."""

    export_format = forms.ChoiceField(label="Format")
    labels = forms.ChoiceField(label="Labels", required=False)

    def __init__(self, classes: Sequence[TaxonomyClass], formats: Sequence[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = self.fields["export_format"], self.fields["labels"]
        chosen[0].choices = [(name, FORMATS[name].title) for name in formats]  # type: ignore[attr-defined]
        maps = [(slug, f"mapped to {slug}") for slug in fitting_maps(classes)]
        chosen[1].choices = [("", "as they are"), *maps]  # type: ignore[attr-defined]


class ComfortForm(forms.Form):
    """One's own comfort settings, or the organisation's; an empty field follows the default."""

    shield_style = forms.ChoiceField(
        required=False, label="Shielded images are", choices=[("", "default"), *ShieldStyle.choices]
    )
    shield_from_rank = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=9,
        label="Shield from harm rank",
        help_text="1 shields every harmful class.",
    )
    image_size = forms.ChoiceField(required=False, label="Show images", choices=[("", "default"), *ImageSize.choices])
    daily_cap = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=100_000,
        label="Sensitive images a day, at most",
        help_text="0 is no limit.",
    )
    break_minutes = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=600,
        label="Remind of a break after minutes",
        help_text="0 never reminds.",
    )
    interleave = forms.ChoiceField(
        required=False,
        label="Harmless images between sensitive ones",
        choices=[("", "default"), ("yes", "yes"), ("no", "no")],
    )

    @classmethod
    def of(cls, stored: Comfort | None, prefix: str) -> "ComfortForm":
        if stored is None:
            return cls(prefix=prefix)
        initial: dict[str, object] = {name: getattr(stored, name) for name in cls.base_fields}
        if stored.interleave is not None:
            initial["interleave"] = "yes" if stored.interleave else "no"
        return cls(initial=initial, prefix=prefix)

    def wishes(self) -> Wishes:
        """Only after `is_valid()`."""
        sent = self.cleaned_data
        return Wishes(
            shield_style=sent["shield_style"] or None,
            shield_from_rank=sent["shield_from_rank"],
            image_size=sent["image_size"] or None,
            daily_cap=sent["daily_cap"],
            break_minutes=sent["break_minutes"],
            interleave={"yes": True, "no": False}.get(sent["interleave"]),
        )


class KeysForm(forms.Form):
    """Where somebody wants the keys to lie; one field a key, named by its name on Winnow's own map."""

    CLASSES = tuple("1234567890")
    ACTIONS: ClassVar = {
        "k": "keep the given label",
        "u": "unsure",
        "x": "exclude",
        "s": "skip, not now",
        "e": "escalate",
        "z": "undo; with Shift, redo",
        "g": "guideline",
        "b": "blur on and off",
        "d": "near duplicates",
        "n": "neighbours",
        "i": "history",
        "f": "grid and focus",
        "a": "select all",
        "r": "reveal a grid",
    }

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        labels = {own: f"class {place}" for place, own in enumerate(self.CLASSES, 1)} | self.ACTIONS
        for own, label in labels.items():
            shown = forms.TextInput(
                attrs={"size": 2, "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
            )
            self.fields[f"key_{own}"] = forms.CharField(max_length=1, label=label, widget=shown)

    @classmethod
    def of(cls, keys: dict[str, str]) -> "KeysForm":
        form = cls()
        for name, field in form.fields.items():
            own = name.removeprefix("key_")
            field.initial = keys.get(own, own).upper()
        return form

    def chosen(self) -> dict[str, str]:
        """Own key → its place, in lower case; only after `is_valid()`."""
        return {name.removeprefix("key_"): place.lower() for name, place in self.cleaned_data.items()}


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(choices=Theme.choices)


class ShieldForm(forms.Form):
    shield = forms.BooleanField(required=False)
