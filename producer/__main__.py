"""`python -m producer`: the same as `unrolled`."""

from producer.cli.root import main

main()
