"""A repository of one's own for the loop: what it has, what it lacks, and the files that would fill the gaps."""
