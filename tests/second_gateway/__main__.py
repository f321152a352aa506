"""`python -m tests.second_gateway --engine URL --tokenizer DIR` serves on loopback and says where."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.second_gateway.server import Gateway, Server
from tests.second_gateway.sessions import DECLARED_OPTIONS, Engine
from tests.second_gateway.text import Text

parser = argparse.ArgumentParser(prog="second_gateway")
parser.add_argument("--engine", required=True, metavar="URL")
parser.add_argument("--tokenizer", required=True, type=Path, metavar="DIR")
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="What to declare instead")
given = parser.parse_args()
declared = {**DECLARED_OPTIONS, **dict(each.split("=", 1) for each in given.option)}
gateway = Gateway(Text(given.tokenizer), Engine(given.engine), declared)
server = Server(gateway, given.port)
print(f"listening on {gateway.url}", flush=True)
server.serve_forever()
