//! What the site wants and what its servers run: the input of every decision.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use jiff::Timestamp;
use protocol::{
    Version,
    product::ProductId,
    site::{Site, SiteProduct},
};

use crate::{
    app::App,
    config::Config,
    failure::Refusal,
    store::{Store, StoreError},
    wishes::Wishes,
};

/// What a report of a server's version has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The version is the one that was known.
    None,
    /// It is another one; this was the one before.
    Changed(Option<Version>),
    /// It is the one that a cut-over announced.
    CutOverComplete(Option<Version>),
}

/// The site, in memory and in the store.
#[derive(Debug)]
pub struct SiteState {
    state: RwLock<State>,
    seed: u64,
    wishing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct State {
    site: Site,
    configured_next: BTreeMap<ProductId, Version>,
    expected: BTreeMap<ProductId, Version>,
}

impl SiteState {
    /// From the configuration and the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(config: &Config, store: &Store) -> Result<Self, StoreError> {
        let seed = store.fact_or("seed", || rand::random::<u64>().to_string()).await?;
        let seed = seed.parse().map_err(|_| StoreError::Damaged("a seed"))?;
        let mut state = State { site: Site::default(), configured_next: BTreeMap::new(), expected: BTreeMap::new() };
        for (id, product) in &config.products {
            let server = version(store, &format!("server:{id}")).await?;
            let expected = version(store, &format!("expected:{id}")).await?;
            let next = expected.clone().or_else(|| product.next.clone());
            let mut chosen = SiteProduct { server, next, hold: product.hold, ..SiteProduct::default() };
            Wishes::load(store, id).await?.apply(&mut chosen, product.policy);
            state.site.products.insert(id.clone(), chosen);
            state.configured_next.extend(product.next.clone().map(|next| (id.clone(), next)));
            state.expected.extend(expected.map(|expected| (id.clone(), expected)));
        }
        Ok(Self { state: RwLock::new(state), seed, wishing: tokio::sync::Mutex::default() })
    }

    /// What the site wants of every product.
    pub fn site(&self) -> Site {
        self.read().site
    }

    /// One product's part of it.
    pub fn product(&self, product: &ProductId) -> Option<SiteProduct> {
        self.read().site.products.get(product).cloned()
    }

    /// The version that a cut-over announced and the server does not show yet.
    pub fn expected(&self, product: &ProductId) -> Option<Version> {
        self.read().expected.get(product).cloned()
    }

    /// Spreads rollouts.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The source shows this version. It is stored before it counts.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing has changed.
    pub async fn source_shows(
        &self,
        store: &Store,
        product: &ProductId,
        shown: &Version,
        now: Timestamp,
    ) -> Result<Change, StoreError> {
        let before = self.product(product).and_then(|p| p.server);
        if before.as_ref() == Some(shown) {
            return Ok(Change::None);
        }
        let complete = self.expected(product).as_ref() == Some(shown);
        store.set_fact(&format!("server:{product}"), Some(&shown.to_string())).await?;
        if complete {
            store.set_fact(&format!("expected:{product}"), None).await?;
        }
        let was = before.as_ref().map_or("unknown".into(), Version::to_string);
        let how = if complete { "as announced" } else { "without a cut-over" };
        store.tell("site", &format!("{product}: the server's version was {was} and is {shown}, {how}"), now).await?;
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if complete {
                state.expected.remove(product);
            }
            let next = state.expected.get(product).or_else(|| state.configured_next.get(product)).cloned();
            if let Some(chosen) = state.site.products.get_mut(product) {
                chosen.server = Some(shown.clone());
                chosen.next = next;
            }
        }
        Ok(if complete { Change::CutOverComplete(before) } else { Change::Changed(before) })
    }

    /// A cut-over to this version is announced: PCs make ready for it.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing has changed.
    pub async fn announce(
        &self,
        store: &Store,
        product: &ProductId,
        to: &Version,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        store.set_fact(&format!("expected:{product}"), Some(&to.to_string())).await?;
        store.tell("site", &format!("{product}: a cut-over to {to} was announced"), now).await?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.expected.insert(product.clone(), to.clone());
        if let Some(chosen) = state.site.products.get_mut(product) {
            chosen.next = Some(to.clone());
        }
        Ok(())
    }

    /// An announced cut-over is taken back. Says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing has changed.
    pub async fn withdraw(&self, store: &Store, product: &ProductId, now: Timestamp) -> Result<bool, StoreError> {
        let Some(expected) = self.expected(product) else { return Ok(false) };
        store.set_fact(&format!("expected:{product}"), None).await?;
        store.tell("site", &format!("{product}: the cut-over to {expected} was withdrawn"), now).await?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.expected.remove(product);
        let next = state.configured_next.get(product).cloned();
        if let Some(chosen) = state.site.products.get_mut(product) {
            chosen.next = next;
        }
        Ok(true)
    }

    /// The administrator wishes something else of a product: it is checked, stored, told, in force, and pushed.
    ///
    /// # Errors
    /// Whatever `alter` objects to, 400 for what is not accepted, 500; then nothing has changed.
    pub async fn wish(
        &self,
        app: &App,
        product: &ProductId,
        why: &str,
        alter: impl FnOnce(&mut Wishes) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let _one_at_a_time = self.wishing.lock().await;
        let mut wishes = Wishes::load(&app.store, product).await?;
        alter(&mut wishes)?;
        if let Some(objection) = wishes.objection() {
            return Err(Refusal::malformed(objection));
        }
        wishes.save(&app.store, product).await?;
        app.store.tell("site", &format!("{product}: {why}"), app.now()).await?;
        let configured = app.config.products.get(product).map(|p| p.policy).unwrap_or_default();
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(chosen) = state.site.products.get_mut(product) {
                wishes.apply(chosen, configured);
            }
        }
        app.push.announce(format!("{product}: {why}"));
        Ok(())
    }

    fn read(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn version(store: &Store, fact: &str) -> Result<Option<Version>, StoreError> {
    let text = store.fact(fact).await?;
    text.map(|text| text.parse().map_err(|_| StoreError::Damaged("a version"))).transpose()
}
