"""Uses the local IMAP server with Python's imaplib; any surprise is an exception."""
import email
import imaplib
import sys
import threading
import time

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def ok(result):
    assert result[0] == "OK", result
    return result[1]


def connect():
    imap = imaplib.IMAP4("127.0.0.1", port, timeout=20)
    ok(imap.login(user, password))
    return imap


stranger = imaplib.IMAP4("127.0.0.1", port, timeout=20)
started = time.monotonic()
try:
    stranger.login(user, "wrong")
    raise AssertionError("a wrong password was accepted")
except imaplib.IMAP4.error as error:
    assert b"AUTHENTICATIONFAILED" in error.args[0], error
assert time.monotonic() - started > 0.9, "a wrong password costs nothing"
ok(stranger.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode()))
stranger.logout()

imap = connect()
assert "IDLE" in imap.capabilities and "UIDPLUS" in imap.capabilities, imap.capabilities
names = [line.decode() for line in ok(imap.list())]
assert any("\\Sent" in n for n in names) and any("Entw&APw-rfe/2025 &- &AOQ-lter" in n for n in names), names
count = int(ok(imap.select())[0])
assert count == 11, count
assert int(imap.response("UIDVALIDITY")[1][0]) > 0

for number in ok(imap.search(None, "ALL"))[0].split():
    data = ok(imap.fetch(number, "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"))
    message = next(part for part in data if isinstance(part, tuple) and b"BODY[]" in part[0])
    whole = message[1]
    size = next(part for part in data if b"RFC822.SIZE" in (part[0] if isinstance(part, tuple) else part))
    size = size[0] if isinstance(size, tuple) else size
    assert int(size.split(b"RFC822.SIZE ")[1].split()[0]) == len(whole), (size, len(whole))
    parsed = email.message_from_bytes(whole)
    if parsed["Subject"] == "with an attachment":
        pdf = parsed.get_payload()[1].get_payload(decode=True)
        part = ok(imap.fetch(number, "(BODY.PEEK[2] BODY.PEEK[1.2.MIME])"))
        assert part[0][1].strip() == b"JVBERi0xLjQKJcfsj6IK" and pdf.startswith(b"%PDF"), part
        assert part[1][1] == b"Content-Type: text/html\r\n\r\n", part

assert ok(imap.search(None, "SUBJECT", '"with an attachment"'))[0] == b"2"
imap.literal = "für".encode()
assert ok(imap.uid("SEARCH", "CHARSET", "UTF-8", "BODY"))[0].split() == [b"2"]
assert ok(imap.search(None, "UNSEEN"))[0].split() == [str(n).encode() for n in range(2, 12)]

ok(imap.store("3", "+FLAGS", "(\\Flagged $Later)"))
assert b"$Later" in ok(imap.fetch("3", "(FLAGS)"))[0]
ok(imap.copy("1", "Drafts"))
ok(imap.create('"Neu &- sch&APY-n"'))
ok(imap.uid("MOVE", "4", '"Neu &- sch&APY-n"'))
appended = ok(imap.append("INBOX", "(\\Seen)", '" 2-Feb-2026 10:00:00 +0000"', b"Subject: appended\r\n\r\n\x80\xff body\r\n"))
assert b"APPENDUID" in appended[0], appended
found = ok(imap.search(None, "SUBJECT", "appended"))[0].split()
assert len(found) == 1, found
text = ok(imap.fetch(found[0], "(BODY.PEEK[TEXT])"))
assert text[0][1] == b"\x80\xff body\r\n", text

# Another client adds a message while this one idles: it hears of it within a second.
imap.send(b"i1 IDLE\r\n")
while not imap.readline().startswith(b"+"):
    pass
heard = []


def listen():
    while True:
        line = imap.readline()
        heard.append((time.monotonic(), line))
        if line.startswith(b"i1 "):
            return


thread = threading.Thread(target=listen, daemon=True)
thread.start()
other = connect()
added = time.monotonic()
ok(other.append("INBOX", None, None, b"Subject: while idle\r\n\r\n\r\n"))
time.sleep(1)
imap.send(b"DONE\r\n")
thread.join(10)
exists = [at for at, line in heard if b"EXISTS" in line]
assert exists and exists[0] - added < 1, heard

ok(other.select())
ok(other.store("2", "+FLAGS.SILENT", "(\\Deleted)"))
assert ok(other.expunge()) == [b"2"]
ok(other.close())
other.logout()
imap.noop()
expunged = imap.response("EXPUNGE")[1]
assert expunged == [b"4", b"2"], f"its own move and what the other client expunged: {expunged}"
imap.logout()
print("all well")
