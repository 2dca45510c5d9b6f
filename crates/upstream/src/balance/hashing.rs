//! The hash table of a cluster's endpoints. It is built when the first request needs it; a large table is built on a separate thread. Until a new
//! table is ready, the previous table is used, without the removed endpoints.

use super::table::{Share, Shares, Table};
use crate::endpoint::EndpointState;
use arc_swap::ArcSwapOption;
use ir::HashTable;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, mpsc};
use tokio::sync::Notify;

/// Entries of a table that are checked for an endpoint that may be picked.
const ATTEMPTS: usize = 64;

/// The thread that builds tables. Its queue contains each list of endpoints at most once.
static BUILDER: LazyLock<Option<mpsc::Sender<Arc<Hashing>>>> = LazyLock::new(|| {
    let (sender, wanted) = mpsc::channel::<Arc<Hashing>>();
    let serve = move || wanted.iter().for_each(|hashing| hashing.serve());
    std::thread::Builder::new().name("moongate-tables".to_owned()).spawn(serve).ok().map(|_| sender)
});

/// Endpoints that are picked by hash.
#[derive(Debug)]
pub(super) struct Hashing {
    kind: HashTable,
    shares: Shares,
    table: OnceLock<Table>,
    asked: AtomicBool,
    built: Notify,
    /// The previous table, used until the table is built.
    before: ArcSwapOption<Hashing>,
}

/// The table is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableNotReady;

impl Hashing {
    /// The table of endpoints with their shares of all weights; `before` if nothing changed.
    pub(super) fn new(kind: HashTable, shares: Shares, before: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(before) = before.filter(|before| before.is_of(kind, &shares)) {
            return Arc::clone(before);
        }
        let serving = before.and_then(|before| match before.table.get() {
            Some(_) => Some(Arc::clone(before)),
            None => before.before.load_full(),
        });
        Arc::new(Self {
            kind,
            shares,
            table: OnceLock::new(),
            asked: AtomicBool::new(false),
            built: Notify::new(),
            before: ArcSwapOption::new(serving),
        })
    }

    fn is_of(&self, kind: HashTable, shares: &Shares) -> bool {
        let same =
            |(one, other): (&Share, &Share)| Arc::ptr_eq(&one.0, &other.0) && one.1.to_bits() == other.1.to_bits();
        self.kind == kind && self.shares.len() == shares.len() && self.shares.iter().zip(shares).all(same)
    }

    /// The endpoint of a hash; one whose id is in `avoid` is picked only if no other is found soon.
    pub(super) fn pick(
        self: &Arc<Self>,
        hash: u64,
        avoid: &[u64],
    ) -> Result<Option<Arc<EndpointState>>, TableNotReady> {
        if let Some(table) = self.table() {
            return Ok(self.find(table, hash, |endpoint| !avoid.contains(&endpoint.id)));
        }
        let before = self.before.load();
        let (Some(before), Some(table)) = (&*before, before.as_ref().and_then(|before| before.table.get())) else {
            // The table may have been built just now.
            return self.table.get().map(|table| self.find(table, hash, |_| true)).ok_or(TableNotReady);
        };
        let stays = |endpoint: &EndpointState| !endpoint.is_ejected() && !endpoint.is_gone();
        let found = before.find(table, hash, |one| stays(one) && !avoid.contains(&one.id));
        let stayed = found.filter(|endpoint| stays(endpoint));
        Ok(stayed.or_else(|| {
            let number = usize::try_from(hash.checked_rem(self.shares.len() as u64)?).ok()?;
            self.shares.get(number).map(|(endpoint, _)| Arc::clone(endpoint))
        }))
    }

    /// The endpoint of the first entry that is `wanted`, or of the first entry if none is.
    fn find(&self, table: &Table, hash: u64, wanted: impl Fn(&EndpointState) -> bool) -> Option<Arc<EndpointState>> {
        let mut places = (0..ATTEMPTS).filter_map(|attempt| self.shares.get(table.find(hash, attempt)?));
        let (first, _) = places.next()?;
        let found = if wanted(first) { None } else { places.find(|(endpoint, _)| wanted(endpoint)) };
        Some(Arc::clone(found.map_or(first, |(endpoint, _)| endpoint)))
    }

    /// The table, if it is built or small. Otherwise the table is requested from the thread.
    fn table(self: &Arc<Self>) -> Option<&Table> {
        if let Some(table) = self.table.get() {
            return Some(table);
        }
        if Table::is_small(self.kind, &self.shares) {
            return Some(self.build());
        }
        if !self.asked.swap(true, Ordering::AcqRel) {
            let sent = BUILDER.as_ref().map(|builder| builder.send(Arc::clone(self)));
            if !matches!(sent, Some(Ok(()))) {
                return Some(self.build());
            }
        }
        None
    }

    fn build(&self) -> &Table {
        let table = self.table.get_or_init(|| Table::build(self.kind, &self.shares));
        self.before.store(None);
        table
    }

    /// Called by the thread that builds tables. A table that is no longer referenced is not built.
    fn serve(self: &Arc<Self>) {
        if Arc::strong_count(self) > 1 {
            self.build();
        }
        self.built.notify_waiters();
    }

    /// Waits until the table is built, if it was requested.
    pub(super) async fn wait(&self) {
        let built = self.built.notified();
        if self.asked.load(Ordering::Acquire) && self.table.get().is_none() {
            built.await;
        }
    }
}
