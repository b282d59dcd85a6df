"""Reports of runs: records, metrics, figures and the page that holds them."""
