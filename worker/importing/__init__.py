"""Models that were trained elsewhere, as model directories; no code of a file is ever run."""
