"""What people send on the policy page: a whole policy as they see it, a promise to look for, images to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django import forms
from django.http import QueryDict

from labeling.errors import WrongUsage
from labeling.models import ModelVersion
from labeling.pipeline.policies import Action, PolicyDefinition, read_definition
from labeling.pipeline.thresholds import MOST_DRAWN, SIDES
from reviewer.http import row_number

SAFE, ADULT, NEITHER = "safe", "adult", ""
_BLANK_RULES = 2


@dataclass(frozen=True)
class RuleRow:
    """A rule as it stands in the form; without a class it is none."""

    label: str = ""
    at: str = ""
    action: str = Action.BLUR.value


@dataclass(frozen=True)
class PolicyDraft:
    """A policy as the form shows it: kept as it was sent, so that a refusal loses nothing.

    Attributes:
        safe_up_to, adult_from: as text.
        sides: class → `safe`, `adult` or empty.
        expected: the version that it was made from, 0 for none.
    """

    safe_up_to: str
    adult_from: str
    sides: Mapping[str, str]
    rules: tuple[RuleRow, ...]
    note: str
    expected: int

    @classmethod
    def of(cls, definition: PolicyDefinition, names: Sequence[str], expected: int) -> "PolicyDraft":
        return cls(
            safe_up_to=f"{definition.safe_up_to:g}",
            adult_from=f"{definition.adult_from:g}",
            sides={
                name: SAFE if name in definition.safe else ADULT if name in definition.adult else NEITHER
                for name in names
            },
            rules=tuple(RuleRow(rule.label, f"{rule.at:g}", rule.action.value) for rule in definition.rules),
            note="",
            expected=expected,
        )

    @classmethod
    def sent(cls, data: QueryDict, names: Sequence[str]) -> "PolicyDraft":
        rows = zip(data.getlist("rule_class"), data.getlist("rule_at"), data.getlist("rule_action"), strict=False)
        return cls(
            safe_up_to=data.get("safe_up_to", "").strip(),
            adult_from=data.get("adult_from", "").strip(),
            sides={name: data.get(f"side_{place}", NEITHER) for place, name in enumerate(names)},
            rules=tuple(RuleRow(label, at.strip(), action) for label, at, action in rows if label),
            note=data.get("note", ""),
            expected=row_number(data.get("expected", "")),
        )

    @property
    def rows(self) -> tuple[RuleRow, ...]:
        """The rules, and empty rows for more."""
        return (*self.rules, *[RuleRow()] * _BLANK_RULES)

    def definition(self, model_version: ModelVersion) -> PolicyDefinition:
        """What was meant.

        Raises:
            WrongUsage: a number that is none, or a policy that does not hold.
        """
        return read_definition(
            model_version,
            safe=[name for name, side in self.sides.items() if side == SAFE],
            adult=[name for name, side in self.sides.items() if side == ADULT],
            safe_up_to=number(self.safe_up_to, "the end of the safe band"),
            adult_from=number(self.adult_from, "the beginning of the adult band"),
            rules=[(rule.label, number(rule.at, f"the rule for {rule.label}"), rule.action) for rule in self.rules],
        )


def number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise WrongUsage(f"Expected a number from 0 to 1 for {what}, received {text or 'nothing'!r}.") from None


class PromiseForm(forms.Form):
    """What share of the decisions may be wrong, in per cent."""

    most_adult = forms.FloatField(
        min_value=0.001, max_value=99, initial=0.5, label="Adult among the approved, at most", help_text="Per cent."
    )
    most_safe = forms.FloatField(
        min_value=0.001, max_value=99, initial=2, label="Not adult among the blocked, at most", help_text="Per cent."
    )
    sure = forms.FloatField(
        min_value=50, max_value=99.99, initial=95, label="How sure", help_text="Per cent; each of the two."
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for field in self.fields.values():
            field.widget.attrs["step"] = "any"


class BandSampleForm(forms.Form):
    side = forms.ChoiceField(choices=[(side.value, side.label) for side in SIDES])
    threshold = forms.FloatField(min_value=0, max_value=1)
    wanted = forms.IntegerField(min_value=1, max_value=MOST_DRAWN)

    def first_error(self) -> str:
        field, errors = next(iter(self.errors.items()))
        return f"Nothing was drawn: {field}: {errors[0]}"
