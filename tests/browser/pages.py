"""The pages that every walk visits, with what they need filled in from a running demo."""

import json

from tests.browser.site import Site

PAGES = (
    "/",
    "/me/",
    "/runs/",
    "/runs/{run}/",
    "/d/demo/",
    "/d/demo/images/",
    "/d/demo/images/?sort=quality&image={image}",
    "/d/demo/images/?path=no-such-path",
    "/d/demo/images/{image}/",
    "/d/demo/duplicates/",
    "/d/demo/sources/",
    "/d/demo/audit/",
    "/d/demo/team/",
    "/d/demo/adjudicate/",
    "/d/demo/policy/",
    "/d/demo/policy/?most_adult=0.5&most_safe=2&sure=95",
    "/d/demo/releases/",
    "/d/demo/evaluations/",
    "/d/demo/evaluations/{evaluation}/",
    "/d/demo/evaluations/{evaluation}/?level=class&label={given}&said={given}",
    "/d/demo/loop/",
    "/d/demo/interchange/",
    "/d/demo/releases/{release}/train/",
    "/d/demo/models/",
    "/d/demo/models/{model}/",
    "/d/demo/releases/1.0..1.1/",
    "/d/demo/settings/",
    "/d/demo/programs/",
    "/d/demo/review/",
    "/d/demo/review/grid/",
    "/d/demo/review/grid/?given={given}&suggested={suggested}",
    "/d/nothing/",
)


def page_urls(site: Site) -> dict[str, str]:
    """Page → where it is on this site, for the worst image, the last ranking and the busiest pair of the demo."""
    if not site.rows("SELECT id FROM labeling_evaluation"):
        release_twice(site)
    [(evaluation,)] = site.rows("SELECT id FROM labeling_evaluation ORDER BY id LIMIT 1")
    [(image,)] = site.rows("SELECT image_id FROM labeling_reviewitem ORDER BY priority LIMIT 1")
    [(run,)] = site.rows("SELECT id FROM labeling_run WHERE kind = 'find_issues' ORDER BY id LIMIT 1")
    [(model,)] = site.rows("SELECT id FROM labeling_modelversion ORDER BY id LIMIT 1")
    [(release,)] = site.rows("SELECT id FROM labeling_release ORDER BY id LIMIT 1")
    given, suggested = busiest_pair(site)
    named = {"image": image, "run": run, "model": model, "release": release, "evaluation": evaluation}
    named |= {"given": given, "suggested": suggested}
    return {path: site.base + path.format(**named) for path in PAGES}


def release_twice(site: Site) -> None:
    """Two releases that differ in the label of the image that is looked at last, and the starter model's evaluation."""
    [(path,)] = site.rows(
        "SELECT path FROM labeling_image i JOIN labeling_reviewitem r ON r.image_id = i.id "
        "ORDER BY priority DESC LIMIT 1"
    )
    verdicts = site.home / "verdicts.jsonl"
    verdicts.write_text(json.dumps({"path": path, "label": "sexy"}))
    site.command("cut_release", "demo", "--leave-out-conflicts")
    site.command("import_verdicts", "demo", str(verdicts), "--reviewer", "admin")
    site.command("cut_release", "demo", "--leave-out-conflicts")
    site.command("evaluate", "nsfwjs-mobilenet-v2", "demo", "1.0")


def busiest_pair(site: Site) -> tuple[str, str]:
    """The confusion pair with the most open items whose labels differ."""
    [(given, suggested)] = site.rows(
        "SELECT g.name, s.name FROM labeling_reviewitem i JOIN labeling_taxonomyclass g ON g.id = i.given_class_id "
        "JOIN labeling_taxonomyclass s ON s.id = i.suggested_class_id WHERE g.id <> s.id AND i.state = 'open' "
        "AND i.represented_by_id IS NULL GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1"
    )
    return given, suggested
