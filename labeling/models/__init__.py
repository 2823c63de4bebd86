"""The tables of Winnow. No business logic lives here: reads are in `queries`, every write is in `actions`."""

from labeling.models.audit import AuditImage, AuditSample
from labeling.models.dataset import Consensus, Dataset, ImageRoot, Membership, Person, QueueOrder, Role, Source
from labeling.models.golden import GoldenAnswer, GoldenImage, ReviewerSkill
from labeling.models.image import SPLITS, Image, Split
from labeling.models.issue import IssueKind, LabelIssue
from labeling.models.prediction import EnsembleMember, FoldPrediction, ModelVersion, Prediction
from labeling.models.release import Release, ReleaseEntry
from labeling.models.review import (
    NO_DECISIONS,
    BulkAction,
    BulkKind,
    Claim,
    FilledSlot,
    ItemState,
    ReviewItem,
    Skip,
    Verdict,
    VerdictKind,
)
from labeling.models.run import Run, RunKind, RunRefusal, RunState
from labeling.models.taxonomy import Taxonomy, TaxonomyClass

__all__ = [
    "NO_DECISIONS",
    "SPLITS",
    "AuditImage",
    "AuditSample",
    "BulkAction",
    "BulkKind",
    "Claim",
    "Consensus",
    "Dataset",
    "EnsembleMember",
    "FilledSlot",
    "FoldPrediction",
    "GoldenAnswer",
    "GoldenImage",
    "Image",
    "ImageRoot",
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
    "ReviewerSkill",
    "Role",
    "Run",
    "RunKind",
    "RunRefusal",
    "RunState",
    "Skip",
    "Source",
    "Split",
    "Taxonomy",
    "TaxonomyClass",
    "Verdict",
    "VerdictKind",
]
