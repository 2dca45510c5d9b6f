//! A source of any kind, as [`sources::watch`] drives it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use resources::key::{Key, Kind, ObjectRef};
use resources::read::{documents, read};
use resources::set::ResourceSet;
use sources::{Batch, Scope, Source, SourceEvent, Upsert};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A source that reports what it is given, and the sets that it sees.
struct Fake {
    batches: mpsc::Receiver<Vec<SourceEvent>>,
    sets: mpsc::UnboundedSender<Arc<ResourceSet>>,
    _dropped: oneshot::Sender<()>,
}

impl Source for Fake {
    async fn next(&mut self, set: Arc<ResourceSet>) -> Option<Batch> {
        let _ = self.sets.send(set);
        self.batches.recv().await.map(Batch::from)
    }
}

struct Ends {
    batches: mpsc::Sender<Vec<SourceEvent>>,
    sets: mpsc::UnboundedReceiver<Arc<ResourceSet>>,
    dropped: oneshot::Receiver<()>,
}

fn fake() -> (Fake, Ends) {
    let (sender, batches) = mpsc::channel(8);
    let (sets, seen) = mpsc::unbounded_channel();
    let (_dropped, dropped) = oneshot::channel();
    (Fake { batches, sets, _dropped }, Ends { batches: sender, sets: seen, dropped })
}

fn put(name: &str) -> SourceEvent {
    let file: Arc<Path> = Path::new("in.yaml").into();
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let object = documents(&text).flat_map(|document| read(&file, document).objects).next().unwrap();
    SourceEvent::Upsert(Upsert { object, version: None, findings: Arc::default() })
}

fn namespace(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::Namespace, key: Key::new("", name) }
}

#[tokio::test]
async fn what_a_busy_reader_has_not_taken_comes_as_one_change() {
    let (source, mut ends) = fake();
    let mut watch = sources::watch(source);
    ends.batches.send(vec![put("one"), SourceEvent::Complete(Scope::All)]).await.unwrap();
    // The source receives the set after each batch. By then the first change waits for the reader, and the others are gathered.
    for (number, batch) in [vec![put("two")], vec![put("three")], vec![]].into_iter().enumerate() {
        assert_eq!(ends.sets.recv().await.unwrap().len(), number);
        ends.batches.send(batch).await.unwrap();
    }
    assert_eq!(ends.sets.recv().await.unwrap().len(), 3);
    let first = watch.next().await.unwrap();
    assert_eq!((first.set.len(), first.set.generation), (1, 1));
    let second = watch.next().await.unwrap();
    assert_eq!((second.set.len(), second.set.generation), (3, 2));
    assert_eq!(&*second.set.changed, [namespace("three"), namespace("two")]);
    // The end of a source is the end of its changes, and what it has said before is not lost.
    ends.batches.send(vec![put("four")]).await.unwrap();
    drop(ends.batches);
    assert_eq!(watch.next().await.unwrap().set.len(), 4);
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_source_ends_with_its_reader() {
    let (source, mut ends) = fake();
    let watch = sources::watch(source);
    ends.sets.recv().await.unwrap();
    drop(watch);
    assert!((&mut ends.dropped).await.is_err(), "the source is dropped, though it waits for a change");
}
