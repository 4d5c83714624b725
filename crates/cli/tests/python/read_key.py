"""Opens an encrypted key and prints its public half in hexadecimal.

usage: read_key.py FILE PASSPHRASE
"""

import pathlib
import sys

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

key = load_pem_private_key(pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[2].encode())
print(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex())
