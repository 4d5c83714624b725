//! `lockstep key new` and `lockstep key show`: one key.

use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;

use super::{
    key_ref::{KeyRef, public},
    keys::SecretKey,
    passphrase::Passphrase,
    pkcs11_uri::Pkcs11Uri,
    token::Token,
};

/// Where to make a key.
#[derive(Debug, Clone, clap::Args)]
pub struct NewArgs {
    /// The file to write, or the pkcs11: name of a key to make in a token
    pub key: KeyRef,
    #[command(flatten)]
    pub passphrase: Passphrase,
    /// Do not encrypt the file
    #[arg(long)]
    pub unencrypted: bool,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which key to show.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// A key file, a .pub file, a pkcs11: name, or the 64 digits of a public key
    pub key: String,
    #[command(flatten)]
    pub passphrase: Passphrase,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Makes a key.
pub fn new_key(args: &NewArgs) -> anyhow::Result<()> {
    let made = match &args.key {
        KeyRef::Uri(_) if args.unencrypted => bail!("--unencrypted is for files; a token keeps its keys to itself"),
        KeyRef::Uri(uri) => Token::generate(&Pkcs11Uri::parse(uri)?)?.public().clone(),
        KeyRef::File(path) => {
            let public = path.with_extension("pub");
            if path == &public {
                bail!("{} is what the public half will be called; call the key something.pem", path.display());
            }
            let passphrase = if args.unencrypted { None } else { Some(args.passphrase.choose()?) };
            let key = SecretKey::generate();
            key.write(path, passphrase.as_deref())?;
            key.public()
        }
    };
    let public_file: Option<PathBuf> = match &args.key {
        KeyRef::File(path) => Some(path.with_extension("pub")),
        KeyRef::Uri(_) => None,
    };
    if args.json {
        println!("{}", json!({ "v": 1, "id": made.id(), "public": made.hex(), "public_file": public_file }));
        return Ok(());
    }
    println!("Made {}.\nId      {}\nPublic  {}", args.key, made.id(), made.hex());
    let give = public_file.map_or_else(|| made.hex().to_owned(), |path| path.display().to_string());
    println!("Next: `lockstep role add-key ROLE {give} --repo REPO`, or `lockstep delegation add … --key {give}`");
    Ok(())
}

/// Shows a key's public half and id.
pub fn show_key(args: &ShowArgs) -> anyhow::Result<()> {
    let key = public(&args.key, &args.passphrase)?;
    if args.json {
        println!("{}", json!({ "v": 1, "id": key.id(), "public": key.hex() }));
    } else {
        println!("Id      {}\nPublic  {}", key.id(), key.hex());
    }
    Ok(())
}
