"""The pages that every walk visits, with what they need filled in from a running demo."""

from tests.browser.site import Site
from tests.builders import write_class_folders

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
    "/d/demo/models/",
    "/d/demo/models/{model}/",
    "/d/pair/releases/",
    "/d/pair/releases/1.0..1.1/",
    "/d/pair/releases/1.0..1.1/?show=added",
    "/d/pair/releases/{release}/train/",
    "/d/pair/evaluations/",
    "/d/pair/evaluations/{evaluation}/",
    "/d/pair/evaluations/{evaluation}/?level=class&label=neutral&said=neutral",
    "/d/pair/loop/",
    "/d/pair/interchange/",
    "/d/demo/settings/",
    "/d/demo/programs/",
    "/d/demo/review/",
    "/d/demo/review/grid/",
    "/d/demo/review/grid/?given={given}&suggested={suggested}",
    "/d/nothing/",
)


def page_urls(site: Site) -> dict[str, str]:
    """Page → where it is on this site, for the worst image, the last ranking and the busiest pair of the demo."""
    have_two_releases(site)
    [(evaluation, release)] = site.rows("SELECT id, release_id FROM labeling_evaluation ORDER BY id LIMIT 1")
    [(image,)] = site.rows("SELECT image_id FROM labeling_reviewitem ORDER BY priority LIMIT 1")
    [(run,)] = site.rows("SELECT id FROM labeling_run WHERE kind = 'find_issues' ORDER BY id LIMIT 1")
    [(model,)] = site.rows("SELECT id FROM labeling_modelversion ORDER BY id LIMIT 1")
    given, suggested = busiest_pair(site)
    named = {"image": image, "run": run, "model": model, "release": release, "evaluation": evaluation}
    named |= {"given": given, "suggested": suggested}
    return {path: site.base + path.format(**named) for path in PAGES}


def have_two_releases(site: Site) -> None:
    """A small dataset `pair` with two releases and an evaluation, beside the demo, which other tests count."""
    if site.rows("SELECT 1 FROM labeling_dataset WHERE slug = 'pair'"):
        return
    for counts in ({"train/drawings": 4, "train/neutral": 3, "test/neutral": 2}, {"test/sexy": 2}):
        folder = write_class_folders(site.home / "pair", counts, first_seed=10 * len(counts))
        site.command("import_images", str(folder), "--dataset", "pair", "--taxonomy", "five")
        site.command("cut_release", "pair")
    site.command("evaluate", "nsfwjs-mobilenet-v2", "pair", "1.0")


def busiest_pair(site: Site) -> tuple[str, str]:
    """The confusion pair with the most open items whose labels differ."""
    [(given, suggested)] = site.rows(
        "SELECT g.name, s.name FROM labeling_reviewitem i JOIN labeling_taxonomyclass g ON g.id = i.given_class_id "
        "JOIN labeling_taxonomyclass s ON s.id = i.suggested_class_id WHERE g.id <> s.id AND i.state = 'open' "
        "AND i.represented_by_id IS NULL GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1"
    )
    return given, suggested
