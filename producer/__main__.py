"""`python -m producer`: the same as `unrolled`."""

from producer.cli import main

main()
