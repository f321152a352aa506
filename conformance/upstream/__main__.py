"""`python -m conformance.upstream`: the upstream as a process. Its first line says where it listens."""

from __future__ import annotations

import argparse
import sys

from conformance.fixtures import fixture_path
from conformance.tokenizer import TokenizerError
from conformance.upstream.engine import MAX_MODEL_LEN
from conformance.upstream.server import serve


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.upstream", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: loopback)")
    parser.add_argument("--port", type=int, default=0, help="port to bind; 0 takes a free one")
    parser.add_argument("--tokenizer", default=str(fixture_path("chatml")), help="directory of the tokenizer")
    parser.add_argument("--max-model-len", type=int, default=MAX_MODEL_LEN, help="tokens that the model takes")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that holds our stdin")
    chosen = parser.parse_args(arguments)
    if not 0 <= chosen.port <= 65535:
        parser.error(f"--port must be 0 to 65535, not {chosen.port}")
    if chosen.max_model_len < 1:
        parser.error(f"--max-model-len must be a count of tokens, not {chosen.max_model_len}")
    try:
        serve(
            chosen.host,
            chosen.port,
            chosen.tokenizer,
            lambda url: print(f"listening on {url}", flush=True),
            until_stdin_closes=chosen.until_stdin_closes,
            max_model_len=chosen.max_model_len,
        )
    except TokenizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot listen on {chosen.host}:{chosen.port}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
