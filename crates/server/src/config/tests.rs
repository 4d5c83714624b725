use super::*;

fn first() -> FirstStart {
    FirstStart {
        listen: "127.0.0.1:4443".parse().unwrap(),
        url: "https://mail.example.test:4443/".parse().unwrap(),
        vendor: "https://releases.example.test/tuf".parse().unwrap(),
        imap: "mail.example.test:993".parse().unwrap(),
        submission: "mail.example.test:587".parse().unwrap(),
        submission_starttls: None,
        mail_ca: Some("/etc/ssl/mail ca\".pem".into()),
        webmail: None,
        product: ProductId::connector(),
        server_name: Some("the \"post\" office".into()),
        source: SourceKind::Probe(vec!["/usr/sbin/dovecot".into(), "--version".into()]),
        mail_gate: Some("127.0.0.1:4480".parse().unwrap()),
    }
}

#[test]
fn the_first_starts_file_reads_back_as_what_was_asked_for() {
    let text = template(&first());
    let config = Config::parse(&text).unwrap();
    let product = &config.products[&ProductId::connector()];
    assert_eq!(config.url.as_str(), "https://mail.example.test:4443");
    assert!(config.mail.submission_starttls);
    assert_eq!(config.mail.ca, Some("/etc/ssl/mail ca\".pem".into()));
    assert_eq!(product.server_name, "the \"post\" office");
    assert_eq!(product.server_version.kind, first().source);
    assert_eq!(config.readiness.report_every.seconds(), 14 * 24 * 3600);
    assert_eq!(config.mail_gate, MailGate { listen: first().mail_gate, end_sessions: None });
    assert!(config.readiness.enabled && !config.statistics.contribute);
    insta::assert_snapshot!(text);
}

#[test]
fn the_lines_that_are_commented_out_are_good_as_they_are() {
    let text = template(&first());
    let text = text.replace("# end_sessions", "end_sessions").replace("# ask_again =", "ask_again =");
    let text = text.replace("# alternate", "alternate").replace("# start_jitter", "start_jitter");
    let config = Config::parse(&text).unwrap();
    assert_eq!(config.clients.ask_again.unwrap().seconds(), 24 * 3600);
    assert_eq!(config.downloads.message().alternate, ["https://cdn.example.com/lockstep/targets"]);
    assert_eq!(config.downloads.message().start_jitter_seconds, Some(600));
    let words: Vec<_> = config.mail_gate.end_sessions.as_ref().unwrap().words().collect();
    let user = Ok(Placeholder::User);
    assert_eq!(words, [Err("sudo"), Err("-n"), Err("/usr/bin/doveadm"), Err("kick"), user, Ok(Placeholder::Address)]);
}

#[test]
fn a_key_that_does_not_exist_is_named() {
    let text = template(&first()).replace("hold = false", "hodl = false");
    let error = Config::parse(&text).unwrap_err();
    assert!(error.contains("hodl"), "{error}");
}

#[test]
fn a_bad_value_says_what_is_accepted() {
    for (good, bad, hint) in [
        ("\"14 days\"", "\"soon\"", "write it as"),
        ("\"14 days\"", "\"0 s\"", "from \"1 second\""),
        ("\"silent-at-start\"", "\"loud\"", "necessary-silent"),
        ("\"mail.example.test:993\"", "\"mail.example.test\"", "host:port"),
        ("\"https://mail.example.test:4443\"", "\"mail\"", "https://mail.example.com"),
        ("enabled = true", "enabled = \"yes\"", "expected a boolean"),
        ("# url = ", "url = ", "one source"),
        ("\"127.0.0.1:4480\"", "\"0.0.0.0:4480\"", "127.0.0.1 or [::1] only"),
        ("\"127.0.0.1:4480\"", "\"localhost\"", "such as 127.0.0.1:4480"),
        ("# end_sessions = [\"sudo\", ", "end_sessions = [\"user={user}\", ", "an argument of its own"),
        (
            "\"{user}\", \"{address}\"]",
            "\"{user}\", \"{address}\"]\nend_sessions = [\"doveadm\"]",
            "such as [\"doveadm\"",
        ),
        ("# ask_again = \"1 day\"", "ask_again = \"soon\"", "write it as"),
        ("probe = [\"/usr/sbin/dovecot\", \"--version\"]", "probe = []", "program and its arguments"),
    ] {
        let text = template(&first());
        let changed = text.replace(good, bad);
        assert_ne!(text, changed, "{good}");
        let error = Config::parse(&changed).unwrap_err();
        assert!(error.contains(hint), "{bad}: {error}");
    }
}
