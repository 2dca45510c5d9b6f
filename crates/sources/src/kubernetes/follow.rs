//! One kind in the API server, followed until its task is ended: listed page by page, then watched, and listed again where the watch cannot go on. What is
//! observed goes to the source in order. Absence is told by a listing that reached its end, by an event, or by the API server's own list of
//! kinds, and by nothing else.

use super::access::{Cluster, with_causes};
use super::page::{Collection, Failure, Page, PageSize, Part, Problem, complete, failure, of_status};
use super::watched::{Extent, Watched};
use futures_util::{Stream, TryStreamExt as _};
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use resources::api::ApiResource;
use resources::key::Kind;
use serde_json::Value;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Seconds after which the server ends a watch, which is then continued.
const WATCH_SECONDS: u32 = 290;
/// Failures in a row after which a watch is not continued from its version any more.
const FAILURES: u32 = 3;

/// How fast failures are answered.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first wait after a failure; each further one is twice as long.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How often it is asked for kinds that are not installed.
    pub install: Duration,
    /// How long a kind that was there has to be missing until it counts as removed. An API server that starts lacks kinds for a while.
    pub removal: Duration,
    /// How long the first configuration waits for single objects and further listings once every kind has been listed. A server that never
    /// answers one of them holds nothing up for longer.
    pub further: Duration,
    /// How long Nodes and Pods are followed when nothing refers to them any more: whoever may write a rule could have all of them listed, time
    /// after time, otherwise.
    pub unused: Duration,
}

impl Pace {
    /// The wait after so many failures in a row before this one.
    pub(super) fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.min(16)).min(self.longest)
    }
}

impl Default for Pace {
    fn default() -> Self {
        let [first, longest, install, removal, further, unused] =
            [200, 30_000, 5_000, 10_000, 30_000, 600_000].map(Duration::from_millis);
        Self { first, longest, install, removal, further, unused }
    }
}

/// What was observed of a kind.
#[derive(Debug)]
pub(super) enum Observed {
    /// A listing begins.
    Begun,
    /// Some of its objects.
    Page(Page),
    /// It is complete. The number is that of the further listings that had been requested when it began.
    Done(u64),
    /// An object is new or different.
    Put(Value),
    /// An object is gone.
    Gone(Value),
    /// The kind is not installed. The number is the same.
    NotInstalled(u64),
    /// The kind cannot be read.
    Problem(Problem),
    /// The kind can be listed, but not watched.
    Unwatched(Problem),
    /// It can be read again.
    Recovered,
    /// A watch of it lasts.
    Watched,
}

/// An observation, and whose it is.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) kind: Kind,
    /// The number of the follower.
    pub(super) follower: u64,
    pub(super) observed: Observed,
}

/// The reader of what is observed is gone.
pub(super) struct Closed;

/// Why a watch ended.
enum Ended {
    /// A listing is requested.
    RelistRequested,
    /// The server does not continue it.
    Expired,
    /// The server has ended each of its requests at once.
    Refused,
}

/// Why the events of one request ended.
enum EventsEnded {
    /// A listing is requested.
    RelistRequested,
    /// The server ended them, as it does after a time.
    InTime,
    Failed(Failure),
}

/// One kind that is followed.
pub(super) struct Follower {
    /// Which of those that have followed kinds it is.
    pub(super) number: u64,
    pub(super) cluster: Cluster,
    pub(super) watched: Watched,
    pub(super) resource: &'static ApiResource,
    /// The namespace of the gateway.
    pub(super) namespace: Arc<str>,
    pub(super) pace: Pace,
    /// How many further listings are requested.
    pub(super) relists: watch::Receiver<u64>,
    pub(super) out: Sender<Report>,
    /// How many pages may wait to be read, of all kinds.
    pub(super) pages: Arc<Semaphore>,
    /// How large its pages may be.
    pub(super) size: PageSize,
    /// Whether objects of the kind are known from before.
    pub(super) was_there: bool,
    /// Whether it was reported that the kind cannot be watched.
    pub(super) is_unwatched: bool,
}

impl Follower {
    pub(super) async fn run(mut self) {
        // The reader is gone when the process ends.
        let _ = self.follow().await;
    }

    async fn send(&self, observed: Observed) -> Result<(), Closed> {
        let report = Report { kind: self.watched.kind, follower: self.number, observed };
        self.out.send(report).await.map_err(|_| Closed)
    }

    async fn follow(&mut self) -> Result<(), Closed> {
        let (mut failures, mut refusals) = (0, 0);
        let mut missing_since: Option<Instant> = None;
        // The further listings that had been requested when it was last reported that the kind is not there.
        let mut reported_missing = None;
        loop {
            let relist_count = *self.relists.borrow_and_update();
            match self.list(relist_count).await? {
                Ok((version, resource_version)) => {
                    (failures, missing_since, reported_missing, self.was_there) = (0, None, None, true);
                    match self.watch(version, resource_version).await? {
                        Ended::Refused => self.wait_unwatched(version, &mut refusals).await?,
                        Ended::Expired | Ended::RelistRequested => refusals = 0,
                    }
                }
                Err(Failure::Expired) => {
                    // Once may be chance.
                    if failures > 0 {
                        let problem = "its lists expire before their last page".to_owned();
                        self.send(Observed::Problem(Problem::Unavailable(problem))).await?;
                    }
                    self.wait(&mut failures).await;
                }
                // From the beginning: the next page is to be asked for as the first was.
                Err(Failure::TooLarge(smaller)) => self.size = smaller,
                Err(Failure::Missing) => {
                    let since = *missing_since.get_or_insert_with(Instant::now);
                    let is_known_absent = match self.is_served().await {
                        Ok(served) => !served && (!self.was_there || since.elapsed() >= self.pace.removal),
                        Err(problem) => {
                            reported_missing = None;
                            self.send(Observed::Problem(problem)).await?;
                            false
                        }
                    };
                    if is_known_absent && reported_missing.replace(relist_count) != Some(relist_count) {
                        self.was_there = false;
                        self.send(Observed::NotInstalled(relist_count)).await?;
                    }
                    let pause =
                        if self.was_there { self.pace.install.min(self.pace.removal) } else { self.pace.install };
                    sleep(pause).await;
                }
                Err(Failure::Problem(problem)) => {
                    (missing_since, reported_missing) = (None, None);
                    self.send(Observed::Problem(problem)).await?;
                    self.wait(&mut failures).await;
                }
            }
        }
    }

    /// Waits longer with each failure. Gateways that lost the same server do not return in step.
    async fn wait(&self, failures: &mut u32) {
        sleep(self.next_wait(failures)).await;
    }

    /// Does the same, and ends early where a listing is requested: whether one is.
    async fn wait_or_relist(&mut self, failures: &mut u32) -> Result<bool, Closed> {
        let wait = self.next_wait(failures);
        tokio::select! {
            () = sleep(wait) => Ok(false),
            changed = self.relists.changed() => changed.map(|()| true).map_err(|_| Closed),
        }
    }

    fn next_wait(&self, failures: &mut u32) -> Duration {
        let wait = self.pace.after(*failures);
        *failures = failures.saturating_add(1);
        let share = f64::from(std::process::id() % 64 + u32::from(self.watched.kind as u8)) / 256.0;
        wait.mul_f64(0.75 + share)
    }

    /// The server does not watch what it has just listed: waits before the kind is listed again, so that this is no loop. The version
    /// may have expired in between once, but not time after time.
    async fn wait_unwatched(&mut self, version: &'static str, refusals: &mut u32) -> Result<(), Closed> {
        if *refusals > 0 {
            self.is_unwatched = true;
            let problem = format!("it refuses each watch of {}", self.collection(version).path());
            self.send(Observed::Unwatched(Problem::Unavailable(problem))).await?;
        }
        self.wait_or_relist(refusals).await.map(drop)
    }

    /// Lists the kind in the first version that the server has; the version and that of the listing. `relist_count`: the
    /// further listings that are requested.
    async fn list(&self, relist_count: u64) -> Result<Result<(&'static str, String), Failure>, Closed> {
        for version in self.resource.versions {
            match self.list_in(version, relist_count).await? {
                Err(Failure::Missing) => {}
                Ok(resource_version) => return Ok(Ok((version, resource_version))),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Err(Failure::Missing))
    }

    async fn list_in(&self, version: &'static str, relist_count: u64) -> Result<Result<String, Failure>, Closed> {
        let mut params = ListParams { field_selector: self.watched.fields.map(str::to_owned), ..ListParams::default() };
        let mut is_first = true;
        loop {
            let mut page = match self.collection(version).page(&self.cluster, &params, self.size).await {
                Ok(page) => page,
                Err(failure) => return Ok(Err(failure)),
            };
            if std::mem::take(&mut is_first) {
                self.send(Observed::Begun).await?;
            }
            let (next, resource_version) = (page.next.take(), std::mem::take(&mut page.resource_version));
            // It is returned once the page has been read. The server is not waited for with it, so that no kind holds up another: until then a kind
            // has one page in memory, of a bounded size.
            page.permit = Arc::clone(&self.pages).acquire_owned().await.ok();
            self.send(Observed::Page(page)).await?;
            match next {
                Some(next) => params = params.continue_token(&next),
                None => {
                    self.send(Observed::Done(relist_count)).await?;
                    return Ok(Ok(resource_version));
                }
            }
        }
    }

    /// Watches the kind until it has to be listed again.
    async fn watch(&mut self, version: &'static str, mut resource_version: String) -> Result<Ended, Closed> {
        let mut failures = 0;
        let (mut reported, mut has_lasted) = (false, false);
        loop {
            let mut is_lasting = false;
            let ended = match self.events(version, &resource_version).await {
                Ok(events) => {
                    if std::mem::take(&mut reported) {
                        self.send(Observed::Recovered).await?;
                    }
                    // A watch that lasts so long is not refused at once.
                    let lasts = Instant::now() + self.pace.first;
                    let ended = self.hand_on(events, lasts, version, &mut resource_version, &mut failures).await?;
                    is_lasting = Instant::now() >= lasts;
                    ended
                }
                Err(failure) => EventsEnded::Failed(failure),
            };
            has_lasted |= is_lasting;
            let given_up = if has_lasted { Ended::Expired } else { Ended::Refused };
            match ended {
                EventsEnded::RelistRequested => return Ok(Ended::RelistRequested),
                EventsEnded::InTime if is_lasting => failures = 0,
                // A server that ends watches at once is not asked in a loop.
                EventsEnded::InTime => {
                    if self.wait_or_relist(&mut failures).await? {
                        return Ok(Ended::RelistRequested);
                    }
                }
                EventsEnded::Failed(Failure::Expired | Failure::Missing | Failure::TooLarge(_)) => return Ok(given_up),
                EventsEnded::Failed(Failure::Problem(problem)) => {
                    // The first failure may be that of a connection that was idle.
                    if failures > 0 {
                        reported = true;
                        self.send(Observed::Problem(problem)).await?;
                    }
                    self.wait(&mut failures).await;
                    if failures > FAILURES {
                        return Ok(given_up);
                    }
                }
            }
        }
    }

    /// Asks for the events from a version on.
    async fn events(
        &self,
        version: &'static str,
        resource_version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, kube::Error>> + use<>, Failure> {
        let params = WatchParams {
            field_selector: self.watched.fields.map(str::to_owned),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = Request::new(self.collection(version).path());
        let request = match self.watched.part {
            Part::Whole => request.watch(&params, resource_version),
            Part::Metadata => request.watch_metadata(&params, resource_version),
        };
        // The version is the only part of it that the server chose.
        let request = request.map_err(|_| Failure::Expired)?;
        self.cluster.client.request_events::<Value>(request).await.map_err(|error| failure(&error))
    }

    /// Hands on events until they end; from `lasts` on the kind counts as watched. `failures` in a row are over with the first event.
    async fn hand_on(
        &mut self,
        events: impl Stream<Item = Result<WatchEvent<Value>, kube::Error>>,
        lasts: Instant,
        version: &str,
        resource_version: &mut String,
        failures: &mut u32,
    ) -> Result<EventsEnded, Closed> {
        let mut events = pin!(events);
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                changed = self.relists.changed() => return changed.map(|()| EventsEnded::RelistRequested).map_err(|_| Closed),
                () = sleep_until(lasts), if self.is_unwatched => {
                    self.is_unwatched = false;
                    self.send(Observed::Watched).await?;
                    continue;
                }
            };
            match event {
                Ok(Some(event)) => {
                    *failures = 0;
                    if let Err(failure) = self.event(event, version, resource_version).await? {
                        return Ok(EventsEnded::Failed(failure));
                    }
                }
                Ok(None) => return Ok(EventsEnded::InTime),
                Err(error) => return Ok(EventsEnded::Failed(failure(&error))),
            }
        }
    }

    async fn event(
        &self,
        event: WatchEvent<Value>,
        version: &str,
        resource_version: &mut String,
    ) -> Result<Result<(), Failure>, Closed> {
        let observed = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Observed::Put(self.complete(object, version)),
            WatchEvent::Deleted(object) => Observed::Gone(self.complete(object, version)),
            WatchEvent::Bookmark(bookmark) => {
                *resource_version = bookmark.metadata.resource_version;
                return Ok(Ok(()));
            }
            WatchEvent::Error(status) => return Ok(Err(of_status(&status))),
        };
        if let Observed::Put(object) | Observed::Gone(object) = &observed
            && let Some(at) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str)
        {
            at.clone_into(resource_version);
        }
        self.send(observed).await.map(Ok)
    }

    /// Whether the server's own lists have the kind.
    async fn is_served(&self) -> Result<bool, Problem> {
        if self.resource.group.is_empty() {
            // Every API server has the core group.
            return Ok(true);
        }
        let problem = |error: kube::Error| match failure(&error) {
            Failure::Problem(problem) => problem,
            _ => Problem::Unavailable(with_causes(&error)),
        };
        let groups = self.cluster.client.list_api_groups().await.map_err(problem)?;
        let Some(group) = groups.groups.into_iter().find(|group| group.name == self.resource.group) else {
            return Ok(false);
        };
        for version in group.versions.iter().filter(|one| self.resource.versions.contains(&&*one.version)) {
            let kinds = self.cluster.client.list_api_group_resources(&version.group_version).await.map_err(problem)?;
            if kinds.resources.iter().any(|one| one.name == self.resource.plural) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn collection(&self, version: &'static str) -> Collection<'_> {
        let namespace = match self.watched.extent {
            Extent::Cluster => None,
            Extent::OwnNamespace => Some(&*self.namespace),
        };
        Collection { resource: self.resource, version, namespace, part: self.watched.part }
    }

    fn complete(&self, object: Value, version: &str) -> Value {
        complete(object, self.resource, version)
    }
}
