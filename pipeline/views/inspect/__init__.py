"""What is in a zoo: in words, and as a page.

One pass over the shards (`zoo_gen.health.health`) gives the numbers, `sheets` makes tables of them,
which the terminal and the page show alike; `page` adds pictures.
"""

from pipeline.views.inspect.places import find

__all__ = ["find"]
