use super::*;
use ir::ClusterId;
use std::sync::Mutex;
use std::sync::mpsc;

/// An applier that follows a script, and records its input.
struct Fake {
    name: &'static str,
    orders: Mutex<mpsc::Receiver<Order>>,
    given: Mutex<Vec<Delta>>,
}

enum Order {
    Apply,
    Fail,
    Panic,
}

impl Applier for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn apply(&self, _: &Snapshot, delta: &Delta) -> anyhow::Result<Applied> {
        let order = self.orders.lock().unwrap().recv();
        self.given.lock().unwrap().push(delta.clone());
        match order {
            Ok(Order::Fail) => anyhow::bail!("no room"),
            Ok(Order::Panic) => std::panic::panic_any("on purpose"),
            // Without anybody who gives orders, everything is applied.
            Ok(Order::Apply) | Err(_) => {
                Ok(Applied { generation: self.given.lock().unwrap().len() as u64, problems: Vec::new() })
            }
        }
    }

    fn retry(&self) -> Vec<BindProblem> {
        Vec::new()
    }

    fn listening(&self) -> Vec<(ListenerId, SocketAddr)> {
        Vec::new()
    }
}

fn fake(name: &'static str) -> (Arc<Fake>, mpsc::Sender<Order>) {
    let (sender, orders) = mpsc::channel();
    (Arc::new(Fake { name, orders: Mutex::new(orders), given: Mutex::default() }), sender)
}

fn delta(hosts: &[&str]) -> Delta {
    let clusters = hosts.iter().map(|host| ClusterId::outbound(80, "", host)).collect();
    Delta { changes: Some(Changes { clusters, ..Changes::default() }) }
}

/// An applier without orders, beside one that waits for them.
fn publisher(bound: Duration) -> (Publisher, Arc<Fake>, Arc<Fake>, mpsc::Sender<Order>) {
    let (quick, _) = fake("quick");
    let (other, orders) = fake("other");
    let appliers: Vec<Arc<dyn Applier>> = vec![Arc::clone(&quick) as _, Arc::clone(&other) as _];
    (Publisher::new(appliers, bound), quick, other, orders)
}

fn given(fake: &Fake) -> Vec<Delta> {
    fake.given.lock().unwrap().clone()
}

fn found(publisher: &Publisher) -> Vec<(&'static str, Severity, String)> {
    publisher.behind().into_iter().map(|one| (one.code, one.severity, one.message)).collect()
}

#[tokio::test]
async fn a_slow_applier_holds_up_nobody_and_gets_what_it_missed_as_one_change() {
    let (mut publisher, quick, slow, orders) = publisher(Duration::from_millis(10));
    let snapshot = Arc::default();
    let late = "other takes longer than 0.01 s to apply the configuration".to_owned();
    for (number, hosts) in [["a", "b"], ["b", "c"], ["d", "a"]].iter().enumerate() {
        publisher.publish(&snapshot, delta(hosts)).await;
        // The quick one may need longer than the bound on a busy machine; the slow one cannot be done.
        while publisher.slots[0].task.is_some() {
            publisher.finish_one().await;
        }
        assert_eq!(given(&quick).len(), number + 1);
        assert_eq!(found(&publisher), [(NOT_APPLIED, Severity::Warning, late.clone())]);
        assert!(publisher.is_working() && given(&slow).is_empty());
    }
    assert_eq!(publisher.generation(), 3);
    orders.send(Order::Apply).unwrap();
    publisher.finish_one().await;
    // It is at work on the rest.
    assert_eq!(found(&publisher).len(), 1);
    orders.send(Order::Apply).unwrap();
    publisher.finish_one().await;
    assert!(!publisher.is_working() && found(&publisher).is_empty());
    assert_eq!(given(&slow), [delta(&["a", "b"]), delta(&["a", "b", "c", "d"])]);
    assert_eq!(given(&quick), [delta(&["a", "b"]), delta(&["b", "c"]), delta(&["d", "a"])]);
}

#[tokio::test]
async fn an_applier_that_fails_says_so_and_gets_everything_with_the_next_attempt() {
    let (mut publisher, quick, failing, orders) = publisher(Duration::from_secs(60));
    let snapshot = Arc::default();
    orders.send(Order::Fail).unwrap();
    publisher.publish(&snapshot, delta(&["a"])).await;
    let failed = (NOT_APPLIED, Severity::Error, "other cannot apply the configuration: no room".to_owned());
    assert_eq!(found(&publisher), [failed]);
    assert!(publisher.has_problems() && !publisher.is_working());
    orders.send(Order::Panic).unwrap();
    publisher.publish(&snapshot, delta(&["b"])).await;
    let found_after = found(&publisher);
    assert!(matches!(&found_after[..], [(_, Severity::Error, text)] if text.contains("panic")), "{found_after:?}");
    orders.send(Order::Apply).unwrap();
    publisher.retry().await;
    assert!(found(&publisher).is_empty() && !publisher.has_problems());
    let everything = Delta { changes: None };
    assert_eq!(given(&failing), [delta(&["a"]), everything.clone(), everything]);
    // The other one had no part in that.
    assert_eq!(given(&quick), [delta(&["a"]), delta(&["b"])]);
    orders.send(Order::Apply).unwrap();
    publisher.publish(&snapshot, delta(&["c"])).await;
    assert_eq!(given(&failing).last(), Some(&delta(&["c"])));
}

#[tokio::test]
async fn an_applier_that_is_late_already_is_not_waited_for() {
    let (mut publisher, _, _, _orders) = publisher(Duration::from_millis(10));
    publisher.publish(&Arc::default(), delta(&["a"])).await;
    // The test would not end otherwise.
    publisher.bound = Duration::from_secs(1 << 30);
    publisher.publish(&Arc::default(), delta(&["b"])).await;
    assert_eq!(found(&publisher).len(), 1);
}
