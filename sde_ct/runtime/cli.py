"""Start and end the programs in `launch/`, with sentences instead of tracebacks for errors."""

import atexit
import errno
import gc
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

from sde_ct.errors import InputError, Interrupted
from sde_ct.runtime.flag_errors import field_sentence, flag_sentence

USAGE_ERROR = 2
SMALLER = "give smaller numbers, such as fewer draws, smaller batches or smaller slices"
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a scheduler may queue the same command again


def run(main: Callable[..., int | None], operand: str | None = None) -> NoReturn:
    """Parse the flags, call `main`, and exit with a status.

    Args:
      main: returns the status, or None for 0. Heavy imports belong inside `main`, so that --help
        and errors in the flags appear at once.
      operand: the name of the single argument without a dash, if the program takes one. `main` is
        then called with this argument.

    The status is 2, with `error: …` on stderr, if a flag is unknown or has a wrong value, the input
    cannot be used (InputError), a file cannot be read or written (OSError), or the memory of the
    machine or of a device does not suffice. It is 130 after Ctrl-C. If a signal ended the program
    cleanly (Interrupted), it is 75 for SIGTERM and 128 + its number for another.
    """

    def guarded(argv: Sequence[str]) -> int:
        if operand and len(argv) != 2:
            return _complain(f"{len(argv) - 1} arguments: give one {operand}")
        if not operand and len(argv) > 1:
            return _complain(f"argument {argv[1]!r} is not a flag: write --name=value")
        if wrong := _flag_that_is_not_finite():
            return _complain(f"--{wrong}={flags.FLAGS[wrong].value}: give a finite number")
        logging.set_verbosity(logging.WARNING)  # otherwise Orbax logs every step of a save
        # Imports and traces make many objects that stay. Each garbage collection visits them. With
        # Python's threshold a start makes 200 collections, which take a quarter of a second.
        gc.set_threshold(50_000)
        atexit.register(gc.freeze)  # two collections at exit would take a third of a second
        try:
            return main(*argv[1:]) or 0
        except InputError as error:
            return _complain(str(error))
        except Interrupted as end:
            print(f"stopped: {end}", file=sys.stderr)
            return TRY_AGAIN if end.signal == signal.SIGTERM else 128 + end.signal
        except KeyboardInterrupt:
            print("stopped by Ctrl-C; complete files are kept", file=sys.stderr)
            return 128 + signal.SIGINT
        except OSError as error:  # for example a full disk, missing permissions or a missing recipe
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            mend = ": make room and give the same command again" if full else ""
            return _complain(_last_line(error) + mend)
        except Exception as error:  # JAX's error is known by its text, without importing JAX
            if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            what = (str(error).splitlines() or ["MemoryError"])[0]
            return _complain(f"the memory is too small ({what}): {SMALLER}")

    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    given = next((word for word in argv if word.startswith("--config=")), "--config")
    # Python must not write a compiled module beside the user's recipe.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return flags.FLAGS([_with_home(word) for word in argv])
    except SystemExit:  # after --help, for which absl gives the status 1
        sys.exit(0)
    except flags.Error as error:
        sys.exit(_complain(flag_sentence(error)))
    except InputError as error:
        sys.exit(_complain(str(error)))
    except OSError as error:
        sys.exit(_complain(_last_line(error)))
    except SyntaxError as error:  # recipes are written in Python
        sys.exit(_complain(f"{given} is not Python ({error.msg}): give a recipe as in configs/"))
    except Exception as error:  # a recipe is Python code, which runs here and may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        recipe = os.path.abspath(given.partition("=")[2])
        own = [frame for frame in frames if os.path.abspath(frame.filename) == recipe]
        if not own and "ml_collections" in frames[-1].filename:  # an override of no field
            sys.exit(_complain(field_sentence(error)))
        what = f"{type(error).__name__}: {error}, in line {(own or frames)[-1].lineno}"
        sys.exit(_complain(f"{given} cannot be run ({what}): correct the recipe"))
    finally:
        sys.dont_write_bytecode = before


def _flag_that_is_not_finite() -> str | None:
    """The name of a flag that has a bound but no finite value: absl accepts NaN and infinity."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        bounds = (getattr(flag.parser, f"{end}_bound", None) for end in ("lower", "upper"))
        bounded = any(bound is not None for bound in bounds)
        if bounded and isinstance(flag.value, float) and not math.isfinite(flag.value):
            return name
    return None


def _with_home(word: str) -> str:
    """`--name=~/path` with the home folder, because a shell replaces only leading tildes."""
    name, equals, value = word.partition("=")
    return name + equals + os.path.expanduser(value) if word.startswith("-") else word


def _last_line(error: OSError) -> str:
    """The cause of an error, without the lines in which ml_collections lists where it searched."""
    return (str(error).strip().splitlines() or [f"{type(error).__name__} without a text"])[-1]


def _complain(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return USAGE_ERROR
