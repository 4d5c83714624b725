//! From a login to the command that ends its sessions: whom it hits is decided here.

use std::{collections::BTreeSet, net::IpAddr};

use super::notes::Login;
use crate::{
    config::{EndSessions, Placeholder},
    plain_text::acts,
};

/// Bytes; no mail account's name is longer (RFC 5321, section 4.5.3.1: 64 + 1 + 255).
const MAX_USER: usize = 320;

/// The commands that end a client's sessions, each once; one for each port where the configuration wants ports. None when the
/// name could be taken for something else.
pub fn commands(end: &EndSessions, login: &Login, ports: &[u16]) -> BTreeSet<Vec<String>> {
    if end.has(Placeholder::User) && !harmless(&login.user) {
        return BTreeSet::new();
    }
    let ports: Vec<Option<u16>> =
        if end.has(Placeholder::Port) { ports.iter().copied().map(Some).collect() } else { vec![None] };
    let fill = |port: Option<u16>| {
        end.words()
            .map(|word| match word {
                Err(word) => word.to_owned(),
                Ok(Placeholder::User) => login.user.clone(),
                Ok(Placeholder::Address) => login.address.to_canonical().to_string(),
                Ok(Placeholder::Port) => port.unwrap_or_default().to_string(),
            })
            .collect()
    };
    ports.into_iter().map(fill).collect()
}

/// Whether a name can stand for nothing but one user: no option, no pattern (`*` and `?` match in `doveadm kick`), no address or
/// network, nothing that a shell would take for more than text, nothing invisible.
pub fn harmless(user: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !acts(c) && !"*?/%,;\"`$|<>(){}[]".contains(c);
    !user.is_empty()
        && user.len() <= MAX_USER
        && !user.starts_with(['-', '@', '+', '='])
        && user.chars().all(plain)
        && user.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use protocol::product::ProductId;

    use super::{super::client_id::Client, *};

    fn login(user: &str) -> Login {
        let client = Client { product: ProductId::connector(), version: "7.2.0".parse().unwrap() };
        Login { user: user.into(), address: "::ffff:192.0.2.7".parse().unwrap(), client }
    }

    fn end(argv: &[&str]) -> EndSessions {
        EndSessions::try_from(argv.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn words(argv: &[&str]) -> Vec<String> {
        argv.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn each_value_is_one_argument() {
        let kick = end(&["doveadm", "kick", "{user}", "{address}"]);
        let made = commands(&kick, &login("DOMAIN\\o.k+x@example.test"), &[5, 6]);
        let want = words(&["doveadm", "kick", "DOMAIN\\o.k+x@example.test", "192.0.2.7"]);
        assert_eq!(made, BTreeSet::from([want]));
        let ss = end(&["ss", "-K", "dst", "{address}", "dport", "=", "{port}"]);
        let made = commands(&ss, &login("*"), &[5, 6, 5]);
        let one = |port: &str| words(&["ss", "-K", "dst", "192.0.2.7", "dport", "=", port]);
        assert_eq!(made, BTreeSet::from([one("5"), one("6")]));
        assert_eq!(commands(&ss, &login("alice"), &[]), BTreeSet::new(), "without a port nobody is hit");
    }

    #[test]
    fn a_name_that_could_mean_more_than_one_user_hits_nobody() {
        let kick = end(&["doveadm", "kick", "{user}", "{address}"]);
        for user in [
            "",
            "*",
            "al*ce",
            "?",
            "-f",
            "--all",
            "@group",
            "192.0.2.0",
            "::1",
            "192.0.2.0/24",
            "0/0",
            "a b",
            "a\nb",
            "a\0",
            "a\u{202e}b",
            "{user}",
            "$(id)",
            &"x".repeat(321),
        ] {
            assert_eq!(commands(&kick, &login(user), &[]), BTreeSet::new(), "{user:?}");
        }
    }
}
