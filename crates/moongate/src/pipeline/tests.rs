use super::*;
use crate::applier::Applied;
use dataplane::BindProblem;
use ir::{Delta, ListenerId, Snapshot};
use resources::code;
use resources::diagnostic::Severity;
use resources::key::{Key, Kind, ObjectRef};
use resources::read::{documents, read};
use resources::set::ResourceSet;
use sources::{Batch, ObjectVersion, Scope, Source, SourceEvent, Upsert};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A source that reports what it is given.
struct Fake(mpsc::Receiver<Vec<SourceEvent>>);

impl Source for Fake {
    async fn next(&mut self, _: Arc<ResourceSet>) -> Option<Batch> {
        self.0.recv().await.map(Batch::from)
    }
}

/// An applier that listens, as far as it says, wherever the snapshot has a listener. It waits where there is something to wait for.
#[derive(Default)]
struct Plane {
    snapshots: Mutex<Vec<Snapshot>>,
    gate: Option<Mutex<std::sync::mpsc::Receiver<()>>>,
}

impl Applier for Plane {
    fn name(&self) -> &'static str {
        "the plane"
    }

    fn apply(&self, snapshot: &Snapshot, _: &Delta) -> anyhow::Result<Applied> {
        if let Some(gate) = &self.gate {
            gate.lock().unwrap().recv()?;
        }
        let mut snapshots = self.snapshots.lock().unwrap();
        snapshots.push(snapshot.clone());
        Ok(Applied { generation: snapshots.len() as u64, problems: Vec::new() })
    }

    fn retry(&self) -> Vec<BindProblem> {
        Vec::new()
    }

    fn listening(&self) -> Vec<(ListenerId, SocketAddr)> {
        let snapshots = self.snapshots.lock().unwrap();
        let listeners = snapshots.last().into_iter().flat_map(|snapshot| snapshot.listeners.keys());
        listeners.map(|id| (id.clone(), id.address)).collect()
    }
}

/// What a sink received.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Received {
    generation: u64,
    objects: usize,
    listeners: usize,
    serves: bool,
    unavailable: usize,
    codes: Vec<&'static str>,
    /// The generation of the report before.
    before: u64,
}

struct Sink(mpsc::UnboundedSender<Received>);

impl ReportSink for Sink {
    fn receive(&mut self, update: &Update<'_>) {
        let Update { before, current, .. } = update;
        let received = Received {
            generation: current.generation,
            objects: current.set.len(),
            listeners: current.listening.len(),
            serves: current.serves,
            unavailable: current.unavailable,
            codes: current
                .diagnostics()
                .iter()
                .filter(|one| one.severity > Severity::Info)
                .map(|one| one.code)
                .collect(),
            before: before.generation,
        };
        self.0.send(received).unwrap();
    }
}

struct Fixture {
    source: mpsc::Sender<Vec<SourceEvent>>,
    plane: Arc<Plane>,
    sinks: [mpsc::UnboundedReceiver<Received>; 2],
    tasks: JoinSet<()>,
}

impl Fixture {
    fn new(plane: Plane, bound: Duration) -> Self {
        let (source, batches) = mpsc::channel(8);
        let plane = Arc::new(plane);
        let ((one, of_one), (other, of_other)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let sinks: Vec<Box<dyn ReportSink>> = vec![Box::new(Sink(one)), Box::new(Sink(other))];
        let appliers = || -> Vec<Arc<dyn Applier>> { vec![Arc::clone(&plane) as _] };
        let mut pipeline = Pipeline::new(Settings::default(), Duration::ZERO, appliers(), sinks);
        pipeline.publisher = Publisher::new(appliers(), bound);
        let mut tasks = JoinSet::new();
        tasks.spawn(pipeline.run(sources::watch(Fake(batches))));
        Self { source, plane, sinks: [of_one, of_other], tasks }
    }

    async fn send(&self, events: Vec<SourceEvent>) {
        self.source.send(events).await.unwrap();
    }

    /// The next report, which every sink receives.
    async fn next(&mut self) -> Received {
        let [one, other] = &mut self.sinks;
        let received = one.recv().await.unwrap();
        assert_eq!(other.recv().await.unwrap(), received);
        received
    }

    /// Ends the pipeline; no sink has received anything else.
    async fn end(mut self) {
        self.tasks.shutdown().await;
        for sink in &mut self.sinks {
            assert_eq!(sink.recv().await, None);
        }
    }
}

fn put(text: &str) -> SourceEvent {
    let file: Arc<Path> = Path::new("in.yaml").into();
    let object = documents(text).flat_map(|document| read(&file, document).objects).next().unwrap();
    SourceEvent::Upsert(Upsert { object, version: None, findings: Arc::default() })
}

/// A Namespace in a phase of its life, as an API server has it.
fn namespace(phase: &str) -> SourceEvent {
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: a}}\nstatus: {{phase: {phase}}}\n");
    let SourceEvent::Upsert(upsert) = put(&text) else { unreachable!() };
    let version = Some(ObjectVersion::new(phase, None));
    SourceEvent::Upsert(Upsert { version, ..upsert })
}

fn gateway(name: &str, port: u16) -> SourceEvent {
    put(&format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  selector: {{istio: ingressgateway}}\n  servers:\n  - port: {{number: {port}, name: http, protocol: HTTP}}\n    hosts: ['*']\n"
    ))
}

fn gateway_ref(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::Gateway, key: Key::new("default", name) }
}

fn unavailable(kind: Kind) -> SourceEvent {
    let (field, message) = (String::new(), "forbidden".to_owned());
    let (object, position, help) = (None, None, None);
    let code = code::UNREADABLE_FILE;
    let finding = Diagnostic { code, severity: Severity::Error, object, field, position, message, help };
    SourceEvent::Unavailable(Scope::Kind(kind), [finding].into())
}

/// What a report has where listeners serve and there is nothing else to say.
fn serving(generation: u64, objects: usize, listeners: usize) -> Received {
    let codes = Vec::new();
    Received { generation, objects, listeners, serves: true, unavailable: 0, codes, before: generation - 1 }
}

#[tokio::test]
async fn what_is_only_shown_reaches_the_sinks_and_is_not_published() {
    let mut pipeline = Fixture::new(Plane::default(), Duration::from_secs(60));
    pipeline.send(vec![gateway("one", 8001), namespace("Active"), SourceEvent::Complete(Scope::All)]).await;
    assert_eq!(pipeline.next().await, serving(1, 2, 1));
    pipeline.send(vec![namespace("Terminating")]).await;
    assert_eq!(pipeline.next().await, Received { before: 1, ..serving(1, 2, 1) });
    assert_eq!(pipeline.plane.snapshots.lock().unwrap().len(), 1);
    // What is compiled next is what differs from before.
    pipeline.send(vec![gateway("two", 8002)]).await;
    assert_eq!(pipeline.next().await, serving(2, 3, 2));
    assert_eq!(pipeline.plane.snapshots.lock().unwrap().len(), 2);
    pipeline.end().await;
}

#[tokio::test]
async fn events_of_a_source_become_snapshots_and_reports() {
    let mut pipeline = Fixture::new(Plane::default(), Duration::from_secs(60));
    // Nothing is served before the configuration is complete, and what is in the way is reported.
    pipeline.send(vec![gateway("one", 8001), unavailable(Kind::Secret)]).await;
    let received = pipeline.next().await;
    let expected = Received {
        codes: vec![code::UNREADABLE_FILE],
        unavailable: 1,
        serves: false,
        listeners: 0,
        before: 0,
        ..serving(1, 1, 0)
    };
    assert_eq!(received, Received { generation: 0, ..expected });
    assert!(pipeline.plane.snapshots.lock().unwrap().is_empty());
    pipeline.send(vec![SourceEvent::Available(Scope::Kind(Kind::Secret)), SourceEvent::Complete(Scope::All)]).await;
    assert_eq!(pipeline.next().await, serving(1, 1, 1));
    // An object comes, changes and goes.
    pipeline.send(vec![gateway("two", 8002)]).await;
    assert_eq!(pipeline.next().await, serving(2, 2, 2));
    pipeline.send(vec![gateway("two", 8001)]).await;
    assert_eq!(pipeline.next().await, serving(3, 2, 1));
    pipeline.send(vec![SourceEvent::Delete(gateway_ref("two"))]).await;
    assert_eq!(pipeline.next().await, serving(4, 1, 1));
    // What cannot be read keeps what it held, also while it is listed anew.
    pipeline.send(vec![unavailable(Kind::Gateway), SourceEvent::Restart(Scope::Kind(Kind::Gateway))]).await;
    let kept = Received { codes: vec![code::UNREADABLE_FILE], unavailable: 1, ..serving(5, 1, 1) };
    assert_eq!(pipeline.next().await, kept);
    // Only the end of the listing proves that the Gateway is gone.
    pipeline.send(vec![gateway("three", 8003), SourceEvent::Complete(Scope::Kind(Kind::Gateway))]).await;
    assert_eq!(pipeline.next().await, serving(6, 1, 1));
    let ports: Vec<u16> = pipeline.plane.listening().iter().map(|(_, address)| address.port()).collect();
    assert_eq!(ports, [8003]);
    pipeline.end().await;
}

#[tokio::test]
async fn a_slow_applier_is_reported_and_what_it_applied_later_too() {
    let (release, gate) = std::sync::mpsc::channel();
    let plane = Plane { gate: Some(Mutex::new(gate)), ..Plane::default() };
    let mut pipeline = Fixture::new(plane, Duration::from_millis(10));
    pipeline.send(vec![gateway("one", 8001), SourceEvent::Complete(Scope::All)]).await;
    let waiting = pipeline.next().await;
    let codes = vec!["MG9004", crate::serving::NO_LISTENER];
    assert_eq!(waiting, Received { generation: 0, listeners: 0, serves: false, codes, ..serving(1, 1, 0) });
    // The pipeline goes on meanwhile.
    pipeline.send(vec![gateway("two", 8002)]).await;
    assert_eq!(pipeline.next().await.objects, 2);
    release.send(()).unwrap();
    let first = pipeline.next().await;
    assert_eq!((first.generation, first.listeners, first.serves, first.codes), (1, 1, true, vec!["MG9004"]));
    release.send(()).unwrap();
    assert_eq!(pipeline.next().await, serving(2, 2, 2));
    pipeline.end().await;
}
