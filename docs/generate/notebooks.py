"""The notebooks as pages of the site, with their outputs as they are committed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any


def paged(file: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as a page.

    Args:
        file: the notebook.

    Returns:
        The page as Markdown, and its pictures by the names that the page gives them.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(file.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data: dict[str, Any] = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                name = f"{file.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![output]({name})")
            elif "text/html" in data:
                parts.append(bare("".join(data["text/html"])))
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures


def bare(table: str) -> str:
    """A table of pandas without its own looks; the site has some for tables of no class."""
    return table.replace('<table border="1" class="dataframe">', "<table>")
