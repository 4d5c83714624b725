//! A real mail server, a real mail client (curl), and a connector driven without the site's server.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod lab;
pub mod local_client;
pub mod mail_rig;
pub mod on_server;
pub mod persons_pc;
pub mod program;
pub mod proxy;
pub mod site;
pub mod vendor;
#[cfg(target_os = "linux")]
pub mod windows_pc;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use lockstep_connector::{
    gate::{GateMachine, Verdict},
    gatekeeper::GateKeeper,
    local::StoreHandle,
    outbox,
    settings::MailSettings,
    sync,
};
use mail_rig::MailRig;
use mail_store::{Message, Schema, Store};
use protocol::{
    Version,
    message::{Gate, MailServer},
};
use tokio::{sync::watch, task::JoinSet};

/// The version that the connector under test calls itself.
pub const VERSION: &str = "7.2.0";

/// A connector without its command line: store, gate, synchronisation, outbox.
pub struct Connector {
    pub store: StoreHandle,
    pub gate: Arc<GateKeeper>,
    pub progress: Arc<sync::Progress>,
    settings: watch::Sender<Arc<MailSettings>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Connector {
    /// With the gate as it is before the site's server was asked: shut.
    pub fn shut(rig: &MailRig, user: &str, data: &Path) -> Self {
        Self::with_password(rig, user, rig.password(user), data)
    }

    /// Shut, as the version that knows the store's schemas up to this one.
    pub fn limited(rig: &MailRig, user: &str, data: &Path, schema: Schema) -> Self {
        let store = Store::open_limited(&data.join("mail.sqlite"), schema, &mut |_| {}).unwrap();
        Self::with_store(rig.mail_server(), user, rig.password(user), StoreHandle::start(store))
    }

    pub fn with_password(rig: &MailRig, user: &str, password: &str, data: &Path) -> Self {
        Self::at(rig.mail_server(), user, password, data)
    }

    /// With a mail server that is somewhere else than the rig says.
    pub fn at(mail: MailServer, user: &str, password: &str, data: &Path) -> Self {
        Self::with_store(mail, user, password, StoreHandle::open(&data.join("mail.sqlite")).unwrap())
    }

    fn with_store(mail: MailServer, user: &str, password: &str, store: StoreHandle) -> Self {
        // Another test of this program may have been first.
        let _ = tracing_subscriber::fmt().with_test_writer().with_env_filter("lockstep_connector=debug").try_init();
        let gate = Arc::new(GateKeeper::new(GateMachine::new(version(), None, Timestamp::now())));
        let settings = MailSettings::new(mail, user, password, VERSION).unwrap();
        let settings = watch::Sender::new(Arc::new(settings));
        let progress = Arc::new(sync::Progress::default());
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(sync::run(store.clone(), gate.clone(), settings.subscribe(), progress.clone()));
        tasks.spawn(outbox::run(store.clone(), gate.clone(), settings.subscribe(), stop.subscribe()));
        Self { store, gate, progress, settings, stop, tasks }
    }

    /// With the gate open, and online.
    pub async fn online(rig: &MailRig, user: &str, data: &Path) -> Self {
        let connector = Self::shut(rig, user, data);
        connector.decide(false);
        connector.wait_for_gate(Gate::Online).await;
        connector
    }

    /// What the site's server would say.
    pub fn decide(&self, incompatible: bool) {
        let verdict = Verdict {
            about: version(),
            incompatible,
            needed: incompatible.then(|| "7.3.0".parse().unwrap()),
            why: "the test says so".into(),
            integration_page: None,
            webmail: None,
        };
        self.gate.change(|machine, now| machine.decided(verdict, now));
    }

    pub async fn wait_for_gate(&self, gate: Gate) {
        let mut state = self.gate.subscribe();
        let waiting = state.wait_for(|state| state.gate == gate);
        let reached = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(reached.is_ok(), "the gate never was {gate:?}: {:?}", self.gate.subscribe().borrow().notice);
    }

    /// Waits until all folders have been found the same on both sides.
    pub async fn wait_for_sync(&self) {
        let mut last = self.progress.last_sync.subscribe();
        let waiting = last.wait_for(Option::is_some);
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("no full pass in time").unwrap();
    }

    /// As a power cut: everything stops at once.
    pub async fn kill(mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
    }

    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> mail_store::Result<T> + Send + 'static,
    ) -> T {
        self.store.call(work).await.unwrap()
    }

    /// The messages of a folder; none if there is no such folder.
    pub async fn messages(&self, folder: &str) -> Vec<Message> {
        let folder = folder.to_owned();
        self.call(move |store| match store.folder_by_name(&folder)? {
            Some(folder) => store.messages(folder.id),
            None => Ok(vec![]),
        })
        .await
    }

    /// The subjects of a folder's messages, in order.
    pub async fn subjects(&self, folder: &str) -> Vec<String> {
        let messages = self.messages(folder).await;
        self.call(move |store| {
            let headers = messages.iter().map(|message| store.header(&message.body));
            headers.map(|header| Ok(subject(&String::from_utf8_lossy(&header?)))).collect()
        })
        .await
    }

    pub async fn folder(&self, name: &str) -> mail_store::FolderId {
        let wanted = name.to_owned();
        let folder = self.call(move |store| store.folder_by_name(&wanted)).await;
        folder.unwrap_or_else(|| panic!("no folder {name}")).id
    }
}

fn version() -> Version {
    VERSION.parse().unwrap()
}

fn subject(header: &str) -> String {
    let line = header.lines().find_map(|line| line.strip_prefix("Subject: "));
    line.unwrap_or_default().trim().to_owned()
}

/// A message with a subject.
pub fn message(subject: &str) -> Vec<u8> {
    format!(
        "From: alice@example.test\r\nTo: bob@example.test\r\nSubject: {subject}\r\n\
         Message-ID: <{}@example.test>\r\n\r\n{subject}\r\n.\r\nend\r\n",
        subject.replace(' ', "-")
    )
    .into_bytes()
}

pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// Waits until `what` is so, looking often.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl FnMut() -> F) -> Duration {
    until_within(Duration::from_secs(20), what, is_so).await
}

/// As [`until`], with another limit.
pub async fn until_within<F: Future<Output = bool>>(
    limit: Duration,
    what: &str,
    mut is_so: impl FnMut() -> F,
) -> Duration {
    let start = Instant::now();
    while start.elapsed() < limit {
        if is_so().await {
            return start.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    panic!("never: {what}");
}
