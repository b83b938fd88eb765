"""One command that sets everything up and runs it, on a fresh clone with only Python and pip.

    python3 dev.py demo  [options]      the main job: real work on two workers, no server
    python3 dev.py test  [pytest args]  the tests, against the installed packages
    python3 dev.py check                import contracts, ruff, mypy --strict

The environment is ./.venv (another folder: TASKLINE_VENV). It is made on the first run, brought up
to date when something it was made from has changed, and left alone otherwise. The exit code is
that of what was run.

What is decided here: how an environment comes to be, and when one is good enough. It leans on the
standard library alone, and on neither ensurepip nor a pip newer than what old distributions ship:
the environment is made without pip, the Python at hand then puts a pip of its own choosing into it.
A stamp, written last, says what is in it; without the stamp the environment is made anew.
"""

import configparser
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST = (3, 10)
ROOT = Path(__file__).resolve().parent
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

#: What each command adds to the bare installation (extras of setup.cfg).
EXTRAS = {"demo": [], "test": ["test"], "check": ["check"]}

#: The tests run in two processes, each with names of its own on the brokers: much of the time they
#: wait, for a program to come up or a silence to last. ``-n 0`` among the arguments, which come
#: later and so go first, runs them all in one.
TWO_AT_ONCE = ["-n", "2", "--dist", "worksteal"]

#: In the environment's folder: says that it is ours, and is locked by whoever uses it.
LOCK = "taskline-dev.lock"
#: In the environment's folder: what is in it, as :meth:`Environment.wanted` words it.
STAMP = "taskline-dev.json"


def main(argv: "list[str]") -> int:
    """Run one command; its exit code, or 2 with a sentence when it cannot even begin."""
    if not argv or argv[0] not in EXTRAS:
        print(__doc__, file=sys.stdout if argv[:1] in (["-h"], ["--help"]) else sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    if sys.version_info < OLDEST:
        return refuse(
            f"Taskline needs Python 3.10 or newer; {sys.executable} is {PYTHON}. "
            f"Run this file with a newer one, for example: python3.12 dev.py {argv[0]}"
        )
    command, arguments = argv[0], argv[1:]
    environment = Environment(folder())
    if environment.is_running_us():
        base = getattr(sys, "_base_executable", sys.executable)
        os.execv(base, [base, str(ROOT / "dev.py"), *argv])
    try:
        environment.prepare(EXTRAS[command])
    except (SetupFailed, OSError, subprocess.CalledProcessError) as error:
        return refuse(f"{environment.folder} could not be set up: {error}")
    except KeyboardInterrupt:
        return 130
    if command == "demo":
        return environment.become(["python", "-m", "executor", "demo", *arguments])
    os.chdir(ROOT)
    if command == "test":
        # The executable, because `python -m pytest` would put the source tree first on sys.path.
        return environment.become(["pytest", *TWO_AT_ONCE, *arguments])
    return max(
        environment.run(["lint-imports"]),
        environment.run(["ruff", "check"]),
        environment.run(["ruff", "format", "--check"]),
        environment.run(["mypy"]),
    )


def refuse(sentence: str) -> int:
    """Say why nothing was run."""
    print(f"dev.py: {sentence}", file=sys.stderr)
    return 2


def folder() -> Path:
    """Where the environment is or will be: never in a ``.venv`` that somebody else has made."""
    named = os.environ.get("TASKLINE_VENV")
    if named:
        return Path(named).absolute()
    usual = ROOT / ".venv"
    return ROOT / ".venv-taskline" if is_foreign(usual) else usual


def is_foreign(where: Path) -> bool:
    """Whether there is something that we did not make, and so may not remove."""
    return where.exists() and not (where / LOCK).exists() and any(where.iterdir())


class SetupFailed(Exception):
    """The environment could not be made; the message says what to do."""


class Environment:
    """A virtual environment with Taskline installed in it, as any user would install it."""

    def __init__(self, where: Path) -> None:
        self.folder = where
        self.bin = where / "bin"
        self.stamp = where / STAMP
        self.config = configparser.ConfigParser(interpolation=None)
        self.config.read(ROOT / "setup.cfg", encoding="utf-8")

    def is_running_us(self) -> bool:
        """Whether this very process runs on the environment, which it may have to remove."""
        return Path(sys.prefix).resolve() == self.folder.resolve()

    # what it should hold ------------------------------------------------------------------------

    def sources(self) -> "list[Path]":
        """All that a wheel is made of, relative to the root, in a fixed order."""
        packages = self.config["options.packages.find"]["include"].split()
        names = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
        found = [Path(name) for name in names]
        for package in packages:
            inside = (ROOT / package.rstrip("*")).rglob("*")
            found += [path.relative_to(ROOT) for path in inside if path.is_file()]
        return sorted(path for path in found if "__pycache__" not in path.parts)

    def wanted(self) -> "dict[str, str]":
        """The stamp of an environment that needs nothing done, apart from its extras."""
        needs = {
            section: dict(values)
            for section, values in self.config.items()
            if section.split(".")[0] in ("metadata", "options")
        }
        recipe = json.dumps(needs, sort_keys=True).encode() + (ROOT / "dev.py").read_bytes()
        content = hashlib.sha256()
        for path in self.sources():
            content.update(b"%s\0%s\0" % (os.fsencode(path), digest((ROOT / path).read_bytes())))
        return {
            "folder": str(self.folder),
            "python": f"{sys.base_prefix} {sys.version}",
            "recipe": digest(recipe).decode(),
            "sources": content.hexdigest(),
        }

    def found(self) -> "dict[str, object]":
        """The stamp as it is; empty if the environment is not there or was never finished."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    # making it ------------------------------------------------------------------------------------

    def prepare(self, extras: "list[str]") -> None:
        """Make sure that the environment holds the present sources and ``extras``.

        Others may run in it at the same time; one that changes it waits until it is alone. Nothing
        is ever changed in a folder that somebody else has filled.
        """
        if is_foreign(self.folder):
            raise SetupFailed("there is something in it that dev.py did not make")
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        # Inherited by what we become, so that the environment stays locked for as long as it runs.
        os.set_inheritable(lock, True)
        hold(lock, fcntl.LOCK_SH, self.folder)
        wanted = self.wanted()
        if self.lacks(wanted, extras):
            fcntl.flock(lock, fcntl.LOCK_UN)
            hold(lock, fcntl.LOCK_EX, self.folder)
            if self.lacks(wanted, extras):
                self.make(wanted, extras)
            fcntl.flock(lock, fcntl.LOCK_SH)

    def lacks(self, wanted: "dict[str, str]", extras: "list[str]") -> bool:
        """Whether something must be done before ``extras`` can be used."""
        stamp = self.found()
        held = stamp.pop("extras", [])
        return stamp != wanted or not set(extras) <= set(held if isinstance(held, list) else [])

    def make(self, wanted: "dict[str, str]", extras: "list[str]") -> None:
        """Create or renew, whichever is enough, and stamp."""
        stamp = self.found()
        is_kept = all(stamp.get(key) == wanted[key] for key in ("folder", "python", "recipe"))
        held = stamp.get("extras") if is_kept else []
        extras = sorted({*extras, *(held if isinstance(held, list) else [])})
        self.stamp.unlink(missing_ok=True)
        if is_kept:
            say(f"bringing {self.folder} up to date")
        else:
            say(f"setting up {self.folder} with Python {PYTHON}; the first time takes a minute")
            self.create()
        self.install(extras)
        # In one step, and last: a half-written stamp would be as bad as a half-made environment.
        beside = self.stamp.with_suffix(".new")
        beside.write_text(json.dumps({**wanted, "extras": extras}, indent=1), encoding="utf-8")
        beside.replace(self.stamp)

    def create(self) -> None:
        """An empty environment with a pip in it."""
        try:
            import venv  # noqa: PLC0415 -- a part that some distributions leave out
        except ImportError:
            raise SetupFailed(
                f"{sys.executable} comes without the standard module venv. "
                "Install the whole of Python (Debian, Ubuntu: apt install python3)."
            ) from None
        for path in self.folder.iterdir():
            if path.name != LOCK:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        venv.create(self.folder, symlinks=True, with_pip=False)
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.run(
            [str(self.bin / "python"), "-c", where],
            env=clean(),
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        ).stdout.strip()
        if quiet([sys.executable, "-m", "pip", "--version"]):
            if runs([sys.executable, "-m", "pip", "install", "-qq", "--target", packages, "pip"]):
                return
            raise SetupFailed(f"{sys.executable} -m pip could not fetch pip; its words are above.")
        if not quiet([str(self.bin / "python"), "-m", "ensurepip"]):
            raise SetupFailed(
                f"{sys.executable} has no pip. Install it and run this again "
                "(Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip)."
            )

    def install(self, extras: "list[str]") -> None:
        """Taskline with its extras, built from a copy: a build leaves things lying about."""
        with tempfile.TemporaryDirectory(prefix="taskline-") as copy:
            for path in self.sources():
                target = Path(copy) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, target)
            what = f"{copy}[{','.join(extras)}]" if extras else copy
            if not runs([str(self.bin / "python"), "-m", "pip", "install", "-qq", what]):
                raise SetupFailed("pip could not install Taskline; its words are above.")

    # using it -------------------------------------------------------------------------------------

    def become(self, command: "list[str]") -> int:
        """Replace this process, so that signals and the exit code are the command's own."""
        sys.stdout.flush()
        sys.stderr.flush()
        program = str(self.bin / command[0])
        os.execve(program, [program, *command[1:]], self.variables())

    def run(self, command: "list[str]") -> int:
        """Run one of several commands; its exit code."""
        say(" ".join(command))
        program = str(self.bin / command[0])
        return subprocess.run([program, *command[1:]], env=self.variables(), check=False).returncode

    def variables(self) -> "dict[str, str]":
        """As after ``activate``."""
        path = os.pathsep.join([str(self.bin), os.environ.get("PATH", os.defpath)])
        return {**clean(), "VIRTUAL_ENV": str(self.folder), "PATH": path}


def clean() -> "dict[str, str]":
    """Our environment variables, less what would lead Python or pip elsewhere."""
    astray = (
        "PYTHONPATH",
        "PYTHONHOME",
        "__PYVENV_LAUNCHER__",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
    )
    kept = {name: value for name, value in os.environ.items() if name not in astray}
    say_no = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**kept, **say_no, "PIP_ROOT_USER_ACTION": "ignore"}


def runs(command: "list[str]") -> bool:
    """Whether the command ends well; what it has to say is seen."""
    return subprocess.run(command, env=clean(), check=False).returncode == 0


def quiet(command: "list[str]") -> bool:
    """Whether the command ends well; what it has to say is not seen."""
    done = subprocess.run(
        command, env=clean(), check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return done.returncode == 0


def hold(lock: int, how: int, what: Path) -> None:
    """Take the lock, and say so if that means to wait."""
    with contextlib.suppress(BlockingIOError):
        return fcntl.flock(lock, how | fcntl.LOCK_NB)
    say(f"waiting for another dev.py that uses {what}")
    return fcntl.flock(lock, how)


def digest(content: bytes) -> bytes:
    """A short name for these bytes, as ASCII."""
    return hashlib.sha256(content).hexdigest().encode()


def say(sentence: str) -> None:
    """One line about what is being done, where it cannot be taken for the command's output."""
    print(f"dev.py: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
