"""manage.py evaluate"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.errors import WrongUsage
from labeling.exporters.matrix import draw_matrix
from labeling.management.base import WinnowCommand, class_pair
from labeling.models import SPLITS, Evaluation, LabelsUsed, Level
from labeling.pipeline.evaluating import Comparison, compare, evaluate, summary_of
from labeling.pipeline.exporting import find_release
from labeling.pipeline.model_versions import current_model
from labeling.queries.evaluations import title_of


class Command(WinnowCommand):
    help = "Measure a model on a split of a release; what it has not scored yet is scored first."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="A registered model: NAME, or NAME@VERSION.")
        parser.add_argument("dataset")
        parser.add_argument("version", help="A release, for example 1.0.")
        parser.add_argument("--split", choices=SPLITS, default="test", help="Default test.")
        parser.add_argument(
            "--labels",
            choices=LabelsUsed.values,
            default=LabelsUsed.RELEASE,
            help="Measure on the labels of the release (default), or on those its images were given before cleaning.",
        )
        parser.add_argument("--against", metavar="MODEL", help="Compare with this model by McNemar's exact test.")
        parser.add_argument(
            "--map",
            action="append",
            type=class_pair,
            default=[],
            metavar="MODEL_CLASS=CLASS",
            help="What a class of the model means in the dataset, where names, aliases and groups do not tell.",
        )
        parser.add_argument("--png", type=Path, help="Draw the confusion matrix into this file.")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        release = find_release(dataset, options["version"])
        models = [current_model(options["model"])]
        if options["against"]:
            models.append(current_model(options["against"]))
        found = [
            evaluate(
                model,
                release,
                split=options["split"],
                labels=LabelsUsed(options["labels"]),
                class_map=dict(options["map"]),
                listener=self.progress,
            )
            for model in models
        ]
        if options["png"]:
            _write_picture(found[0], options["png"])
        facts: dict[str, Any] = {"dataset": dataset.slug, **summary_of(found[0]), "figures": found[0].figures}
        if len(found) > 1:
            facts |= {"against": summary_of(found[1]), "comparison": _facts(compare(*found))}
        return facts

    def refused(self, summary: dict[str, Any]) -> int:
        return int(summary["unscored"])

    def say(self, summary: dict[str, Any]) -> str:
        lines = [
            (
                f"{summary['model']} on {summary['images']:,} images of {summary['split']}, release "
                f"{summary['release']} of {summary['dataset']}, labels {LabelsUsed(summary['labels']).label}:"
            )
        ]
        if summary["in_sample"]:
            lines.append(
                f"  In-sample: the model has learned from {summary['in_sample']:,} of these images, so the figures "
                "flatter it."
            )
        if summary["level"] == Level.GROUP:
            lines.append("  The model knows other classes: it is judged by group.")
        if summary["unscored"]:
            lines.append(f"  {summary['unscored']:,} images could not be read and are left out.")
        for level, figures in summary["figures"].items():
            lines += _of_level(level, figures)
        if comparison := summary.get("comparison"):
            lines.append(_said_of(comparison, summary["against"]))
        return "\n".join(lines)


def _said_of(comparison: dict[str, Any], other: dict[str, Any]) -> str:
    points, low, high = (f"{100 * comparison[name]:+.1f}" for name in ("difference", "low", "high"))
    return (
        f"  Against {other['model']} ({100 * other['accuracy']:.1f} %), {Level(comparison['level']).label} level: "
        f"{comparison['only_first']:,} images only the first has right, {comparison['only_second']:,} only the other; "
        f"{points} points ({low} to {high}), McNemar p = {comparison['p_value']:.3g}."
    )


def _of_level(level: str, figures: dict[str, Any]) -> list[str]:
    lines = []
    if missed := figures["missed"]:
        lines.append(f"  By {level}: {figures['missed_images']:,} harmful images called harmless ({_share(missed)}).")
    lines.append(
        f"  By {level}: accuracy {_share(figures['accuracy'])}, weighted precision {figures['precision']:.3f}, recall "
        f"{figures['recall']:.3f}, F1 {figures['f1']:.3f}; calibration error {figures['calibration']['error']:.3f}."
    )
    ranked = sorted(
        zip(figures["names"], figures["harm_rank"], figures["classes"], strict=True), key=lambda row: -row[1]
    )
    for name, _, row in ranked:
        if row["recall"]:
            called = f"; {row['missed_images']:,} called harmless" if row["missed"] else ""
            lines.append(f"    {name}: recall {_share(row['recall'])} of {row['images']:,}{called}")
    return lines


def _share(share: dict[str, float]) -> str:
    return f"{100 * share['point']:.1f} % ({100 * share['low']:.1f} to {100 * share['high']:.1f} %)"


def _facts(comparison: Comparison) -> dict[str, Any]:
    test = comparison.test
    return {
        "level": comparison.level.value,
        "images": comparison.images,
        "relabelled": comparison.relabelled,
        "only_first": test.only_first,
        "only_second": test.only_second,
        "p_value": test.p_value,
        "difference": test.difference.point,
        "low": test.difference.low,
        "high": test.difference.high,
    }


def _write_picture(evaluation: Evaluation, path: Path) -> None:
    figures = evaluation.figures[evaluation.level]
    try:
        path.write_bytes(draw_matrix(figures["names"], figures["confusion"], title=title_of(evaluation)))
    except OSError as error:
        raise WrongUsage(f"The picture cannot be written to {path}: {error.strerror}. Name another file.") from error
