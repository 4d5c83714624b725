"""An IMAP session of a connector that does not close by itself: says who it is, logs in, and idles until it is ended.
Arguments: port, user, password, version. With a fifth argument: ends after the login. Prints what the server says."""

import imaplib
import ssl
import sys

port, user, password, version = int(sys.argv[1]), *sys.argv[2:5]
context = ssl._create_unverified_context()
imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")
session = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context)
session._simple_command("ID", f'("name" "lockstep-connector" "version" "{version}")')
try:
    session.login(user, password)
except imaplib.IMAP4.error as refused:
    print("refused:", refused, flush=True)
    sys.exit(1)
print("logged in", flush=True)
if len(sys.argv) < 6:
    session.select("INBOX")
    session.send(b"i1 IDLE\r\n")
    while line := session.readline():
        print(line.decode(errors="replace").strip(), flush=True)
    print("ended", flush=True)
