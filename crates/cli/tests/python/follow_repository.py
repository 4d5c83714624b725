"""Follows a Lockstep repository with python-tuf, over HTTP, and downloads targets, delegated ones too.

usage: follow_repository.py REPO ROOT CLIENT-DIR TARGET...
CLIENT-DIR keeps the client's trusted metadata between two runs. Prints as JSON the versions of timestamp and root, how many
releases the top role of targets names itself, and which version each target is.
"""

import functools
import http.server
import json
import pathlib
import shutil
import sys
import threading

from tuf.ngclient import Updater


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def main(repo, root, client, *wanted):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=repo)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"

    client = pathlib.Path(client)
    metadata, targets = client / "metadata", client / "targets"
    shutil.rmtree(targets, ignore_errors=True)
    metadata.mkdir(parents=True, exist_ok=True)
    targets.mkdir()
    updater = Updater(
        metadata_dir=str(metadata),
        metadata_base_url=f"{base}/metadata/",
        target_dir=str(targets),
        target_base_url=f"{base}/targets/",
        bootstrap=pathlib.Path(root).read_bytes(),
    )
    updater.refresh()
    releases = []
    for target in wanted:
        info = updater.get_targetinfo(target)
        assert info is not None, f"no {target}"
        path = pathlib.Path(updater.download_target(info))
        assert path.stat().st_size == info.length
        assert path.read_bytes().startswith(b"LOCKSTEP-PACKAGE-1\n")
        releases.append(info.custom["lockstep"]["version"])

    signed = lambda name: json.loads((metadata / name).read_text())["signed"]
    print(
        json.dumps(
            {
                "timestamp": signed("timestamp.json")["version"],
                "root": signed("root.json")["version"],
                "named": len(signed("targets.json")["targets"]),
                "releases": releases,
            }
        )
    )


main(*sys.argv[1:])
