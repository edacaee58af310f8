"""Jobs of a Ray cluster: a job is a `dwszoo run` that somebody may watch, leave and come back to.

command   `dwszoo submit`
job       what a job does, and what is known of it
server    the cluster's job server
"""
