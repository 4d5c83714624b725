//! Commands by subject, in the order of RFC 3501 and its extensions; `2:` is the second client of the same user. Where the two
//! servers may differ the line begins with `~`, and says why if that is not plain.

use super::client::{Command, Piece};

/// A step of a script.
pub struct Step {
    pub who: usize,
    pub command: Command,
    /// The answers may differ.
    pub differs: bool,
}

/// Names and scripts.
pub fn all() -> Vec<(&'static str, Vec<Step>)> {
    SCRIPTS.iter().map(|(name, script)| (*name, script.lines().filter_map(line).collect())).collect()
}

/// `[2:]command`, in which `{text}` is a literal and `{}` an ordinary message; `\n` in it is CRLF.
fn line(line: &str) -> Option<Step> {
    let line = line.trim_start();
    let (differs, line) = line.strip_prefix('~').map_or((false, line), |rest| (true, rest));
    let line = line.split_once("  # ").map_or(line, |(line, _)| line);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (who, mut rest) = line.strip_prefix("2:").map_or((0, line), |rest| (1, rest));
    let mut command = Vec::new();
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').expect("a closing brace");
        let literal = if inside.is_empty() { MESSAGE } else { inside };
        command.push(Piece::Text(before.to_owned()));
        command.push(Piece::Literal(literal.replace("\\n", "\r\n").into_bytes()));
        rest = after;
    }
    command.push(Piece::Text(rest.to_owned()));
    Some(Step { who, command, differs })
}

const MESSAGE: &str =
    "From: a@x.org\\nTo: b@y.org\\nSubject: hello\\nDate: Thu, 1 Jan 2026 09:30:00 +0000\\n\\nbody\\n";

const SCRIPTS: &[(&str, &str)] = &[
    (
        "select and recent",
        r#"
        CREATE m
        APPEND m {}
        APPEND m (\Seen) {}
        STATUS m (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)
        EXAMINE m
        SELECT m
        FETCH 1:* (UID FLAGS)
        2:SELECT m
        2:FETCH 1:* (FLAGS)
        2:STATUS m (RECENT)
        APPEND m {}
        FETCH 1:* FLAGS
        2:NOOP
        2:FETCH 1:* FLAGS
        2:SEARCH RECENT
        SEARCH RECENT
        SEARCH OLD
        SEARCH NEW
        SELECT nonexistent
        FETCH 1 FLAGS
        CLOSE
        SELECT INBOX
        SELECT inbox
        UNSELECT
        UNSELECT
        "#,
    ),
    (
        "flags and keywords",
        r#"
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        SELECT INBOX
        2:SELECT INBOX
        STORE 1:3 FLAGS (\Seen)
        2:CHECK
        ~STORE 4 -FLAGS \Seen  # we answer although nothing changes
        STORE 3 FLAGS (\Draft)
        STORE 2,4 +FLAGS ($Hello world)
        ~2:NOOP  # follows
        STORE 1 +FLAGS.SILENT (\Flagged NonJunk)
        FETCH 1:* FLAGS
        2:FETCH 1:* FLAGS
        2:STORE 1 -FLAGS (\flagged)
        CHECK
        STORE 1 +FLAGS \Deleted
        STORE 2 FLAGS ()
        STORE 2 FLAGS.SILENT ()
        ~STORE 2 +FLAGS ()  # as above
        STORE 9 +FLAGS \Seen
        STORE 0 +FLAGS \Seen
        STORE 4:1 +FLAGS \Answered
        STORE *:3 -FLAGS \Answered
        ~STORE 9:* +FLAGS \Flagged  # the last message to us, nothing to Dovecot
        UID STORE 9 +FLAGS \Seen
        ~UID STORE 9:* +FLAGS \Draft  # follows
        UID STORE 1,2 FLAGS (\Seen $HELLO)
        STORE 1 +FLAGS (\Seen \Seen a A)
        ~STORE 1 +FLAGS (\Recent)  # ignored or refused
        STORE 1 FLAGS \Seen \Deleted
        ~STORE 1 +FLAGS  # Dovecot takes no flags for an empty list
        STORE 1 +FLAGZ (\Seen)
        SEARCH KEYWORD $hello
        SEARCH UNKEYWORD $hello
        ~SEARCH KEYWORD nosuch  # Dovecot makes the keyword
        ~EXAMINE INBOX  # Dovecot remembers keywords nobody uses
        ~STORE 1 +FLAGS \Flagged  # we say NO where Dovecot ignores
        FETCH 1 BODY[]
        ~FETCH 1:4 FLAGS  # follows
        ~EXPUNGE  # we say NO where Dovecot ignores
        ~2:NOOP  # follows
        "#,
    ),
    (
        "seen by fetching",
        r#"
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        SELECT INBOX
        FETCH 1 RFC822.HEADER
        FETCH 1 BODY.PEEK[HEADER]
        FETCH 1 (FLAGS BODY.PEEK[TEXT])
        FETCH 1 RFC822.TEXT
        FETCH 2 RFC822
        FETCH 3 BODY[]
        FETCH 4 BODY[HEADER]
        FETCH 5 (FLAGS BODY[1]<0.2>)
        FETCH 6 BODY[HEADER.FIELDS (SUBJECT)]
        FETCH 1:* FLAGS
        FETCH 1 ALL
        FETCH 1 FAST
        FETCH 1 FULL
        FETCH 1 (UID UID FLAGS FLAGS)
        FETCH 1 (BODY.PEEK[TEXT]<0.2> BODY.PEEK[TEXT]<2.2>)
        fetch 1 (rfc822.size internaldate body.peek[header.fields (date)])
        FETCH 1 ()
        FETCH 1 NOSUCH
        FETCH 1 (ALL)
        FETCH 1 BODY[MIME]
        ~FETCH 1 BODY[0]  # not in the grammar
        FETCH 1 BODY[HEADER.FIELDS ()]
        FETCH 1 BODY[HEADER.FIELDS]
        ~FETCH 1 BODY.PEEK[]<0.0>  # not in the grammar
        ~FETCH 1 BODY.PEEK[]<10>  # not in the grammar
        FETCH 1 BODY.PEEK[HEADER.FIELDS ("Subject" {From})]
        "#,
    ),
    (
        "sets",
        r#"
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        SELECT INBOX
        STORE 2 +FLAGS \Deleted
        EXPUNGE
        ~FETCH 1:* UID  # no error in an empty folder
        FETCH 3:1 UID
        FETCH 1,* UID
        ~FETCH * UID
        FETCH *:1 UID
        FETCH *:* UID
        FETCH 1,1,1:2 UID
        FETCH 6 UID
        FETCH 5:6 UID
        ~FETCH 6:* UID  # the last message to us
        FETCH 0 UID
        FETCH 1:0 UID
        FETCH a UID
        ~FETCH 1, UID  # not in the grammar
        FETCH 1::2 UID
        FETCH 4294967296 UID
        ~FETCH 4294967295:* UID  # the last message to us
        UID FETCH 2 UID
        UID FETCH 2:3 FLAGS
        UID FETCH 1:* FLAGS
        UID FETCH 7:* FLAGS
        UID FETCH 100:200 FLAGS
        UID FETCH *:100 FLAGS
        UID FETCH 4294967295 FLAGS
        SEARCH 1:3,5
        SEARCH 4:2
        SEARCH UID 1:3,5
        ~SEARCH 6:*  # the last message to us
        ~SEARCH *:6  # the last message to us
        SEARCH 6
        SEARCH 5:7
        SEARCH UID 100:*
        SEARCH UID 100
        SEARCH NOT 2,4
        SEARCH OR 1 UID 3
        SEARCH 1:3 NOT UID 3
        UID SEARCH ALL
        UID SEARCH *
        UID SEARCH 2:3
        SELECT nosuch
        CREATE empty
        SELECT empty
        ~FETCH 1:* UID  # no error in an empty folder
        FETCH 1 UID
        ~FETCH * UID
        UID FETCH 1:* UID
        UID FETCH * UID
        SEARCH ALL
        SEARCH 1
        SEARCH *
        SEARCH 1:*
        UID SEARCH UID *
        ~STORE 1:* +FLAGS \Seen
        ~COPY 1:* INBOX
        UID COPY 1:* INBOX
        ~MOVE 1:* INBOX
        UID EXPUNGE 1:*
        EXPUNGE
        "#,
    ),
    (
        "expunge and two clients",
        r#"
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        SELECT INBOX
        2:SELECT INBOX
        STORE 5 FLAGS \Deleted
        ~EXPUNGE  # we say NO where Dovecot ignores
        ~2:FETCH 5 UID  # Dovecot tells the flags too
        2:NOOP
        STORE 1,3 +FLAGS \Deleted
        UID EXPUNGE 3
        UID EXPUNGE 2,4
        ~2:UID FETCH 2,4 UID  # UID in the unasked FETCH
        2:NOOP
        ~STORE 1 +FLAGS \Deleted  # we answer although nothing changes
        ~EXPUNGE  # we say NO where Dovecot ignores
        2:UID STORE 4 FLAGS (\Seen)
        2:NOOP
        ~STORE 1 +FLAGS \Deleted  # we answer although nothing changes
        ~EXPUNGE  # we say NO where Dovecot ignores
        2:CHECK
        APPEND INBOX (\Deleted) {}
        CLOSE
        2:NOOP
        SELECT INBOX
        APPEND INBOX (\Deleted) {}
        UNSELECT
        SELECT INBOX
        EXAMINE INBOX
        ~EXPUNGE  # we say NO where Dovecot ignores
        ~UID EXPUNGE 1:*  # as above
        CLOSE
        SELECT INBOX
        "#,
    ),
    (
        "append",
        r#"
        APPEND INBOX (\Seen \Flagged $Work) " 2-Feb-2026 10:00:00 +0200" {}
        APPEND INBOX "02-Feb-2026 10:00:00 -0500" {}
        APPEND INBOX () {}
        APPEND nosuch {}
        APPEND inBox {}
        APPEND "INBOX" {}
        APPEND {INBOX} {}
        ~APPEND INBOX (\Recent) {}  # ignored or refused
        ~APPEND INBOX "31-Feb-2026 10:00:00 +0000" {}  # no such day
        APPEND INBOX " 2-Foo-2026 10:00:00 +0000" {}
        SELECT INBOX
        FETCH 1:* (UID FLAGS RFC822.SIZE)
        FETCH 1:2 INTERNALDATE
        APPEND INBOX {Subject: eight bit é\n\nü\n}
        FETCH * (ENVELOPE RFC822.SIZE)
        "#,
    ),
    (
        "copy and move",
        r#"
        APPEND INBOX (\Seen) " 2-Feb-2026 10:00:00 +0200" {}
        APPEND INBOX (\Flagged $Key) {}
        APPEND INBOX {}
        APPEND INBOX {}
        CREATE to
        SELECT INBOX
        2:SELECT to
        COPY 1:2,4 to
        2:NOOP
        ~2:FETCH 1:* (UID FLAGS)  # when RECENT is told
        2:FETCH 1 INTERNALDATE
        COPY 1 nosuch
        COPY 9 to
        COPY 4:* to
        UID COPY 99 to
        UID COPY 2,99 to
        COPY 1 INBOX
        NOOP
        MOVE 2 to
        2:NOOP
        UID MOVE 1,99 to
        UID MOVE 99 to
        MOVE 1 nosuch
        MOVE 1 INBOX
        FETCH 1:* (UID FLAGS)
        ~2:FETCH 1:* (UID FLAGS)  # when RECENT is told
        2:MOVE 1:* INBOX
        NOOP
        EXAMINE INBOX
        COPY 1 to
        ~MOVE 1 to  # Dovecot moves out of a folder that is only to be read
        "#,
    ),
    (
        "folders",
        r#"
        CREATE a
        CREATE a
        ~CREATE INBOX  # Dovecot says OK
        CREATE b/
        CREATE b/c
        CREATE d/e/f
        CREATE "with space"
        CREATE {literal}
        CREATE &AOQ-
        CREATE /x
        CREATE a//b
        CREATE ""
        ~LIST "" *  # CREATE b/ makes a folder that can have messages
        ~LIST "" %  # as above
        LIST "" d/%
        LIST d/ %
        LIST d %
        LIST "" d/*
        LIST "" %/%
        LIST "" %/%/%
        LIST "" *f
        LIST "" %f
        ~LIST "" d*  # Dovecot keeps empty directories
        LIST "" inbox
        LIST "" InBoX
        LIST "" A
        LIST "" ""
        LIST "" nosuch
        LIST "" "with space"
        LIST "" "&AOQ-"
        LIST "" a%
        ~LIST "" *%  # as above
        ~LSUB "" *  # INBOX is subscribed from the start
        SUBSCRIBE a
        SUBSCRIBE d/e/f
        SUBSCRIBE nosuch
        SUBSCRIBE INBOX
        ~LSUB "" *  # INBOX is subscribed from the start
        LSUB "" %
        LSUB "" d/%
        LSUB "" *f
        LSUB "" inbox
        UNSUBSCRIBE a
        UNSUBSCRIBE a
        ~UNSUBSCRIBE nosuch  # there is nothing to unsubscribe from
        ~LSUB "" *  # INBOX is subscribed from the start
        DELETE a
        DELETE a
        DELETE INBOX
        DELETE d/e
        DELETE d
        ~LIST "" d*  # Dovecot keeps empty directories
        DELETE d/e/f
        ~LIST "" d*  # Dovecot keeps empty directories
        ~APPEND b {}
        APPEND b/c {}
        RENAME b g
        ~LIST "" *  # CREATE b/ makes a folder that can have messages
        ~STATUS g (MESSAGES)
        STATUS g/c (MESSAGES)
        RENAME g h/i/j
        ~LIST "" h*
        RENAME nosuch x
        RENAME h/i/j literal
        RENAME h/i/j h/i/j
        RENAME h/i/j INBOX
        RENAME h/i k
        ~LIST "" *  # CREATE b/ makes a folder that can have messages
        STATUS k/j/c (MESSAGES)
        CREATE p
        RENAME p p/q
        APPEND INBOX {}
        APPEND INBOX (\Seen) {}
        RENAME INBOX old
        STATUS old (MESSAGES UNSEEN)
        STATUS INBOX (MESSAGES)
        STATUS nosuch (MESSAGES)
        ~STATUS inbox (MESSAGES UNSEEN UIDNEXT RECENT)  # how INBOX is spelt; UIDNEXT after a RENAME
        STATUS INBOX ()
        STATUS INBOX (NOSUCH)
        STATUS INBOX MESSAGES
        "#,
    ),
    (
        "deleting and renaming what is selected",
        r#"
        CREATE x
        APPEND x {}
        SELECT x
        RENAME x y
        ~FETCH 1 UID  # Dovecot closes the connection after a RENAME
        ~DELETE y
        ~FETCH 1 UID  # Dovecot closes the connection after a RENAME
        ~SELECT y
        "#,
    ),
    (
        "search",
        r#"
        APPEND INBOX " 1-Jan-2026 00:00:00 +0000" {From: Ann <ann@x.org>\nTo: bob@y.org\nSubject: hello beautiful world\nDate: Wed, 31 Dec 2025 23:30:00 -0800\n\nasdfghjkl zxcvbnm\n}
        APPEND INBOX (\Seen \Answered) "31-Dec-2025 23:59:59 +0000" {From: ann@x.org (RealAnn)\nTo: groupname: g1@d.org, g2@d.org;\nCc: c@d.org\nSubject: NIL\nX-Extra: hello beautiful header\nDate: Thu, 1 Jan 2026 00:30:00 +0100\n\nnil\n}
        APPEND INBOX (\Flagged \Draft) " 1-Feb-2026 12:00:00 +0000" {From: <user (comment)@ (comment) d.org>\nBcc: secret@d.org\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nF=FCr Dich, a=\nb\n}
        APPEND INBOX (\Deleted Key) " 1-Feb-2026 12:00:00 +0000" {Subject: multi\n part\nContent-Type: multipart/mixed; boundary=b\n\npreamble words\n--b\n\nfirst part\n--b\nContent-Type: text/html\n\n<p>second <b>part</b></p>\n--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nc2VjcmV0\n--b\nContent-Type: message/rfc822\n\nSubject: innersubject\n\ninnerbody\n--b--\nepilogue words\n}
        APPEND INBOX " 2-Feb-2026 12:00:00 +0000" {no header here\n}
        SELECT INBOX
        SEARCH ALL
        SEARCH ANSWERED
        SEARCH DELETED
        SEARCH DRAFT
        SEARCH FLAGGED
        SEARCH SEEN
        SEARCH UNANSWERED
        SEARCH UNDELETED UNDRAFT UNFLAGGED UNSEEN
        SEARCH KEYWORD key
        SEARCH FROM ann
        SEARCH FROM ANN@X.ORG
        SEARCH FROM realann
        SEARCH FROM user@d.org
        SEARCH TO groupname
        SEARCH TO g2@d
        SEARCH CC c@d.org
        SEARCH BCC secret
        SEARCH SUBJECT hello
        SEARCH SUBJECT "hello beautiful world"
        SEARCH SUBJECT "eautiful worl"
        SEARCH SUBJECT "multi part"
        SEARCH SUBJECT NIL
        SEARCH SUBJECT ""
        SEARCH BODY nil
        SEARCH BODY ""
        SEARCH BODY asdf
        SEARCH BODY "first part"
        SEARCH BODY second
        SEARCH BODY "<b>"
        SEARCH BODY innerbody
        SEARCH BODY innersubject
        SEARCH BODY "ab"
        SEARCH TEXT hello
        SEARCH TEXT "beautiful header"
        SEARCH TEXT x-extra
        SEARCH TEXT innersubject
        SEARCH TEXT octet-stream
        SEARCH HEADER X-Extra ""
        SEARCH NOT HEADER X-Extra ""
        SEARCH HEADER x-extra "eautiful head"
        SEARCH HEADER Subject ""
        SEARCH HEADER "X-None" x
        SEARCH CHARSET UTF-8 SUBJECT {Grüße}
        SEARCH CHARSET UTF-8 SUBJECT {GRÜSSE}
        SEARCH CHARSET UTF-8 SUBJECT {GRÜßE}
        SEARCH CHARSET UTF-8 BODY {für}
        SEARCH CHARSET utf-8 TEXT {FÜR}
        SEARCH CHARSET ISO-8859-1 SUBJECT x
        SEARCH CHARSET US-ASCII SUBJECT hello
        SEARCH CHARSET X-NONE SUBJECT hello
        SEARCH BEFORE 1-Jan-2026
        SEARCH ON 1-Jan-2026
        SEARCH SINCE 1-Jan-2026
        SEARCH SINCE 01-Feb-2026
        SEARCH ON "1-Feb-2026"
        ~SEARCH SENTBEFORE 1-Jan-2026  # without a Date, Dovecot takes 1970
        SEARCH SENTON 1-Jan-2026
        SEARCH SENTON 31-Dec-2025
        SEARCH SENTSINCE 1-Jan-2026
        SEARCH NOT SENTSINCE 1-Jan-2026
        SEARCH LARGER 300
        SEARCH SMALLER 300
        SEARCH LARGER 0
        SEARCH OR SEEN FLAGGED
        SEARCH OR (SEEN ANSWERED) (FLAGGED DRAFT)
        SEARCH NOT SEEN NOT FLAGGED
        SEARCH NOT (SEEN)
        SEARCH NOT NOT SEEN
        SEARCH (1:2) (2:3)
        SEARCH ((((1))))
        SEARCH OR OR OR OR OR OR OR OR OR OR OR OR 1 2 1 2 1 2 1 2 1 2 1 2 3
        SEARCH OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 OR 1 2
        SEARCH NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT 1
        search return
        SEARCH
        SEARCH NOSUCH
        SEARCH SUBJECT
        SEARCH OR 1
        ~SEARCH ON 32-Jan-2026  # no such day
        SEARCH ON 1-Jan-26
        SEARCH LARGER x
        UID SEARCH UNSEEN
        UID SEARCH 1:2 SEEN
        "#,
    ),
    (
        "condstore",
        r#"
        APPEND INBOX {}
        APPEND INBOX {}
        APPEND INBOX {}
        ENABLE CONDSTORE
        SELECT INBOX
        FETCH 1:* (MODSEQ)
        FETCH 1 (FLAGS MODSEQ)
        ~STORE 1 +FLAGS \Seen  # we answer although nothing changes
        STORE 2 +FLAGS.SILENT \Seen
        ~STORE 1 +FLAGS \Seen  # we answer although nothing changes
        FETCH 1:* (FLAGS) (CHANGEDSINCE 1)
        UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1000000000)
        ~UID FETCH 1:* FLAGS (CHANGEDSINCE 0)  # not in the grammar
        STORE 3 (UNCHANGEDSINCE 1000000000) +FLAGS \Flagged
        STORE 1:3 (UNCHANGEDSINCE 1) +FLAGS \Answered
        UID STORE 1:3 (UNCHANGEDSINCE 1) +FLAGS.SILENT \Answered
        STORE 1 (UNCHANGEDSINCE 0) +FLAGS \Answered
        SEARCH MODSEQ 1
        SEARCH MODSEQ 1000000000
        UID SEARCH MODSEQ 1 SEEN
        SEARCH MODSEQ "/flags/\\seen" all 1
        STATUS INBOX (HIGHESTMODSEQ MESSAGES)
        FETCH 1 BODY[]
        APPEND INBOX {}
        STORE 3 +FLAGS \Deleted
        EXPUNGE
        UNSELECT
        SELECT INBOX (CONDSTORE)
        ~SELECT INBOX (NOSUCH)  # when CLOSED is told
        ~EXAMINE INBOX (CONDSTORE)  # follows
        "#,
    ),
    (
        "condstore begun by a command",
        r#"
        APPEND INBOX {}
        SELECT INBOX
        STORE 1 +FLAGS \Seen
        FETCH 1 (MODSEQ)
        STORE 1 -FLAGS \Seen
        2:SELECT INBOX
        2:STATUS INBOX (HIGHESTMODSEQ)
        2:STORE 1 +FLAGS \Flagged
        NOOP
        "#,
    ),
    (
        "syntax",
        r#"
        NOOP
        noop
        NoOp
        ~NOOP x  # not in the grammar
        NOSUCH
        SELECT
        SELECT "INBOX
        ~SELECT INBOX extra  # not in the grammar
        ~SELECT (INBOX)  # when CLOSED is told
        LOGIN alice pw
        CAPABILITY
        UID
        UID NOSUCH 1
        UID NOOP
        FETCH 1 FLAGS
        CHECK
        CLOSE
        EXPUNGE
        ID NIL
        ID ("name" "x" "version" NIL)
        ID ()
        NAMESPACE
        ~ENABLE  # not in the grammar
        ENABLE CONDSTORE X-NOSUCH
        LIST
        LIST ""
        LIST "" {*}
        LIST {} {*}
        ~LSUB "" "*"  # INBOX is subscribed from the start
        CREATE "quoted \"x\" \\ y"
        LIST "" "quoted*"
        STATUS "quoted \"x\" \\ y" (MESSAGES)
        SELECT "quoted \"x\" \\ y"
        "#,
    ),
];
