//! The main job with Windows PCs: the same site on Linux, and the real Windows programs under Wine.
//!
//! | module | room for |
//! |---|---|
//! | [`shipped`] | what the vendor ships: packages and MSI of the tests' programs |
//! | [`pc`] | a PC: network, host name, installation, sign-in, mail |
//! | [`play`] | the story, chapter by chapter |

mod chapters;
pub mod pc;
pub mod play;
pub mod shipped;
