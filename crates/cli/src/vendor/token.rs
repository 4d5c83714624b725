//! Keys in a PKCS#11 token: a smart card, an HSM, SoftHSM. The module is loaded when such a key is used, and not before.
//!
//! Ed25519 alone (`CKM_EDDSA`, PKCS#11 3.0 section 2.3.5), as with keys in files. Every signature is checked before it is used, so a
//! token that signs something else shows at once.

use std::{cell::RefCell, collections::BTreeMap, fs, io::IsTerminal, path::PathBuf, rc::Rc};

use anyhow::{Context, bail, ensure};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error as CryptokiError, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};

use super::{keys::PublicKey, pkcs11_uri::Pkcs11Uri};

/// The module, where the URI names none.
const MODULE: &str = "LOCKSTEP_PKCS11_MODULE";

/// The PIN, where the URI names no file.
const PIN: &str = "LOCKSTEP_PIN";

/// `edwards25519` as a PrintableString (PKCS#11 3.0, section 2.3.5): the curve's name.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

/// A private key that stays where it is.
pub struct Token {
    session: Rc<Session>,
    key: ObjectHandle,
    public: PublicKey,
    name: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Token").field(&self.name).finish()
    }
}

impl Token {
    /// Finds the key, and logs in.
    pub fn open(uri: &Pkcs11Uri) -> anyhow::Result<Self> {
        let session = log_in(uri)?;
        let cannot = || format!("cannot use {}", uri.text);
        let private = find(&session, uri, ObjectClass::PRIVATE_KEY).with_context(cannot)?;
        let key = one(&private).with_context(|| format!("there is not exactly one such private key: {}", uri.text))?;
        let kind = session.get_attributes(key, &[AttributeType::KeyType, AttributeType::Id]).with_context(cannot)?;
        ensure!(
            kind.contains(&Attribute::KeyType(KeyType::EC_EDWARDS)),
            "{} is not an Ed25519 key; this tool signs with no other",
            uri.text
        );
        let id = kind.into_iter().find_map(|a| if let Attribute::Id(id) = a { Some(id) } else { None });
        let public = public_half(&session, uri, id).with_context(cannot)?;
        Ok(Self { session, key, public, name: uri.text.clone() })
    }

    /// Makes a key in the token, which never leaves it.
    pub fn generate(uri: &Pkcs11Uri) -> anyhow::Result<Self> {
        let session = log_in(uri)?;
        let cannot = || format!("cannot make a key in {}", uri.text);
        ensure!(
            find(&session, uri, ObjectClass::PRIVATE_KEY).with_context(cannot)?.is_empty(),
            "{} exists already; keys are never overwritten",
            uri.text
        );
        let label = uri.object.clone().with_context(|| format!("give the new key a name, object=: {}", uri.text))?;
        let id = uri.id.clone().unwrap_or_else(|| rand::random::<[u8; 8]>().to_vec());
        let named = [Attribute::Token(true), Attribute::Label(label.into_bytes()), Attribute::Id(id)];
        let public = [Attribute::Verify(true), Attribute::EcParams(EDWARDS25519.to_vec())];
        let private = [
            Attribute::Sign(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ];
        session
            .generate_key_pair(
                &Mechanism::EccEdwardsKeyPairGen,
                &[&named[..], &public].concat(),
                &[&named[..], &private].concat(),
            )
            .with_context(cannot)?;
        Self::open(uri)
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// 64 bytes (RFC 8032).
    pub fn sign(&self, data: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let signature = self.session.sign(&mechanism, self.key, data);
        let signature = signature.with_context(|| format!("{} does not sign", self.name))?;
        ensure!(self.public.verifies(data, &signature), "{} signed, but not as Ed25519 wants it", self.name);
        Ok(signature)
    }
}

thread_local! {
    /// One session for each token: a module is initialised once in a process, and one login is for the whole token.
    static SESSIONS: RefCell<BTreeMap<(PathBuf, String), Rc<Session>>> = const { RefCell::new(BTreeMap::new()) };
    static MODULES: RefCell<BTreeMap<PathBuf, Pkcs11>> = const { RefCell::new(BTreeMap::new()) };
}

fn log_in(uri: &Pkcs11Uri) -> anyhow::Result<Rc<Session>> {
    let path = uri.module.clone().or_else(|| std::env::var_os(MODULE).map(PathBuf::from));
    let path = path.with_context(|| {
        format!("which PKCS #11 module reaches the token? Add ?module-path=/path/to/module.so to the key's name, or set {MODULE}")
    })?;
    let module = module(&path)?;
    let slot = slot(&module, uri)?;
    let info = module.get_token_info(slot)?;
    let which = (path, info.serial_number().to_owned());
    if let Some(open) = SESSIONS.with_borrow(|sessions| sessions.get(&which).cloned()) {
        return Ok(open);
    }
    let session = module.open_rw_session(slot).context("the token opens no session")?;
    let pin = if info.protected_authentication_path() { None } else { Some(AuthPin::from(pin(uri, info.label())?)) };
    match session.login(UserType::User, pin.as_ref()) {
        Ok(()) => {}
        Err(CryptokiError::Pkcs11(RvError::PinIncorrect, _)) => {
            bail!("the PIN does not open the token {:?}; after a few wrong ones it locks itself", info.label())
        }
        Err(CryptokiError::Pkcs11(RvError::PinLocked, _)) => {
            bail!("the token {:?} is locked after too many wrong PINs; its administrator can unlock it", info.label())
        }
        Err(error) => return Err(error).with_context(|| format!("the token {:?} lets nobody in", info.label())),
    }
    let session = Rc::new(session);
    SESSIONS.with_borrow_mut(|sessions| sessions.insert(which, session.clone()));
    Ok(session)
}

fn module(path: &PathBuf) -> anyhow::Result<Pkcs11> {
    if let Some(loaded) = MODULES.with_borrow(|modules| modules.get(path).cloned()) {
        return Ok(loaded);
    }
    let cannot = || format!("cannot use the PKCS #11 module {}", path.display());
    let module = Pkcs11::new(path).with_context(cannot)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).with_context(cannot)?;
    MODULES.with_borrow_mut(|modules| modules.insert(path.clone(), module.clone()));
    Ok(module)
}

fn slot(module: &Pkcs11, uri: &Pkcs11Uri) -> anyhow::Result<Slot> {
    let mut found = Vec::new();
    let mut labels = Vec::new();
    for slot in module.get_slots_with_token().context("the PKCS #11 module lists no tokens")? {
        let Ok(info) = module.get_token_info(slot) else { continue };
        if !info.token_initialized() {
            continue;
        }
        labels.push(info.label().to_owned());
        let wanted = |text: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|w| w == text);
        if wanted(info.label(), &uri.token) && wanted(info.serial_number(), &uri.serial) {
            found.push(slot);
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => bail!("there is no token as in {}; tokens that are there: {}", uri.text, none_or(&labels)),
        _ => bail!("more than one token fits {}; name it with token= or serial=: {}", uri.text, none_or(&labels)),
    }
}

fn none_or(labels: &[String]) -> String {
    if labels.is_empty() { "none".into() } else { labels.join(", ") }
}

fn find(session: &Session, uri: &Pkcs11Uri, class: ObjectClass) -> anyhow::Result<Vec<ObjectHandle>> {
    let mut template = vec![Attribute::Class(class)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.as_ref().map(|id| Attribute::Id(id.clone())));
    Ok(session.find_objects(&template)?)
}

fn one(found: &[ObjectHandle]) -> Option<ObjectHandle> {
    if let [one] = found { Some(*one) } else { None }
}

/// From the public-key object with the same id, or else the same label.
fn public_half(session: &Session, uri: &Pkcs11Uri, id: Option<Vec<u8>>) -> anyhow::Result<PublicKey> {
    let same = match id.filter(|id| !id.is_empty()) {
        Some(id) => session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id)])?,
        None => find(session, uri, ObjectClass::PUBLIC_KEY)?,
    };
    let object = one(&same).context("the token has no public key that belongs to it")?;
    for attribute in session.get_attributes(object, &[AttributeType::EcPoint])? {
        if let Attribute::EcPoint(point) = attribute {
            // A DER OCTET STRING around the 32 bytes; some tokens leave it out.
            let bytes = point.strip_prefix(b"\x04\x20").filter(|rest| rest.len() == 32).unwrap_or(&point);
            return PublicKey::from_hex(&hex::encode(bytes)).context("its public key is not an Ed25519 key");
        }
    }
    bail!("the token does not say what the public key is")
}

fn pin(uri: &Pkcs11Uri, label: &str) -> anyhow::Result<String> {
    if let Some(path) = &uri.pin_source {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the PIN from {}", path.display()))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    if let Ok(pin) = std::env::var(PIN) {
        return Ok(pin);
    }
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("PIN of the token {label:?}: ")).context("cannot read the PIN");
    }
    bail!("the token {label:?} needs a PIN: add pin-source=file:/path to the key's name, or set {PIN}")
}
