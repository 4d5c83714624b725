//! `[downloads]`: where PCs fetch packages, so that they do not slow the mail server down.

use protocol::message::{self, LONGEST_JITTER_SECONDS, MAX_ALTERNATE};
use serde::Deserialize;

use super::{Interval, SiteUrl};

/// The section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Downloads {
    /// Asked before this server's mirror, in this order.
    pub alternate: Alternates,
    /// PCs begin to make a version ready at a random moment within this time.
    pub start_jitter: Option<Jitter>,
}

impl Downloads {
    /// As PCs are told.
    pub fn message(&self) -> message::Downloads {
        message::Downloads {
            alternate: self.alternate.0.iter().map(|url| url.as_str().to_owned()).collect(),
            start_jitter_seconds: self.start_jitter.map(|jitter| jitter.0.seconds()),
        }
    }
}

/// Directories on web servers that hold what this server's `/tuf/targets` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Alternates(Vec<SiteUrl>);

impl TryFrom<Vec<String>> for Alternates {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        if texts.len() > MAX_ALTERNATE {
            return Err(format!("{} alternate addresses are too many; {MAX_ALTERNATE} are looked at", texts.len()));
        }
        texts.into_iter().map(alternate).collect::<Result<_, _>>().map(Self)
    }
}

/// Packages are verified wherever they come from, but who fetches which should not be for everybody on the way to read.
fn alternate(text: String) -> Result<SiteUrl, String> {
    let url: SiteUrl = text.parse()?;
    if !url.as_str().starts_with("https://") || url.as_str().contains('?') {
        return Err(format!(
            "{text:?} is not accepted; write an address such as https://cdn.example.com/lockstep/targets"
        ));
    }
    Ok(url)
}

/// At most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Jitter(Interval);

impl TryFrom<String> for Jitter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let interval = Interval::try_from(text)?;
        if interval.seconds() > LONGEST_JITTER_SECONDS {
            return Err("start_jitter is at most \"1 day\"".into());
        }
        Ok(Self(interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pcs_are_told_is_what_was_written() {
        let text = "alternate = [\"https://cdn.example.com/lockstep/targets/\"]\nstart_jitter = \"10 minutes\"\n";
        let told = toml::from_str::<Downloads>(text).unwrap().message();
        assert_eq!(told.alternate, ["https://cdn.example.com/lockstep/targets"]);
        assert_eq!(told.start_jitter_seconds, Some(600));
        assert_eq!(Downloads::default().message(), message::Downloads::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let many = format!("alternate = [{}]", "\"https://cdn.example.com\",".repeat(9));
        for bad in [
            "alternate = [\"http://cdn.example.com\"]",
            "alternate = [\"file:///srv/targets\"]",
            "alternate = [\"https://kim:secret@cdn.example.com\"]",
            "alternate = [\"https://cdn.example.com/?x=1\"]",
            "alternate = \"https://cdn.example.com\"",
            "start_jitter = \"2 days\"",
            "mirror = \"https://cdn.example.com\"",
            &many,
        ] {
            assert!(toml::from_str::<Downloads>(bad).is_err(), "{bad}");
        }
    }
}
