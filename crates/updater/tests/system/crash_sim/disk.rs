//! A disk in memory with a page cache: what is not made durable may be lost, torn, or kept in any order.
//!
//! The model is that of POSIX, not of one file system: `fsync` of a file makes its bytes and its mode durable and no name;
//! `fsync` of a directory makes its names durable and nothing else. A rename is one change, and waits for its directory's `fsync`
//! like any other. Until then a power cut may keep any of the changes and lose any others.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use lockstep_updater::slots::Disk;
use release::package::NewFile;

pub type Id = usize;
const ROOT: Id = 0;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    Dir(BTreeMap<String, Id>),
    File(Vec<u8>),
    Link(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inode {
    pub mode: u32,
    pub node: Node,
}

/// Everything on a disk, also what has no name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image(pub BTreeMap<Id, Inode>);

/// What is in the cache and not on the disk yet. Each happens as a whole or not at all, but for content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    Names { dir: Id, set: Vec<(String, Option<Id>)> },
    Content { file: Id, bytes: Vec<u8> },
    Mode { node: Id, mode: u32 },
}

impl Image {
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Names { dir, set } => {
                if let Some(Inode { node: Node::Dir(names), .. }) = self.0.get_mut(dir) {
                    for (name, id) in set {
                        match id {
                            Some(id) => names.insert(name.clone(), *id),
                            None => names.remove(name),
                        };
                    }
                }
            }
            Change::Content { file, bytes } => {
                if let Some(Inode { node: Node::File(content), .. }) = self.0.get_mut(file) {
                    content.extend_from_slice(bytes);
                }
            }
            Change::Mode { node, mode } => {
                if let Some(inode) = self.0.get_mut(node) {
                    inode.mode = *mode;
                }
            }
        }
    }

    /// What has a name, by path, with its mode and what it holds.
    pub fn tree(&self, below: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut tree = BTreeMap::new();
        if let Some(id) = self.find(below) {
            self.walk(id, String::new(), &mut tree);
        }
        tree
    }

    fn walk(&self, id: Id, path: String, tree: &mut BTreeMap<String, (u32, Vec<u8>)>) {
        let inode = &self.0[&id];
        match &inode.node {
            Node::Dir(names) => {
                tree.insert(format!("{path}/"), (inode.mode, vec![]));
                for (name, id) in names {
                    self.walk(*id, format!("{path}/{name}"), tree);
                }
            }
            Node::File(bytes) => drop(tree.insert(path, (inode.mode, bytes.clone()))),
            Node::Link(target) => drop(tree.insert(path, (0, target.display().to_string().into_bytes()))),
        }
    }

    pub fn find(&self, path: &Path) -> Option<Id> {
        path.components().skip(1).try_fold(ROOT, |id, name| match &self.0.get(&id)?.node {
            Node::Dir(names) => names.get(name.as_os_str().to_str()?).copied(),
            _ => None,
        })
    }
}

/// One moment of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moment {
    pub durable: Image,
    pub cached: Image,
    pub pending: Vec<Change>,
}

impl Moment {
    /// A machine with an empty disk.
    pub fn empty() -> Self {
        let root = Image(BTreeMap::from([(ROOT, Inode { mode: 0o755, node: Node::Dir(BTreeMap::new()) })]));
        Self::after_power_cut(root)
    }

    /// The cache is as the disk is. What has no name is gone for good.
    pub fn after_power_cut(mut image: Image) -> Self {
        let mut named = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if let Some(Inode { node: Node::Dir(names), .. }) = image.0.get(&id) {
                open.extend(names.values().filter(|id| named.insert(**id)));
            }
        }
        image.0.retain(|id, _| named.contains(id));
        Self { durable: image.clone(), cached: image, pending: vec![] }
    }

    fn change(&mut self, change: Change) {
        self.cached.apply(&change);
        self.pending.push(change);
    }

    fn make(&mut self, mode: u32, node: Node) -> Id {
        let id = self.cached.0.last_key_value().map_or(0, |(id, _)| id + 1);
        // Without a name it is nothing yet.
        self.durable.0.insert(id, Inode { mode, node: node.clone() });
        self.cached.0.insert(id, Inode { mode, node });
        id
    }

    fn flush(&mut self, is_meant: impl Fn(&Change) -> bool) {
        let (meant, rest) = std::mem::take(&mut self.pending).into_iter().partition(is_meant);
        self.pending = rest;
        let meant: Vec<Change> = meant;
        meant.iter().for_each(|change| self.durable.apply(change));
    }
}

/// How a disk, or the code above it, could be careless: each must be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Careless {
    No,
    /// `fsync` of a file does nothing.
    Files,
    /// `fsync` of a directory does nothing.
    Names,
    /// The n-th `fsync` of all is forgotten, counted from 0.
    Nth(usize),
    /// A file's content becomes durable only after the names of the next directory.
    ContentAfterNames,
}

struct Inner {
    now: Moment,
    history: Vec<Moment>,
    recording: bool,
    syncs: usize,
    late: BTreeSet<Id>,
}

/// The disk, for the real executor, journal, recovery and record.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    careless: Careless,
}

impl SimDisk {
    /// Moments are kept only when they will be looked at.
    pub fn new(now: Moment, careless: Careless, recording: bool) -> Self {
        let inner = Inner { now, history: vec![], recording, syncs: 0, late: BTreeSet::new() };
        Self { inner: Arc::new(Mutex::new(inner)), careless }
    }

    pub fn now(&self) -> Moment {
        self.inner.lock().unwrap().now.clone()
    }

    /// The moments since this was asked last, one after each change.
    pub fn history(&self) -> Vec<Moment> {
        std::mem::take(&mut self.inner.lock().unwrap().history)
    }

    pub fn syncs(&self) -> usize {
        self.inner.lock().unwrap().syncs
    }

    fn with<T>(&self, work: impl FnOnce(&mut Moment) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.inner.lock().unwrap();
        let done = work(&mut inner.now)?;
        if inner.recording {
            let now = inner.now.clone();
            inner.history.push(now);
        }
        Ok(done)
    }

    fn look<T>(&self, path: &Path, at: impl FnOnce(Option<&Node>, &Image) -> T) -> T {
        let inner = self.inner.lock().unwrap();
        let cached = &inner.now.cached;
        at(cached.find(path).map(|id| &cached.0[&id].node), cached)
    }

    /// Whether this one is done at all.
    fn syncs_now(&self, of_file: bool) -> bool {
        let mut inner = self.inner.lock().unwrap();
        let number = inner.syncs;
        inner.syncs += 1;
        match self.careless {
            Careless::No | Careless::ContentAfterNames => true,
            Careless::Files => !of_file,
            Careless::Names => of_file,
            Careless::Nth(n) => n != number,
        }
    }

    fn sync_file(&self, file: Id) -> io::Result<()> {
        if !self.syncs_now(true) {
            return Ok(());
        }
        if self.careless == Careless::ContentAfterNames {
            self.inner.lock().unwrap().late.insert(file);
            return Ok(());
        }
        self.with(|now| {
            now.flush(|c| matches!(c, Change::Content { file: id, .. } | Change::Mode { node: id, .. } if *id == file));
            Ok(())
        })
    }

    fn link(&self, path: &Path, mode: u32, node: Node) -> io::Result<Id> {
        self.with(|now| {
            let (dir, name) = place(&now.cached, path)?;
            if now.cached.find(path).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let id = now.make(mode, node);
            now.change(Change::Names { dir, set: vec![(name, Some(id))] });
            Ok(id)
        })
    }
}

/// The directory that a path's last name is in.
fn place(image: &Image, path: &Path) -> io::Result<(Id, String)> {
    let dir = path.parent().and_then(|dir| image.find(dir)).ok_or(io::ErrorKind::NotFound)?;
    let name = path.file_name().and_then(|n| n.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((dir, name.to_owned()))
}

struct SimFile {
    disk: SimDisk,
    id: Id,
}

impl io::Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let change = Change::Content { file: self.id, bytes: bytes.to_vec() };
        self.disk.with(|now| {
            now.change(change);
            Ok(bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync_file(self.id)
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.link(path, mode, Node::Dir(BTreeMap::new())).map(drop)
    }

    fn ensure_dir(&self, path: &Path) -> io::Result<()> {
        if self.look(path, |node, _| node.is_some()) {
            return Ok(());
        }
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.ensure_dir(parent)?;
        self.make_dir(path, 0o755)?;
        self.sync_dir(parent)
    }

    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>> {
        let id = self.link(path, mode, Node::File(vec![]))?;
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.look(path, |node, _| match node {
            None => Ok(None),
            Some(Node::File(bytes)) => Ok(Some(bytes.clone())),
            Some(_) => Err(io::ErrorKind::IsADirectory.into()),
        })
    }

    fn make_pointer(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.link(link, 0, Node::Link(target.into())).map(drop)
    }

    fn read_pointer(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        self.look(path, |node, _| match node {
            None => Ok(None),
            Some(Node::Link(target)) => Ok(Some(target.clone())),
            Some(_) => Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|now| {
            let id = now.cached.find(from).ok_or(io::ErrorKind::NotFound)?;
            let ((dir, from), (other, to)) = (place(&now.cached, from)?, place(&now.cached, to)?);
            assert_eq!(dir, other, "the service renames within one directory only");
            now.change(Change::Names { dir, set: vec![(from, None), (to, Some(id))] });
            Ok(())
        })
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.with(|now| {
            let find = |path: &Path| now.cached.find(path).ok_or(io::ErrorKind::NotFound);
            let (a, b) = (find(one)?, find(other)?);
            let ((dir, one), (_, other)) = (place(&now.cached, one)?, place(&now.cached, other)?);
            now.change(Change::Names { dir, set: vec![(one, Some(b)), (other, Some(a))] });
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.look(path, |node, _| match node {
            Some(Node::Dir(names)) => Ok(names.keys().cloned().collect()),
            None => Ok(vec![]),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with(|now| {
            if now.cached.find(path).is_some() {
                let (dir, name) = place(&now.cached, path)?;
                now.change(Change::Names { dir, set: vec![(name, None)] });
            }
            Ok(())
        })
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        let inside = |node: Option<&Node>, _: &Image| match node {
            Some(Node::Dir(names)) => names.keys().cloned().collect(),
            _ => vec![],
        };
        for name in self.look(path, inside) {
            self.remove_tree(&path.join(name))?;
        }
        self.remove_file(path)
    }

    fn seal_tree(&self, path: &Path) -> io::Result<()> {
        let dirs = |node: Option<&Node>, image: &Image| match node {
            Some(Node::Dir(names)) => {
                let is_dir = |id: &Id| matches!(image.0[id].node, Node::Dir(_));
                names.iter().filter(|(_, id)| is_dir(id)).map(|(name, _)| name.clone()).collect()
            }
            _ => vec![],
        };
        for name in self.look(path, dirs) {
            self.seal_tree(&path.join(name))?;
        }
        self.with(|now| {
            let node = now.cached.find(path).ok_or(io::ErrorKind::NotFound)?;
            now.change(Change::Mode { node, mode: 0o755 });
            Ok(())
        })?;
        self.sync_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let id = self.look(path, |_, image| image.find(path)).ok_or(io::ErrorKind::NotFound)?;
        if self.syncs_now(false) {
            self.with(|now| {
                now.flush(|c| matches!(c, Change::Names { dir: i, .. } | Change::Mode { node: i, .. } if *i == id));
                Ok(())
            })?;
        }
        let late = std::mem::take(&mut self.inner.lock().unwrap().late);
        for file in late {
            self.with(|now| {
                now.flush(|c| matches!(c, Change::Content { file: id, .. } if *id == file));
                Ok(())
            })?;
        }
        Ok(())
    }
}
