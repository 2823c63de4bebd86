"""The tables of Winnow. No business logic lives here: reads are in `queries`, every write is in `actions`."""

from labeling.models.audit import AuditImage, AuditSample
from labeling.models.dataset import Consensus, Dataset, ImageRoot, Membership, Person, QueueOrder, Role, Source
from labeling.models.escalation import (
    Escalation,
    EscalationEvent,
    EscalationEventKind,
    EscalationState,
    Quarantine,
)
from labeling.models.evaluation import Evaluation, LabelsUsed, Level
from labeling.models.golden import GoldenAnswer, GoldenImage, ReviewerSkill
from labeling.models.image import SPLITS, Image, Split
from labeling.models.issue import IssueKind, LabelIssue
from labeling.models.policy import BandName, BandSample, ImageBand, Policy
from labeling.models.prediction import EnsembleMember, FoldPrediction, ModelVersion, Prediction
from labeling.models.promotion import Promotion
from labeling.models.release import Release, ReleaseEntry
from labeling.models.report import Delivery, Report, ReportKind, Webhook
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
from labeling.models.token import ApiToken, Scope, WorkerBeat
from labeling.models.training import TrainingEpoch
from labeling.models.visible import visible, visible_items
from labeling.models.wellness import Comfort, Exposure, ImageSize, ShieldStyle

__all__ = [
    "NO_DECISIONS",
    "SPLITS",
    "ApiToken",
    "AuditImage",
    "AuditSample",
    "BandName",
    "BandSample",
    "BulkAction",
    "BulkKind",
    "Claim",
    "Comfort",
    "Consensus",
    "Dataset",
    "Delivery",
    "EnsembleMember",
    "Escalation",
    "EscalationEvent",
    "EscalationEventKind",
    "EscalationState",
    "Evaluation",
    "Exposure",
    "FilledSlot",
    "FoldPrediction",
    "GoldenAnswer",
    "GoldenImage",
    "Image",
    "ImageBand",
    "ImageRoot",
    "ImageSize",
    "IssueKind",
    "ItemState",
    "LabelIssue",
    "LabelsUsed",
    "Level",
    "Membership",
    "ModelVersion",
    "Person",
    "Policy",
    "Prediction",
    "Promotion",
    "Quarantine",
    "QueueOrder",
    "Release",
    "ReleaseEntry",
    "Report",
    "ReportKind",
    "ReviewItem",
    "ReviewerSkill",
    "Role",
    "Run",
    "RunKind",
    "RunRefusal",
    "RunState",
    "Scope",
    "ShieldStyle",
    "Skip",
    "Source",
    "Split",
    "Taxonomy",
    "TaxonomyClass",
    "TrainingEpoch",
    "Verdict",
    "VerdictKind",
    "Webhook",
    "WorkerBeat",
    "visible",
    "visible_items",
]
