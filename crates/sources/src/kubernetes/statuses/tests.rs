use super::super::published;
use super::super::status::Stamp;
use super::*;
use serde_json::json;

const OWNER: &str = "istio-system/gateway";

fn object(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::Gateway, key: Key::new("a", name) }
}

fn served(generations: &[(&str, i64)]) -> Map<ObjectRef, ObjectVersion> {
    let version = |generation| ObjectVersion::new("1", Some(generation));
    generations.iter().map(|(name, generation)| (object(name), version(*generation))).collect()
}

fn status(always: bool) -> Arc<Status> {
    let (reason, message, messages) = ("Served", "served".to_owned(), Vec::new());
    Arc::new(Status { reconciled: true, reason, message, messages, always })
}

fn stamp(owner: &str) -> Stamp<'_> {
    Stamp { owner, generation: 1, now: "now" }
}

fn taken(statuses: &Statuses) -> Vec<(String, bool, i64)> {
    let mut all = Vec::new();
    while let Some(Task::Status(write)) = statuses.take() {
        all.push((write.object.key.name.to_string(), write.wanted.is_some(), write.generation));
    }
    all
}

/// There is one for each of Istio's objects.
#[test]
fn an_entry_is_small() {
    assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
}

#[test]
fn only_what_differs_is_written_and_only_of_versions_that_are_served() {
    let statuses = Statuses::new(OWNER.into(), true, Vec::new());
    statuses.observe(&object("one"), 1, Seen::default());
    assert_eq!(taken(&statuses), [], "nothing is known to be wanted");
    statuses.want(
        &served(&[("one", 1), ("two", 1)]),
        [(object("one"), Some(status(true))), (object("two"), Some(status(true)))],
    );
    assert_eq!(taken(&statuses), [("one".to_owned(), true, 1)], "the other has not been seen");
    // What was written is seen, and is what is wanted.
    let patch = status::merge(None, Some(&status(true)), stamp(OWNER)).unwrap();
    statuses.observe(&object("one"), 1, statuses.seen(&json!({"status": patch})));
    assert_eq!(taken(&statuses), []);
    // A new generation waits until it is served.
    statuses.observe(&object("one"), 2, statuses.seen(&json!({"status": patch})));
    assert_eq!(taken(&statuses), []);
    statuses.want(&served(&[("one", 2), ("two", 1)]), []);
    assert_eq!(taken(&statuses), [("one".to_owned(), true, 2)]);
    // What could not be written is tried again, unless the object is gone.
    assert!(statuses.take_one(object("one")).is_some());
    statuses.forget(&object("one"));
    assert_eq!(statuses.take_one(object("one")), None);
}

#[test]
fn what_concerns_another_gateway_is_left_to_it() {
    let statuses = Statuses::new(OWNER.into(), true, Vec::new());
    let of = |owner: &str| status::merge(None, Some(&status(true)), stamp(owner)).unwrap();
    statuses.observe(&object("foreign"), 1, statuses.seen(&json!({"status": of("istio-system/other")})));
    statuses.observe(&object("new"), 1, Seen::default());
    statuses.observe(&object("own"), 1, statuses.seen(&json!({"status": of(OWNER)})));
    let all = served(&[("foreign", 1), ("new", 1), ("own", 1)]);
    // Without findings, what needs no entry gets none, and what has one keeps it.
    statuses.want(&all, ["foreign", "new", "own"].map(|name| (object(name), Some(status(false)))));
    assert_eq!(taken(&statuses), []);
    statuses.want(&all, ["foreign", "new", "own"].map(|name| (object(name), None)));
    assert_eq!(taken(&statuses), [("own".to_owned(), false, 1)]);
    statuses.look_at_all();
    assert_eq!(taken(&statuses).len(), 1, "a new leader looks at all of them");
}

#[test]
fn an_address_is_published_once_where_it_may_be() {
    let statuses = Statuses::new(OWNER.into(), true, vec![Published::parse("192.0.2.1")]);
    let key = |name: &str| Key::new("istio-system", name);
    let service =
        |ingress: Value| json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}}});
    statuses.observe_service(&key("own"), &service(json!([])));
    statuses.observe_service(&key("other"), &service(json!([])));
    statuses.want(&Map::default(), []);
    statuses.want_services([key("own")].into());
    assert_eq!((statuses.take(), statuses.take()), (Some(Task::Service(key("own"))), None));
    statuses.observe_service(&key("own"), &service(json!([{"ip": "192.0.2.1", "ipMode": "VIP"}])));
    assert_eq!(statuses.take(), None);
    statuses.observe_service(&key("own"), &service(json!([{"ip": "192.0.2.9"}])));
    assert_eq!(statuses.take(), Some(Task::Service(key("own"))), "the API server knows whose it is");
    statuses.refuse(&key("own"));
    assert_eq!(statuses.take_one(ObjectRef { kind: Kind::Service, key: key("own") }), None);
    statuses.observe_service(&key("own"), &service(Value::Null));
    assert_eq!(statuses.take(), Some(Task::Service(key("own"))));
    assert_eq!(
        published::patch(&key("own"), statuses.published())["status"]["loadBalancer"]["ingress"],
        json!([{"ip": "192.0.2.1"}])
    );
}

#[test]
fn denials_of_a_kind_are_one_until_the_last_is_over() {
    let statuses = Statuses::new(OWNER.into(), true, Vec::new());
    let gateways = Right::Status(Kind::Gateway);
    statuses.deny(&object("two"), Some("two"));
    statuses.deny(&object("one"), Some("one"));
    assert_eq!(statuses.denied(), [(gateways, "one".to_owned())]);
    statuses.deny(&object("three"), None);
    statuses.deny(&object("one"), None);
    assert_eq!(statuses.denied(), [(gateways, "two".to_owned())], "what is allowed of others changes nothing");
    statuses.set_lease(Some(LeaseProblem::Denied("three".to_owned())));
    statuses.rest();
    assert_eq!(statuses.denied(), [(Right::Lease, "three".to_owned())]);
    statuses.set_lease(Some(LeaseProblem::Failing("four".to_owned())));
    assert_eq!((statuses.denied(), statuses.lease_failure()), (vec![], Some("four".to_owned())));
    statuses.deny(&object("two"), Some("two"));
    statuses.forget(&object("two"));
    assert_eq!(statuses.denied(), []);
}

#[test]
fn the_service_of_the_gateways_name_comes_before_others_and_goes_with_no_other_object() {
    let statuses = Statuses::new("istio-system/own".into(), true, vec![Published::parse("192.0.2.1")]);
    let key = |name: &str| Key::new("istio-system", name);
    let service = json!({"spec": {"type": "LoadBalancer"}});
    ["a", "own"].iter().for_each(|name| statuses.observe_service(&key(name), &service));
    statuses.want_services(["a", "own"].map(key).into());
    statuses.forget(&ObjectRef { kind: Kind::Gateway, key: key("own") });
    let next = || statuses.take().map(|task| Arc::clone(&task.object().key.name));
    assert_eq!([next(), next(), next()], [Some("own".into()), Some("a".into()), None]);
    statuses.forget(&ObjectRef { kind: Kind::Service, key: key("own") });
    statuses.want_services(["a", "own"].map(key).into());
    assert_eq!([next(), next()], [Some("a".into()), None]);
}

/// Writes what there is to write, and has another writer answer each time; the number of writes, and what is there in the end.
fn fight(statuses: &Statuses, generation: i64, react: impl Fn(&mut Value)) -> (usize, Value) {
    let mut status = json!({});
    for number in 0..100 {
        let Some(Task::Status(write)) = statuses.take() else { return (number, status) };
        let stamp = Stamp { generation, ..stamp(OWNER) };
        if let Some(Value::Object(patch)) = status::merge(Some(&status), write.wanted.as_deref(), stamp) {
            patch.into_iter().for_each(|(field, value)| status[field] = value);
            statuses.wrote(&write);
            statuses.observe(&object("one"), generation, statuses.seen(&json!({"status": status})));
            react(&mut status);
        }
        statuses.observe(&object("one"), generation, statuses.seen(&json!({"status": status})));
    }
    panic!("there is no end of it: {status}");
}

#[test]
fn a_writer_that_replaces_the_messages_after_each_write_is_left_to_it() {
    let statuses = Statuses::new(OWNER.into(), true, Vec::new());
    let theirs = json!([{"type": {"name": "Other", "code": "IST0101"}, "level": "INFO"}]);
    let replace = |status: &mut Value| status["validationMessages"] = theirs.clone();
    let with_message = |text: &str| {
        let message = crate::StatusMessage {
            code: "MG1001",
            name: "Name".to_owned(),
            severity: resources::diagnostic::Severity::Error,
            url: None,
        };
        Some(Arc::new(Status { message: text.to_owned(), messages: vec![message], ..(*status(true)).clone() }))
    };
    statuses.observe(&object("one"), 1, Seen::default());
    statuses.want(&served(&[("one", 1)]), [(object("one"), with_message("first"))]);
    let (writes, there) = fight(&statuses, 1, replace);
    assert_eq!((writes, &there["validationMessages"]), (1, &theirs));
    assert!(there["conditions"][0]["message"].as_str().unwrap().ends_with("first"), "{there}");
    // In this generation the condition alone is written; in the next one the messages are tried again.
    statuses.want(&served(&[("one", 1)]), [(object("one"), with_message("second"))]);
    assert_eq!(fight(&statuses, 1, |status| assert!(status.get("validationMessages").is_none())).0, 1);
    statuses.observe(&object("one"), 2, statuses.seen(&json!({"status": there})));
    statuses.want(&served(&[("one", 2)]), [(object("one"), with_message("second"))]);
    let (writes, there) = fight(&statuses, 2, |_| {});
    assert_eq!((writes, &there["validationMessages"][0]["type"]["code"]), (1, &json!("MG1001")));
}

#[test]
fn a_status_that_another_writer_has_undone_is_known() {
    let statuses = Statuses::new(OWNER.into(), true, Vec::new());
    statuses.observe(&object("one"), 1, Seen::default());
    let write = |wanted| Write { object: object("one"), wanted, generation: 1 };
    let written = [Some(status(true)), Some(status(true)), None, None, Some(status(true))];
    assert_eq!(written.map(|wanted| statuses.wrote(&write(wanted))), [false, true, false, false, false]);
}
