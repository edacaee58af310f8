"""A search of hyper-parameters: what a config says of it, its steps, and what came of it.

command   `dwszoo tune`
ranges    which values of a config are ranges
checks    what a search of a config means, told before it starts
steps     a search, from its plan to its best trial
report    what came of it, as a table, a config and a page
plots     pictures of it
"""
