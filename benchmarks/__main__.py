"""`make bench`: run every measurement, or those that are named."""

import argparse

from benchmarks import (
    api,
    duplicates,
    end_to_end,
    estimation,
    exporting,
    finding,
    inference,
    keypress,
    loop,
    pages,
    policy,
    ranking,
    ray_engine,
    training,
)

SUITES = {
    "end_to_end": end_to_end.run,
    "inference": inference.run,
    "finding": finding.run,
    "ranking": ranking.run,
    "estimation": estimation.run,
    "duplicates": duplicates.run,
    "ray": ray_engine.run,
    "pages": pages.run,
    "keypress": keypress.run,
    "api": api.run,
    "policy": policy.run,
    "loop": loop.run,
    "training": training.run,
    "exporting": exporting.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suite", nargs="*", metavar="SUITE", help=f"which ones: {', '.join(SUITES)} (default all)")
    for name in parser.parse_args().suite or SUITES:
        SUITES[name]()


if __name__ == "__main__":
    main()
