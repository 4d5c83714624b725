"""Uses the local submission server with Python's smtplib; any surprise is an exception."""
import smtplib
import socket
import sys
import time

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
smtp = smtplib.SMTP("127.0.0.1", port, timeout=20)
smtp.ehlo("client.example")
assert smtp.has_extn("size") and smtp.has_extn("8bitmime") and smtp.has_extn("smtputf8"), smtp.esmtp_features
try:
    smtp.sendmail(user, ["bob@y.org"], "Subject: x\r\n\r\n")
    raise AssertionError("accepted before login")
except smtplib.SMTPSenderRefused as error:
    assert error.smtp_code == 530, error
started = time.monotonic()
try:
    smtp.login(user, "wrong", initial_response_ok=False)
    raise AssertionError("a wrong password was accepted")
except smtplib.SMTPAuthenticationError:
    pass
assert time.monotonic() - started > 0.9, "a wrong password costs nothing"
smtp.login(user, password)
smtp.sendmail(user, ["bob@y.org"], "Subject: dots\r\n\r\n.\r\n..two dots\r\n")
many = [f"r{i}@y.org" for i in range(150)]
assert smtp.sendmail(user, many, "Subject: many\r\n\r\nbody\r\n") == {}
smtp.sendmail("jürgen@example.test", ["bob@y.org"], "Subject: Grüße\r\n\r\nbody\r\n".encode(),
              mail_options=["SMTPUTF8", "BODY=8BITMIME"])
assert smtp.verify("bob@y.org")[0] == 252
smtp.quit()

# Smuggling: an end of data that is none must not end it, and the message is refused as a whole.
raw = smtplib.SMTP("127.0.0.1", port, timeout=20)
raw.ehlo("client.example")
raw.login(user, password)
raw.docmd("MAIL", f"FROM:<{user}>")
raw.docmd("RCPT", "TO:<bob@y.org>")
assert raw.docmd("DATA")[0] == 354
raw.send(b"Subject: smuggled\r\n\r\nx\n.\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<victim@y>\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n")
code, text = raw.getreply()
assert code == 550, (code, text)
assert raw.noop()[0] == 250, "nothing of the message was taken for a command"
raw.quit()

# Pipelining: everything at once, answers in order.
import base64
token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
with socket.create_connection(("127.0.0.1", port), 20) as pipe:
    pipe.sendall((f"EHLO x\r\nAUTH PLAIN {token}\r\nMAIL FROM:<{user}>\r\nRCPT TO:<bad>\r\nRSET\r\nNOOP\r\nQUIT\r\n").encode())
    answer = b""
    while chunk := pipe.recv(4096):
        answer += chunk
codes = [line[:3] for line in answer.decode().splitlines() if line[3:4] == " "]
assert codes == ["220", "250", "235", "250", "501", "250", "250", "221"], codes
print("all well")
