//! Command lines, pure.

/// A command line that a program splits into these very words (the rules of `CommandLineToArgvW`).
pub fn command_line(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| quoted(word.as_ref())).collect();
    quoted.join(" ")
}

fn quoted(word: &str) -> String {
    let mut line = String::from("\"");
    let mut backslashes = 0;
    for letter in word.chars() {
        if letter == '"' {
            // Those before a quotation mark count double, and one more makes it a plain one.
            line.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if letter == '\\' { backslashes + 1 } else { 0 };
        line.push(letter);
    }
    line.extend(std::iter::repeat_n('\\', backslashes));
    line + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_what_they_are() {
        assert_eq!(command_line(["install", "--root", r"C:\a b\"]), r#""install" "--root" "C:\a b\\""#);
        assert_eq!(command_line([r#"say "hi\""#, ""]), r#""say \"hi\\\"" """#);
    }
}
