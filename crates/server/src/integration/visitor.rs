//! Which system a visitor has, from what the browser says of itself: a hint for the order of the page, nothing more.

use std::fmt;

use axum::http::{HeaderMap, header};
use protocol::product::Platform;

/// A visitor's system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Linux on this processor.
    Linux(&'static str),
    /// Windows.
    Windows,
    /// Something else, or it does not say.
    Other,
}

impl System {
    /// From `User-Agent`.
    pub fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let says = |words: &[&str]| words.iter().any(|word| agent.contains(word));
        if says(&["Windows"]) {
            Self::Windows
        } else if says(&["Android", "CrOS"]) {
            Self::Other
        } else if says(&["aarch64", "arm64"]) && says(&["Linux", "linux"]) {
            Self::Linux("aarch64")
        } else if says(&["Linux", "linux"]) {
            Self::Linux("x86_64")
        } else {
            Self::Other
        }
    }

    /// Whether it is this platform. Browsers on Windows do not say which processor it is; one of 64 bits runs the x86-64 packages.
    pub fn is(self, platform: &Platform) -> bool {
        match self {
            Self::Linux(arch) => platform.os == "linux" && platform.arch == arch,
            Self::Windows => platform.os == "windows" && platform.arch == "x86_64",
            Self::Other => false,
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linux(_) => "Linux",
            Self::Windows => "Windows",
            Self::Other => "another system",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_browsers_are_told_apart() {
        for (agent, system) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", System::Linux("x86_64")),
            ("Mozilla/5.0 (X11; Linux aarch64) AppleWebKit/537.36", System::Linux("aarch64")),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", System::Windows),
            ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36", System::Other),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", System::Other),
            ("", System::Other),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, agent.parse().unwrap());
            assert_eq!(System::of(&headers), system, "{agent}");
        }
    }
}
