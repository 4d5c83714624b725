//! Tells the story as it happens.

/// Who hears the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrator {
    /// A person at a terminal.
    Aloud,
    /// A test.
    Silent,
}

impl Narrator {
    /// A new step begins.
    pub fn step(self, number: &str, title: &str) {
        if self == Self::Aloud {
            println!("\n\x1b[1m{number}. {title}\x1b[0m");
        }
    }

    /// What happens, in a line or two.
    pub fn say(self, text: &str) {
        if self == Self::Aloud {
            println!("   {text}");
        }
    }

    /// What a program printed, as it is.
    pub fn show(self, what: &str, text: &str) {
        if self == Self::Aloud {
            println!("   \x1b[2m$ {what}\x1b[0m");
            for line in text.trim_end().lines() {
                println!("   │ {line}");
            }
        }
    }
}
