"""A job's priority: its share of the workers, against those of other jobs of its offer."""

#: The priority of a job whose producer gives none, and the highest; the lowest is 1.
NORMAL_PRIORITY, HIGHEST_PRIORITY = 10, 1000
