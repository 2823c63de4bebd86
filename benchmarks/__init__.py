"""The measurements behind `make bench`; figures are kept in RESULTS.md."""
