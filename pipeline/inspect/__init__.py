"""What is in a zoo: in words, and as a page.

One pass over the shards (`zoo_gen.health`) gives the numbers, `sheets` puts them into tables, which
the terminal and the page show alike; `page` adds pictures.
"""

from pipeline.inspect.places import find

__all__ = ["find"]
