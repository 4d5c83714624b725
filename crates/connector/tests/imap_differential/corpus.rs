//! Odd messages: what mail programs, gateways and attackers really write, one oddity each.

/// Names and messages; lines end with CRLF.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<(&'static str, Vec<u8>)> =
        TEXTS.iter().map(|(name, text)| (*name, text.replace('\n', "\r\n").into_bytes())).collect();
    all.push(("nothing but a line end", b"\r\n".to_vec()));
    all.push(("no line end at all", b"Subject: cut off".to_vec()));
    all.push(("a header cut off in its folding", b"Subject: cut\r\n  off here".to_vec()));
    all.push(("8-bit bytes everywhere", eight_bit()));
    all.push(("a long header line", long_header()));
    all.push((
        "a line of 50,000 bytes",
        [b"Subject: long\r\n\r\n".to_vec(), vec![b'x'; 50_000], b"\r\n".to_vec()].concat(),
    ));
    all.push(("multiparts nested 12 deep", nested(12)));
    all.push(("200 parts", many_parts(200)));
    all.push(("messages in messages 8 deep", messages_in_messages(8)));
    all.push(("500 recipients", recipients(500)));
    all
}

fn eight_bit() -> Vec<u8> {
    let mut message =
        b"From: J\xfcrgen <j@x.org>\r\nSubject: Gr\xfc\xdfe \xe2\x82\xac\r\nTo: \"\xe4\" <a@b.c>\r\n".to_vec();
    message.extend(
        b"Content-Type: text/plain; name=\"\xfc.txt\"\r\nContent-Description: \xdf\r\n\r\n\x80\xfe\xff body\r\n",
    );
    message
}

fn long_header() -> Vec<u8> {
    let references: String = (0..200).map(|i| format!(" <reference-{i}@example.test>")).collect();
    format!("Subject: long\r\nReferences:{references}\r\nTo: a@b.c\r\n\r\nbody\r\n").into_bytes()
}

fn nested(depth: usize) -> Vec<u8> {
    let mut part = b"Content-Type: text/plain\r\n\r\ninnermost\r\n".to_vec();
    for level in (0..depth).rev() {
        let head = format!("Content-Type: multipart/mixed; boundary=\"level {level}\"\r\n\r\n--level {level}\r\n");
        part = [head.into_bytes(), part, format!("\r\n--level {level}--\r\n").into_bytes()].concat();
    }
    [b"Subject: nested\r\n".to_vec(), part].concat()
}

fn many_parts(number: usize) -> Vec<u8> {
    let mut message = String::from("Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
    for i in 0..number {
        message.push_str(&format!("--b\r\nContent-Type: text/x-{i}\r\n\r\npart {i}\r\n"));
    }
    message.push_str("--b--\r\n");
    message.into_bytes()
}

fn messages_in_messages(depth: usize) -> Vec<u8> {
    let mut message = String::new();
    for i in 0..depth {
        message.push_str(&format!("Subject: level {i}\r\nFrom: l{i}@x.org\r\nContent-Type: message/rfc822\r\n\r\n"));
    }
    message.push_str("Subject: innermost\r\n\r\nend\r\n");
    message.into_bytes()
}

fn recipients(number: usize) -> Vec<u8> {
    let list: Vec<String> = (0..number).map(|i| format!("\"Person {i}\" <p{i}@example.test>")).collect();
    format!("Subject: many\r\nTo: {}\r\n\r\nbody\r\n", list.join(",\r\n ")).into_bytes()
}

const TEXTS: &[(&str, &str)] = &[
    (
        "plain",
        "From: Ann <ann@x.org>\nTo: bob@y.org\nSubject: plain\nDate: Thu, 1 Jan 2026 09:30:00 +0000\nMessage-ID: <1@x>\n\nHello Bob.\n",
    ),
    (
        "all envelope fields",
        "Date: Sat, 03 Feb 2007 01:02:03 +0200\nFrom: F <f@x.org>\nSender: S <s@x.org>\nReply-To: R <r@x.org>\nTo: T <t@x.org>\nCc: C <c@x.org>\nBcc: B <b@x.org>\nIn-Reply-To: <0@x>\nMessage-ID: <1@x>\nSubject: all\n\nbody\n",
    ),
    (
        "empty envelope fields",
        "Date:\nFrom: f@x.org\nSender:\nReply-To: \nTo:\nCc: \t\nSubject:\nIn-Reply-To: \nMessage-ID:\n\nbody\n",
    ),
    (
        "groups",
        "From: f@x.org\nTo: friends: a@x.org, B <b@x.org>;, c@x.org, none:;\nCc: undisclosed-recipients:;\nSubject: groups\n\nbody\n",
    ),
    (
        "comments in addresses",
        "From: f@x.org (Real Name)\nTo: <a (one)@ (two) x.org>, (first) b@x.org (last (nested))\nSubject: (not) a comment\n\nbody\n",
    ),
    (
        "routes and quoted local parts",
        "From: <@a.org,@b.org:f@x.org>\nTo: \"odd @ one\"@x.org, \"a\\\"b\" <c@x.org>, \"x\\\\y\"@z.org\nSubject: routes\n\nbody\n",
    ),
    (
        "broken addresses",
        "From: nobody\nTo: <>, a@, @b, <c, d@x.org>, \"open <e@x.org>\nCc: a b c\nSubject: broken\n\nbody\n",
    ),
    (
        "encoded words",
        "From: =?utf-8?q?J=C3=BCrgen?= <j@x.org>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?b?IGF1cyBLw7Zsbg==?=\nTo: =?iso-8859-1?Q?a?= =?iso-8859-1?Q?b?= <ab@x.org>\n\nbody\n",
    ),
    (
        "dots and spaces in phrases",
        "From: John Q. Public <j@x.org>\nTo: A.B.  C <d@x.org>, e . f @ x . org\nSubject:    leading and trailing   \n\nbody\n",
    ),
    (
        "folded fields",
        "Subject: one\n two\n\tthree\nFrom:\n f@x.org\nTo: a@x.org,\n\tb@x.org\nDate:\n Thu, 1 Jan 2026\n 09:30:00 +0000\n\nbody\n",
    ),
    (
        "repeated fields",
        "Subject: first\nSubject: second\nFrom: a@x.org\nFrom: b@x.org\nTo: c@x.org\nTo: d@x.org\nMessage-ID: <1@x>\nMessage-ID: <2@x>\n\nbody\n",
    ),
    (
        "fields that are none",
        "Subject: fine\nthis is no field\n:neither\n Subject: folded\nTo : a@x.org\nX-Last: 1\n\nbody\n",
    ),
    ("a body without a header", "\njust a body\n"),
    ("a header without a body", "Subject: only\nFrom: a@x.org\n\n"),
    ("a header without its empty line", "Subject: only\nFrom: a@x.org\n"),
    (
        "quotes and backslashes",
        "Subject: \"quoted\" \\ and {5} (x) [y] %*\nFrom: \"A \\\"B\\\" C\" <a@x.org>\nMessage-ID: <\"q\"@x>\n\nbody {3}\nabc\n",
    ),
    (
        "a mailing list",
        "From: a@x.org\nSubject: list\nList-Id: <l.x.org>\nContent-Language: de, en\nContent-Location: http://x.org/a\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\nContent-ID: <part@x>\nContent-Description: a description\n\nbody\n",
    ),
    (
        "html only",
        "Subject: html\nContent-Type: text/html; charset=\"utf-8\"\nContent-Transfer-Encoding: quoted-printable\n\n<p>=C3=BC</p>\n",
    ),
    (
        "an attachment",
        "Subject: attachment\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b\"\n\npreamble\n--=_b\nContent-Type: text/plain; charset=utf-8; format=flowed\n\nhi\n--=_b\nContent-Type: application/pdf; name=\"r 1.pdf\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"r 1.pdf\"; size=15\n\nJVBERi0xLjQK\n--=_b--\nepilogue\n",
    ),
    (
        "alternative in related in mixed",
        "Subject: newsletter\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/related; boundary=ab; type=\"text/html\"\n\n--ab\nContent-Type: multipart/alternative; boundary=abc\n\n--abc\n\nplain\n--abc\nContent-Type: text/html\n\n<img src=\"cid:1\">\n--abc--\n\n--ab\nContent-Type: image/png\nContent-ID: <1>\nContent-Disposition: inline\nContent-Transfer-Encoding: base64\n\nAAAA\n--ab--\n--a\nContent-Type: text/x-vcard\n\nBEGIN:VCARD\n--a--\n",
    ),
    (
        "a forwarded message",
        "Subject: fwd\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nsee below\n--b\nContent-Type: message/rfc822\nContent-Disposition: attachment\n\nFrom: inner@x.org\nTo: g: h@x.org;\nSubject: inner\nDate: Fri, 2 Jan 2026 10:00:00 +0100\nMessage-ID: <inner@x>\n\ninner body\nof two lines\n--b--\n",
    ),
    (
        "a digest",
        "Subject: digest\nContent-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: one\nFrom: a@x.org\n\nfirst\n--d\nX-Mime: header\n\nSubject: two\n\nsecond\n--d\nContent-Type: text/plain\n\nthird is text\n--d--\n",
    ),
    (
        "a multipart in a forwarded message",
        "Subject: fwd\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/alternative; boundary=i\n\npreamble\n--i\nContent-Type: text/plain\n\none\n\n--i\nContent-Type: text/html\n\n<b>two</b>\n\n--i--\nepilogue\n",
    ),
    (
        "a delivery report",
        "Subject: failed\nContent-Type: multipart/report; report-type=delivery-status;\n boundary=\"r\"\n\n--r\n\nsorry\n--r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x.org\n\nFinal-Recipient: rfc822; a@x.org\nAction: failed\n--r\nContent-Type: text/rfc822-headers\n\nSubject: original\n--r--\n",
    ),
    (
        "an encoded forwarded message",
        "Subject: fwd\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW5uZXIKCmJvZHkK\n--b--\n",
    ),
    ("a multipart without a boundary", "Subject: odd\nContent-Type: multipart/mixed\n\n--\nno boundary\n"),
    ("a boundary that never comes", "Subject: odd\nContent-Type: multipart/mixed; boundary=never\n\nonly text here\n"),
    (
        "a multipart that is not closed",
        "Subject: odd\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo to the end\n",
    ),
    (
        "an inner multipart that is not closed",
        "Subject: odd\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--o\n\ntwo\n--o--\n",
    ),
    (
        "empty parts",
        "Subject: odd\nContent-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\nContent-Type: text/html\n--b\nContent-Type: image/gif\n\n--b--\n",
    ),
    ("a multipart that is closed at once", "Subject: odd\nContent-Type: multipart/mixed; boundary=b\n\n--b--\nrest\n"),
    (
        "one boundary begins with another",
        "Subject: odd\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=xy\n\n--xy\n\none\n--xy--\n--x\n\ntwo\n--x--\n",
    ),
    (
        "spaces after boundaries and text in front",
        "Subject: odd\nContent-Type: multipart/mixed; boundary=b\n\n --b\n--b  \n\none\n--b\t\n\ntwo\n--bc\nnot a boundary\n--b--  \nend\n",
    ),
    (
        "a folded boundary parameter",
        "Subject: odd\nContent-Type: multipart/mixed; boundary=\"foo\n bar\"\n\n--foo bar\nContent-Type: text/x-myown; charset=us-ascii\n\nhello\n\n--foo bar--\n",
    ),
    (
        "parameters of all kinds",
        "Subject: odd\nContent-Type: text/plain; charset=us-ascii; name*0=\"a\"; name*1*=utf-8''%C3%BC;\n x=\"a\\\"b\"; empty=\"\"; novalue; =noname; two = spaced ; (comment) c=d(e)\nContent-Disposition: ATTACHMENT; FileName*=utf-8''%e2%82%ac.txt\n\nbody\n",
    ),
    (
        "types that are none",
        "Subject: odd\nContent-Type: text\nContent-Transfer-Encoding: x-what (why)\nContent-Disposition: \n\nbody\n",
    ),
    (
        "a type in capitals",
        "Subject: odd\nCONTENT-TYPE: TEXT/HTML; CHARSET=ISO-8859-1\nCONTENT-TRANSFER-ENCODING: BASE64\n\nPGI+\n",
    ),
    ("an empty type", "Subject: odd\nContent-Type:\nContent-Transfer-Encoding:\n\nbody\n"),
    ("a type with a comment", "Subject: odd\nContent-Type: text/plain (plain text); charset=utf-8 (really)\n\nbody\n"),
    ("dates of all kinds", "Subject: date\nDate: 1 Jan 26 9:30 EST (comment)\n\nbody\n"),
    ("a date at the edge of its day", "Subject: date\nDate: Wed, 31 Dec 2025 23:30:00 -0800\n\nbody\n"),
    ("no date", "Subject: no date\nFrom: a@x.org\n\nbody\n"),
    ("text with dots and From lines", "Subject: dots\n\n.\n..\nFrom someone\n>From another\n\n\n\n"),
];
