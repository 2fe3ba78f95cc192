"""How every program in `launch/` starts: clear sentences instead of tracebacks."""

import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, logging

from sde_ct.errors import InputError, Interrupted

USAGE_ERROR = 2
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a scheduler may queue the same command again


def run(main: Callable[..., int | None], operand: str | None = None) -> NoReturn:
    """Parse the flags, call `main`, exit.

    `operand` names the one argument without a dash that a program takes; `main` is then called
    with it.

    Status: what `main` returns, None being 0; 75 where SIGTERM ended it in order and the same
    command goes on (Interrupted); or 2 with `error: …` on stderr where the input
    cannot be used (InputError), a file cannot be read or written, or a `--config` override names
    no field; absl reports flags that it does not know and values of another type.
    """

    def guarded(argv: Sequence[str]) -> int:
        if operand and len(argv) != 2:
            return _complain(f"{len(argv) - 1} arguments: give one {operand}")
        if not operand and len(argv) > 1:
            return _complain(f"argument {argv[1]!r} is not a flag: write --name=value")
        logging.set_verbosity(logging.WARNING)  # Orbax tells every step of a save otherwise
        try:
            return main(*argv[1:]) or 0
        except InputError as error:
            return _complain(str(error))
        except Interrupted as end:
            print(f"stopped: {end}", file=sys.stderr)
            return TRY_AGAIN if end.signal == signal.SIGTERM else 128 + end.signal
        except OSError as error:  # a full disk, a folder without permission, no such recipe
            return _complain(_last_line(error))

    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return app.parse_flags_with_usage(list(argv))
    except InputError as error:
        sys.exit(_complain(str(error)))
    except OSError as error:
        sys.exit(_complain(_last_line(error)))
    except SyntaxError as error:  # a recipe is Python
        given = next((word for word in argv if word.startswith("--config=")), "--config")
        sys.exit(_complain(f"{given} is no Python ({error.msg}): give a recipe as in configs/"))
    except (KeyError, AttributeError) as error:  # ml_collections: an override without its field
        sentence = " ".join(str(error.args[0]).split())
        sys.exit(_complain(f"--config: {sentence}: check the field's name"))


def _last_line(error: OSError) -> str:
    """The cause itself: ml_collections tells on several lines where it looked for a recipe."""
    return str(error).strip().splitlines()[-1].strip()


def _complain(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return USAGE_ERROR
