"""The tables of Winnow. No business logic lives here: reads are in `queries`, every write is in `actions`."""

from labeling.models.audit import AuditImage, AuditSample
from labeling.models.dataset import Dataset, ImageRoot, Membership, Person, QueueOrder, Role, Source
from labeling.models.image import SPLITS, Image, Split
from labeling.models.issue import IssueKind, LabelIssue
from labeling.models.prediction import EnsembleMember, FoldPrediction, ModelVersion, Prediction
from labeling.models.release import Release, ReleaseEntry
from labeling.models.review import BulkAction, BulkKind, Claim, ItemState, ReviewItem, Skip, Verdict, VerdictKind
from labeling.models.run import Run, RunKind, RunRefusal, RunState
from labeling.models.taxonomy import Taxonomy, TaxonomyClass
from labeling.models.wellness import Comfort, Exposure, ImageSize, ShieldStyle

__all__ = [
    "SPLITS",
    "AuditImage",
    "AuditSample",
    "BulkAction",
    "BulkKind",
    "Claim",
    "Comfort",
    "Dataset",
    "EnsembleMember",
    "Exposure",
    "FoldPrediction",
    "Image",
    "ImageRoot",
    "ImageSize",
    "IssueKind",
    "ItemState",
    "LabelIssue",
    "Membership",
    "ModelVersion",
    "Person",
    "Prediction",
    "QueueOrder",
    "Release",
    "ReleaseEntry",
    "ReviewItem",
    "Role",
    "Run",
    "RunKind",
    "RunRefusal",
    "RunState",
    "ShieldStyle",
    "Skip",
    "Source",
    "Split",
    "Taxonomy",
    "TaxonomyClass",
    "Verdict",
    "VerdictKind",
]
