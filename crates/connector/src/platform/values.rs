//! What Windows is told in words: pure, so that the tests of every system see it.

/// Who may do what with something private, in the Security Descriptor Definition Language: nothing is inherited (`P`); SYSTEM,
/// which backs up and upgrades, and the user may do everything, in a folder also with what will be in it (`OICI`).
pub fn private(user_sid: &str, is_directory: bool) -> String {
    let flags = if is_directory { "OICI" } else { "" };
    format!("D:P(A;{flags};FA;;;SY)(A;{flags};FA;;;{user_sid})")
}

/// A command line that splits into these very words (the rules of `CommandLineToArgvW`).
pub fn command_line(words: &[impl AsRef<str>]) -> String {
    let quoted = words.iter().map(|word| {
        let mut line = String::from("\"");
        let mut backslashes = 0;
        for letter in word.as_ref().chars() {
            if letter == '"' {
                // Those before a quotation mark count double, and one more makes it a plain one.
                line.extend(std::iter::repeat_n('\\', backslashes + 1));
            }
            backslashes = if letter == '\\' { backslashes + 1 } else { 0 };
            line.push(letter);
        }
        line.extend(std::iter::repeat_n('\\', backslashes));
        line + "\""
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_is_the_users_and_the_systems_alone() {
        assert_eq!(private("S-1-5-21-1", false), "D:P(A;;FA;;;SY)(A;;FA;;;S-1-5-21-1)");
        assert_eq!(private("S-1-5-21-1", true), "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;S-1-5-21-1)");
    }

    #[test]
    fn words_stay_what_they_are() {
        assert_eq!(command_line(&["install", "--root", r"C:\a b\"]), r#""install" "--root" "C:\a b\\""#);
        assert_eq!(command_line(&[r#"say "hi\""#, ""]), r#""say \"hi\\\"" """#);
    }
}
