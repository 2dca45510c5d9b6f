use super::*;
use crate::fixture::{ask, get, path, prefix, route};
use ir::{Demands, Fact, HeaderName, HeaderText, Operator, PathRewrite, RouteMatch, Target};
use std::borrow::Cow;
use text::{Authority, PathText};
use wire::edit::FieldEdit;
use wire::view::Fields;

fn target(port: u16, weight: u32) -> Target {
    Target::plain(TargetCluster::Known(ClusterId::outbound(port, "", "b")), weight)
}

fn entry(forward: Forward, request: HeaderChanges) -> RouteEntry {
    let matches = RouteMatch::new(path(prefix("/api")), Demands::default());
    let mut route = (*route(matches, Action::Forward(forward))).clone();
    route.request_headers = request;
    let mut slots = |id: &ClusterId| id.as_str().len() as u32;
    RouteEntry::build(&Arc::new(route), &mut slots)
}

fn changes(remove: &[&str], write: &[(&str, &str, HeaderAppend)]) -> HeaderChanges {
    let name = |name: &str| HeaderName::parse(name).unwrap();
    let write = write.iter().map(|(n, v, append)| (name(n), HeaderText::parse(v).unwrap(), *append));
    HeaderChanges::new(remove.iter().map(|n| name(n)).collect(), write.collect())
}

/// The facts of a request of which only the view is known.
struct ViewFacts<'a>(&'a RequestView<'a>);

impl Facts for ViewFacts<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        substitute::of_request(self.0, name)
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        None
    }

    fn put(&self, operator: &Operator, out: &mut Vec<u8>) {
        if !matches!(operator, Operator::Response(_) | Operator::Fact(Fact::ResponseCode)) {
            out.extend_from_slice(format!("{operator}").as_bytes());
        }
    }
}

#[test]
fn vs_47_variables_stand_for_what_the_request_was_before_the_list_that_has_them() {
    let added = |value: &str| {
        let own = changes(&[], &[("x-a", "1", HeaderAppend::Overwrite), ("x-b", value, HeaderAppend::Append)]);
        let own = Target { request_headers: own, ..target(1, 1) };
        let entry = entry(Forward::to(vec![own]), changes(&[], &[("x-c", value, HeaderAppend::Append)]));
        let head = "GET /api/x?q=1&r HTTP/1.1\nHost: a.test\nX-A: 0\nx-e: \nx-d: d";
        ask(head, |view| {
            let mut edits = Edits::default();
            entry.edit_request(0, entry.rewritten(view).unwrap(), view, &ViewFacts(view), &mut edits);
            let value = |name: &str| {
                edits.fields.iter().find_map(|edit| match edit {
                    FieldEdit::Append(of, value) if of.as_str() == name => {
                        Some(String::from_utf8_lossy(value).into_owned())
                    }
                    _ => None,
                })
            };
            (value("x-b").unwrap_or("-".into()), value("x-c").unwrap_or("-".into()))
        })
    };
    let both = |value: &str| (value.to_owned(), value.to_owned());
    assert_eq!(added("%REQ(x-a)%"), ("0".into(), "1".into()));
    assert_eq!(added("<%REQ(x-none?X-D)%> %REQ(:method)%"), both("<d> GET"));
    assert_eq!(added("%REQ(:path)%|%PATH(NQ)%|%REQ(:authority)%"), both("/api/x?q=1&r|/api/x|a.test"));
    assert_eq!(added("%QUERY_PARAM(q)%%QUERY_PARAM(r)%"), both("1"));
    assert_eq!(added("%PROTOCOL%"), both("PROTOCOL"));
    // Where nothing comes of it, there is no header.
    for nothing in
        ["%REQ(x-none)%", "%RESP(x-d)%", "%RESPONSE_CODE%", "%REQ(x-e)%", "%QUERY_PARAM(none)%", "%METADATA(a)%"]
    {
        assert_eq!(added(nothing), both("-"), "{nothing}");
    }
}

#[test]
fn vs_33_targets_are_chosen_in_proportion_to_their_weights() {
    let entry = entry(Forward::to(vec![target(1, 1), target(2, 3), target(3, 6)]), HeaderChanges::default());
    let mut counts = [0; 3];
    for random in 0..1000 {
        counts[entry.choose(|| random)] += 1;
    }
    assert_eq!(counts, [100, 300, 600]);
    assert_eq!(entry.choose(|| u64::MAX), 2, "u64::MAX % 10 is 5, which is behind 1 + 3");
}

#[test]
fn vs_33_a_single_target_asks_for_no_chance() {
    let entry = entry(Forward::to(vec![target(1, 1)]), HeaderChanges::default());
    assert_eq!(entry.choose(|| panic!("nothing is to be chosen")), 0);
}

#[test]
fn vs_32_a_destination_that_is_not_there_has_no_slot() {
    let id = ClusterId::outbound(80, "", "gone");
    let cluster = TargetCluster::Unknown { id, reason: "there is no such host".into() };
    let entry = entry(Forward::to(vec![Target { cluster, ..target(1, 1) }]), HeaderChanges::default());
    assert_eq!(entry.targets.first().map(|target| target.slot), Some(None));
}

#[test]
fn vs_47_what_a_list_removes_is_gone_for_its_variables_and_what_a_later_one_removes_is_not() {
    let value = |of_target: &[&str], of_route: &[&str]| {
        let own = changes(of_target, &[("x-new", "<%REQ(x-old)%>", HeaderAppend::Overwrite)]);
        let own = Target { request_headers: own, ..target(1, 1) };
        let entry = entry(Forward::to(vec![own]), changes(of_route, &[]));
        ask("GET /api HTTP/1.1\nHost: a.test\nX-Old: 1", |view| {
            let mut edits = Edits::default();
            entry.edit_request(0, entry.rewritten(view).unwrap(), view, &ViewFacts(view), &mut edits);
            let name = FieldName::Header(HeaderName::parse("x-new").unwrap());
            let value = substitute::edited(None, &edits.fields, &name);
            value.map(|value| String::from_utf8_lossy(&value).into_owned())
        })
    };
    assert_eq!(value(&["x-old"], &[]).as_deref(), Some("<>"));
    assert_eq!(value(&[], &["x-old"]).as_deref(), Some("<1>"));
}

#[test]
fn vs_47_removals_come_before_what_is_written_and_the_target_before_the_route() {
    let own = changes(&["x-b"], &[("x-a", "1", HeaderAppend::Overwrite)]);
    let own = Target { request_headers: own, ..target(1, 1) };
    let entry = entry(Forward::to(vec![own]), changes(&["x-c"], &[("x-a", "2", HeaderAppend::Append)]));
    get("/api", |view| {
        let mut edits = Edits::default();
        entry.edit_request(0, entry.rewritten(view).unwrap(), view, &ViewFacts(view), &mut edits);
        let expected = [
            FieldEdit::Remove("x-b".into()),
            FieldEdit::Set("x-a".into(), "1".into()),
            FieldEdit::Remove("x-c".into()),
            FieldEdit::Append("x-a".into(), "2".into()),
        ];
        assert_eq!(edits.fields.as_slice(), expected);
        assert_eq!((edits.target, edits.authority), (None, None));
    });
}

#[test]
fn vs_37_a_rewritten_path_keeps_the_query_and_tells_the_old_one() {
    let mut forward = Forward::to(vec![target(1, 1)]);
    forward.rewrite = Some(Box::new(PathRewrite::Prefix(PathText::parse("/v2").unwrap())));
    let entry = entry(forward, HeaderChanges::default());
    get("/api/x?q=1", |view| {
        let mut edits = Edits::default();
        entry.edit_request(0, entry.rewritten(view).unwrap(), view, &ViewFacts(view), &mut edits);
        assert_eq!(edits.target.as_deref(), Some(&b"/v2/x?q=1"[..]));
        let original = FieldEdit::Set("x-envoy-original-path".into(), "/api/x?q=1".into());
        assert_eq!(edits.fields.as_slice(), [original]);
    });
}

#[test]
fn vs_38_the_host_of_the_route_wins_over_that_of_the_target() {
    let own = || Target { authority: Authority::parse("target.test").ok(), ..target(1, 1) };
    let of = |route: Option<&str>| {
        let forward =
            Forward { authority: route.and_then(|route| Authority::parse(route).ok()), ..Forward::to(vec![own()]) };
        let entry = entry(forward, HeaderChanges::default());
        get("/api", |view| {
            let mut edits = Edits::default();
            entry.edit_request(0, entry.rewritten(view).unwrap(), view, &ViewFacts(view), &mut edits);
            edits.authority.map(Authority::to_string)
        })
    };
    assert_eq!(of(None).as_deref(), Some("target.test"));
    assert_eq!(of(Some("route.test")).as_deref(), Some("route.test"));
}

#[test]
fn vs_36_a_direct_response_has_its_status_and_body() {
    let action = Action::Respond(ir::DirectResponse { status: 418, body: b"tea"[..].into() });
    let entry = RouteEntry::build(&route(RouteMatch::default(), action), &mut |_| 0);
    let answer = get("/", |view| entry.local_answer(view)).unwrap();
    assert_eq!((answer.status, &*answer.body, answer.location), (418, &b"tea"[..], None));
    assert_eq!(entry.choose(|| 7), 0);
}

#[test]
fn pc_04_the_normalised_path_leads_to_no_other_host() {
    let location = |path: &str| get(path, |view| LocalAnswer::to_normalised(view).location.unwrap().to_vec());
    assert_eq!(location("/a/b?q=1"), b"/a/b?q=1");
    assert_eq!(location("//other.test/a?q"), b"/.//other.test/a?q");
}
