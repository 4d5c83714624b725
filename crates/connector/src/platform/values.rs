//! What Windows is told in words: pure, so that the tests of every system see it.

/// Who may do what with something private, in the Security Descriptor Definition Language: nothing is inherited (`P`); SYSTEM,
/// which backs up and upgrades, and the user may do everything, in a folder also with what will be in it (`OICI`).
pub fn private(user_sid: &str, is_directory: bool) -> String {
    let flags = if is_directory { "OICI" } else { "" };
    format!("D:P(A;{flags};FA;;;SY)(A;{flags};FA;;;{user_sid})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_is_the_users_and_the_systems_alone() {
        assert_eq!(private("S-1-5-21-1", false), "D:P(A;;FA;;;SY)(A;;FA;;;S-1-5-21-1)");
        assert_eq!(private("S-1-5-21-1", true), "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;S-1-5-21-1)");
    }
}
