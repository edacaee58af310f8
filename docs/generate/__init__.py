"""The pages of the site that are made, not written: commands, config keys, files of the repository.

`docs/hooks.py` calls this while MkDocs builds. A written page holds a line such as
``<!-- generated: commands -->``, and what is generated takes its place, so that the page can be
read in the repository too.
"""
