"""``lumilio check``: the findings of ``diagnosis`` for people and scripts."""

import argparse
from pathlib import Path

from lumilio.model import SYSTEM_CONFIG

DESCRIPTION = """Check the configuration, the database, the tools, disk space and kernel limits.

Exit status: 0 all is well (warnings do not count), 1 something is wrong, 2 the configuration is unusable."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check",
        help="check configuration, database, tools, disks and limits",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {SYSTEM_CONFIG})")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data directory (default: that of the configuration; without one LUMILIO_DATA or ./data)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print every finding. Raises ConfigError for an unusable configuration."""
    import asyncio
    import json
    import sys
    from dataclasses import asdict

    from lumilio.client.discovery import nearby_data
    from lumilio.config import load_config
    from lumilio.diagnosis import Finding, diagnose
    from lumilio.errors import ConfigError
    from lumilio.log import configure_logging, printable

    data = args.data or (nearby_data() if args.config is None else None)
    overrides = {"data": {"directory": str(data.absolute())}} if data is not None else {}
    try:
        config = load_config(args.config, overrides)
    except ConfigError as exc:
        if args.json:
            faults = [
                asdict(Finding(name="configuration", verdict="failed", detail=line)) for line in str(exc).split("\n")
            ]
            print(json.dumps({"ok": False, "checks": faults}, indent=2))
        raise
    configure_logging("error", "text")
    findings = asyncio.run(diagnose(config))
    failed = any(finding.verdict == "failed" for finding in findings)
    if args.json:
        json.dump({"ok": not failed, "checks": [asdict(finding) for finding in findings]}, sys.stdout, indent=2)
        print()
    else:
        for finding in findings:
            print(f"{finding.verdict:8} {finding.name:14} {printable(finding.detail)}")
            if finding.remedy:
                print(f"{'':8} {'':14} → {printable(finding.remedy)}")
    return 1 if failed else 0
