"""``lumilio config``: make a configuration file, and show what is in effect."""

import argparse
import itertools
import sys
from pathlib import Path

from lumilio.model import SYSTEM_CONFIG


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser("config", help="make or show the configuration")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="write a file with every key, its default and what it means")
    init.add_argument(
        "file", type=Path, nargs="?", default=SYSTEM_CONFIG, help="where (default: %(default)s; - prints)"
    )
    init.add_argument(
        "--force", action="store_true", help="replace a file that exists; it is kept with the suffix .old"
    )
    init.set_defaults(run=run_init)
    show = actions.add_parser("show", help="print the settings in effect as TOML")
    show.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {SYSTEM_CONFIG})")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=run_show)


def run_init(args: argparse.Namespace) -> int:
    """Write the default configuration without replacing one."""
    from lumilio.config import default_toml

    text = default_toml()
    path: Path = args.file
    if str(path) == "-":
        sys.stdout.write(text)
        return 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        sys.stderr.write(f"lumilio: {path.parent} cannot be made: {exc.strerror}\n")
        return 1
    try:
        if args.force:
            _set_aside(path)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        sys.stderr.write(f"lumilio: {path} exists; edit it, or use --force to begin anew\n")
        return 1
    except OSError as exc:
        sys.stderr.write(f"lumilio: {path}: {exc.strerror}\n")
        return 1
    print(f"wrote {path}; check it with: lumilio check --config {path}")
    return 0


def _set_aside(path: Path) -> None:
    """Give an existing file the first free name of .old, .old.1, .old.2 …"""
    for number in itertools.count():
        try:
            path.with_name(f"{path.name}.old{f'.{number}' if number else ''}").hardlink_to(path)
        except FileExistsError:
            continue
        except FileNotFoundError:
            return
        path.unlink()
        return


def run_show(args: argparse.Namespace) -> int:
    """Print the effective settings."""
    import tomli_w

    from lumilio.config import load_config

    config = load_config(args.config)
    sys.stdout.write(f"{config.model_dump_json(indent=2)}\n" if args.json else tomli_w.dumps(config.model_dump()))
    return 0
