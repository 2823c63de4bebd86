"""What people send when they escalate, and what those who decide send."""

from django import forms
from django.http import QueryDict

from labeling.actions.escalations import MOST_NOTE
from reviewer.http import row_number


class EscalateForm(forms.Form):
    """Which images, and what there is to say about them; `confirmed` once the person was asked."""

    image = forms.TypedMultipleChoiceField(coerce=int)
    key = forms.UUIDField(required=False)
    note = forms.CharField(required=False, max_length=MOST_NOTE)
    back = forms.CharField(required=False, max_length=2000)
    confirmed = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.fields["image"].choices = [(pk, pk) for pk in data.getlist("image") if row_number(pk)]  # type: ignore[attr-defined]


class CaseForm(forms.Form):
    """What is done to a case, with a word on why."""

    key = forms.UUIDField()
    note = forms.CharField(
        required=False,
        max_length=MOST_NOTE,
        label="Note",
        widget=forms.TextInput(attrs={"autocomplete": "off", "size": 40}),
    )


class VoteForm(CaseForm):
    vote = forms.ChoiceField(choices=[("release", "release"), ("keep", "keep")])


class HoldForm(CaseForm):
    hold = forms.ChoiceField(choices=[("on", "on"), ("off", "off")])


class LookForm(forms.Form):
    reason = forms.CharField(max_length=MOST_NOTE)


class CaseFileForm(forms.Form):
    reason = forms.CharField(required=False, max_length=MOST_NOTE)
    image = forms.BooleanField(required=False)
