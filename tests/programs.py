"""The programs in `launch/` called in this interpreter, as if from the shell."""

import contextlib
import io
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

from absl import app, flags, logging

ROOT = Path(__file__).resolve().parents[1]


class Finished(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The sentence of an unusable input; fails where there is a traceback or more than one."""
        assert self.status != 0 and "Traceback" not in self.err, self.err
        sentences = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(sentences) == 1, self.err
        return sentences[0].removeprefix("error: ")


def call(name: str, *arguments: object) -> Finished:
    """`python launch/NAME.py ARGUMENTS`; each call defines the program's flags anew."""
    app.define_help_flags()
    before, argv, verbosity = set(flags.FLAGS), sys.argv, logging.get_verbosity()
    script = ROOT / "launch" / f"{name}.py"
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            sys.argv = [str(script), *map(str, arguments)]
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            sys.argv = argv
            logging.set_verbosity(verbosity)
            for flag in set(flags.FLAGS) - before:
                # Grain defines flags when it is imported, which happens once.
                if not flag.startswith("grain_"):
                    delattr(flags.FLAGS, flag)
            flags.FLAGS.unparse_flags()
    return Finished(int(status), out.getvalue(), err.getvalue())


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content: what must not change where input is refused."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
