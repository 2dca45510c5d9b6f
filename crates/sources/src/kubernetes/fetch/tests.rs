use super::super::access::Access;
use super::*;
use resources::key::Key;
use testkit::api_server::ApiServer;
use testkit::wait;

const SECRETS: &str = "/secrets";

async fn fetches(server: &ApiServer) -> Fetches {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, server.kubeconfig()).unwrap();
    let access = Access { kubeconfig: Some(path), context: None };
    let pace = Pace { first: Duration::from_millis(1), longest: Duration::from_millis(5), ..Pace::default() };
    Fetches::new(access.connect().await.unwrap(), "ns".into(), pace)
}

fn secret() -> Reference {
    Reference::Secret("one".into())
}

fn apply(server: &ApiServer, data: &str) {
    server
        .apply(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: one, namespace: ns}}\ndata: {{a: {data}}}\n"));
}

fn data(fetched: Fetched) -> Vec<String> {
    let objects = fetched.objects.unwrap();
    objects.iter().map(|object| object.pointer("/data/a").unwrap().as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_answer_to_the_last_request_for_a_reference_counts() {
    let server = ApiServer::start().unwrap();
    apply(&server, "old");
    server.hold(Some(SECRETS));
    let mut fetches = fetches(&server).await;
    fetches.begin(&secret());
    wait::until("the first request", || server.held() == 1);
    fetches.end(&secret());
    assert!(!fetches.are_open());
    apply(&server, "new");
    fetches.begin(&secret());
    wait::until("the second request", || server.held() == 2);
    server.release();
    server.release();
    assert_eq!(data(fetches.next().await), ["new"]);
    // An answer that had arrived before its reference was gone counts neither.
    fetches.begin(&secret());
    wait::until("the third request", || server.held() == 3);
    server.release();
    let stale = fetches.tasks.join_next().await.unwrap().unwrap();
    fetches.begin(&secret());
    assert!(fetches.take(stale).is_none() && fetches.are_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_reference_or_with_a_listing_are_aborted() {
    let server = ApiServer::start().unwrap();
    server.hold(Some(SECRETS));
    let mut fetches = fetches(&server).await;
    fetches.begin(&secret());
    fetches.end(&secret());
    assert!(fetches.tasks.join_next().await.unwrap().err().unwrap().is_cancelled());
    fetches.begin(&secret());
    assert_eq!(fetches.supersede(Kind::Pod), []);
    assert_eq!(fetches.supersede(Kind::Secret), [secret()]);
    assert!(fetches.tasks.join_next().await.unwrap().err().unwrap().is_cancelled());
    assert!(fetches.under_way.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listing_should_have_had_is_asked_for_again_if_the_listing_fails() {
    let server = ApiServer::start().unwrap();
    apply(&server, "x");
    let mut fetches = fetches(&server).await;
    let supersede = |fetches: &mut Fetches| {
        fetches.begin(&secret());
        assert_eq!(fetches.supersede(Kind::Secret), [secret()]);
        assert!(!fetches.are_open());
    };
    supersede(&mut fetches);
    fetches.resume(Kind::Pod);
    assert!(!fetches.are_open());
    fetches.resume(Kind::Secret);
    assert_eq!(data(fetches.next().await), ["x"]);
    // It is not after the end of the listing, or when nothing refers to it any more.
    supersede(&mut fetches);
    fetches.listed(Kind::Secret);
    fetches.resume(Kind::Secret);
    supersede(&mut fetches);
    fetches.end(&secret());
    fetches.resume(Kind::Secret);
    assert!(!fetches.are_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_is_reported_and_repeated() {
    let server = ApiServer::start().unwrap();
    apply(&server, "x");
    server.fail(true);
    let mut fetches = fetches(&server).await;
    fetches.begin(&secret());
    assert!(fetches.are_open());
    let failed = fetches.next().await;
    assert!(failed.reference == secret() && matches!(failed.objects, Err(Problem::Unavailable(_))));
    assert!(!fetches.are_open(), "a failure that is reported holds nothing up");
    server.fail(false);
    loop {
        let fetched = fetches.next().await;
        if fetched.objects.is_ok() {
            assert_eq!(data(fetched), ["x"]);
            break;
        }
    }
    assert!(fetches.under_way.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_reported_meanwhile_is_newer_than_the_answer() {
    let server = ApiServer::start().unwrap();
    apply(&server, "old");
    server.hold(Some(SECRETS));
    let mut fetches = fetches(&server).await;
    fetches.begin(&secret());
    wait::until("the request", || server.held() == 1);
    let reported = |namespace: &str| serde_json::json!({"metadata": {"name": "one", "namespace": namespace}});
    fetches.reported(Kind::Pod, &reported("ns"));
    fetches.reported(Kind::Secret, &reported("other"));
    let key = Key::new("ns", "one");
    let is_newer = |fetches: &Fetches| {
        fetches.under_way.values().any(|one| one.reported.contains(&ObjectRef { kind: Kind::Secret, key: key.clone() }))
    };
    assert!(!is_newer(&fetches));
    fetches.reported(Kind::Secret, &reported("ns"));
    assert!(is_newer(&fetches));
    server.release();
    assert!(data(fetches.next().await).is_empty());
}
