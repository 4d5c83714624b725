//! The administrator's console: plain pages, no scripts.
//!
//! | attack | answer |
//! |---|---|
//! | markup in a host name, a user, a version | every value is encoded by the template; no page has a script, and the policy forbids any |
//! | another site's page submits a form | `SameSite=Strict`, an `Origin` of our own, and a token that only our pages know |
//! | a stolen database opens a session | it has hashes of the session tokens only |
//! | guessing the password | a limit for each address, a slow hash, the same time for names that do not exist |

mod moment;
mod now;
mod pages;
pub mod password;
mod session;
mod settings_page;
mod sign_in;
mod story;

pub use pages::{first_page, style_sheet};
pub use settings_page::{change_setting, settings_page};
pub use sign_in::{log_in, log_out, login_page};
pub use story::{pc_page, site_page};
