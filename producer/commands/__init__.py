"""One module for each subcommand of `unrolled`; `producer.cli` loads the one that is asked for."""
