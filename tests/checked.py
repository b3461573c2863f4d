"""How shapes and types in signatures are checked while tests run: an int may stand for a float, as Python's typing has it."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
