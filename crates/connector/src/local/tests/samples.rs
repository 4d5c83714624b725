//! Messages as the world writes them.

/// Names and messages, lines ended by CRLF unless the sample is about that.
pub(super) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let text = |s: &str| s.replace('\n', "\r\n").into_bytes();
    let huge: String = (0..3000).map(|i| format!("\n <reference-{i:05}@example.test>")).collect();
    let mut latin1 = text("From: J@x\nSubject: 8-bit, undeclared\nContent-Type: text/plain; charset=iso-8859-1\n\n");
    latin1.extend(b"Gr\xfc\xdfe aus K\xf6ln\r\n");
    vec![
        (
            "plain",
            text(
                "From: Ann <ann@x.org>\nTo: bob@y.org\nSubject: plain\nDate: Thu, 1 Jan 2026 09:30:00 +0000\n\nHello Bob.\n.\n..dots\n",
            ),
        ),
        ("multipart", text(MULTIPART)),
        ("nested", text(NESTED)),
        ("8bit", latin1),
        (
            "encoded words",
            text(
                "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= =?x-unknown?b?////?=\nFrom: =?utf-8?q?J=C3=BCrgen?= <j@x>\n\n\n",
            ),
        ),
        ("empty body", text("Subject: empty body\nFrom: a@x\n\n")),
        ("huge header", text(&format!("Subject: huge header\nReferences:{huge}\n\nbody\n"))),
        ("no header", text("\nthis message has no header at all\n")),
        (
            "odd types",
            text(
                "Subject: odd types\nContent-Type: multipart/mixed\nContent-Transfer-Encoding: x-what\n\n--\nno boundary\n",
            ),
        ),
        ("long line", text(&format!("Subject: long line\n\n{}\n", "x".repeat(20_000)))),
        (
            "quotes",
            text(
                "Subject: \"quotes\" and \\ {5}\nFrom: \"A \\\"B\\\" C\" <a@x>\nTo: friends: c@y, d@z;\n\n{3}\nbody\n",
            ),
        ),
    ]
}

const MULTIPART: &str = "From: Ann <ann@x.org>\nTo: bob@y.org\nSubject: with an attachment\nMIME-Version: 1.0\n\
Content-Type: multipart/mixed; boundary=\"=_outer\"\n\nThis is a multi-part message.\n--=_outer\n\
Content-Type: multipart/alternative; boundary=\"=_inner\"\n\n--=_inner\nContent-Type: text/plain; charset=utf-8\n\
Content-Transfer-Encoding: quoted-printable\n\nF=C3=BCr Dich\n--=_inner\nContent-Type: text/html\n\n<p>hi</p>\n--=_inner--\n\
--=_outer\nContent-Type: application/pdf; name=\"report 2026.pdf\"\nContent-Transfer-Encoding: base64\n\
Content-Disposition: attachment; filename=\"report 2026.pdf\"\n\nJVBERi0xLjQKJcfsj6IK\n--=_outer--\nepilogue\n";

const NESTED: &str = "From: a@x\nSubject: Fwd: nested\nContent-Type: multipart/digest; boundary=d\n\n--d\n\n\
From: inner@x\nSubject: inner one\n\nfirst\n--d\nContent-Type: message/rfc822\n\nFrom: inner@x\nSubject: inner two\n\
Content-Type: multipart/mixed; boundary=e\n\n--e\n\nsecond\n--e--\n--d--\n";
