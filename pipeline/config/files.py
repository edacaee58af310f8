"""Config files: YAML (1.2) from and to plain data."""

from __future__ import annotations

import difflib
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config.builtin import built_in_configs
from zoo_gen.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of configs, models and zoos: names of files
QUOTE_IT = "a value with braces or brackets needs quotes"


def nearest(word: str, known: list[str]) -> str:
    """``" (did you mean X?)"`` where a known word is close, else nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def find_config(name: str) -> Path:
    """The file of a built-in config, or of a path.

    Raises:
        ConfigError: there is neither; names the nearest.
    """
    known = built_in_configs()
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    files = [str(file) for file in Path(name).parent.glob("*.y*ml")]
    raise ConfigError(
        f"config {name}: there is no such file and no built-in config of this name"
        f"{nearest(name, [*files, *known])}; built in: {', '.join(known)}"
    )


def read_config(name: str) -> dict[str, Any]:
    """A config as plain data, unchecked.

    Raises:
        ConfigError: there is none of this name, or its file is not a YAML mapping.
    """
    file = find_config(name)
    try:
        plain = parse_yaml(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {file}: cannot be read: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"config {file}: is not YAML: {error}") from error
    if not isinstance(plain, dict):
        found = "nothing" if plain is None else type(plain).__name__
        raise ConfigError(f"config {file}: expected keys and values, got {found}")
    return plain


def parse_yaml(text: str) -> Any:
    """Plain data of a YAML document.

    Raises:
        ConfigError: a syntax error, a key that is given twice or is not a word; names the line.
    """
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        plain = _yaml().load(text)
    except DuplicateKeyError as error:
        key = re.match('found duplicate key "(.*?)"', error.problem or "")
        line = error.problem_mark.line + 1
        raise ConfigError(f"line {line}: the key {key[1] if key else ''} is given twice") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = f"; {QUOTE_IT}" if "unhashable" in (error.problem or "") else ""
        raise ConfigError(f"line {line}: {error.problem}{hint}") from error
    except (YAMLError, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    _require_words(plain, ())
    return plain


def format_yaml(plain: dict[str, Any]) -> str:
    """Plain data as YAML."""
    out = io.StringIO()
    _yaml().dump(plain, out)
    return out.getvalue()


def _require_words(plain: Any, above: tuple[int, ...]) -> None:
    """Raise `ConfigError` where a key is no word or number, or an anchor contains itself."""
    if id(plain) in above:
        raise ConfigError("an anchor refers to itself")
    if isinstance(plain, dict):
        for key, value in plain.items():
            if not isinstance(key, str | int | float):
                raise ConfigError(f"the key {key} is not a word; {QUOTE_IT}")
            _require_words(value, (*above, id(plain)))
    elif isinstance(plain, list):
        for value in plain:
            _require_words(value, (*above, id(plain)))


@cache
def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.width = 1000
    return yaml
