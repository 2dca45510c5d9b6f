//! `explain` predicts the response of the data plane: both receive the same request.

use moongate::explain::{Answer, Explainer, Hello, Outcome, Question, TargetAnswer, text};
use moongate::settings;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What explains a configuration, for the workload that `args` make of the process.
pub(crate) fn explainer(config: &Path, mesh: Option<&PathBuf>, args: &[String]) -> Explainer {
    let mut settings = if args.iter().any(|arg| arg == "egress") { settings::egress() } else { settings::ingress() };
    let mut labels = args.iter().skip_while(|arg| *arg != "--labels").skip(1);
    if let (Some(labels), [workload]) = (labels.next(), settings.workloads.as_mut_slice()) {
        let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
        workload.labels = pairs.map(|(key, value)| (key.into(), value.into())).collect();
    }
    Explainer::read(vec![config.to_owned()], mesh.cloned(), settings).unwrap()
}

/// The answer of `explain` to a request of a recording or a case.
pub(crate) fn ask(explainer: &Explainer, question: &testkit::outcome::Question) -> Answer {
    ask_for_people(explainer, question).0
}

/// The same, and as people read it.
pub(crate) fn ask_for_people(explainer: &Explainer, question: &testkit::outcome::Question) -> (Answer, String) {
    // As the client of the tests sends it.
    let mut headers = question.headers.clone();
    headers.push(("connection".to_owned(), "close".to_owned()));
    // The name in the certificate of the tests.
    let client = question.tls.as_ref().is_some_and(|tls| tls.client.as_deref() == Some("client"));
    let question = Question {
        port: question.port,
        method: question.method.clone(),
        target: question.target.clone(),
        headers,
        body: !question.body.is_empty(),
        tls: question.tls.as_ref().map(|tls| Hello { sni: tls.sni.clone(), alpn: tls.alpn.clone() }),
        from: question.from.unwrap_or_else(|| [127, 0, 0, 1].into()),
        identity: client.then(|| "spiffe://cluster.local/ns/default/sa/client".to_owned()),
    };
    let answer = explainer.ask(&question).unwrap();
    let text = text(&question, &answer);
    (answer, text)
}

/// The difference between a response of the data plane and the answer of `explain`; `numbers` maps ports to backends.
pub(crate) fn part(answer: &Answer, live: &Value, numbers: impl Fn(u16) -> Option<u16>) -> Option<String> {
    let status = live.get("status").and_then(Value::as_u64).unwrap_or_default();
    let problem = match &answer.outcome {
        Outcome::Refused { .. } => (live["error"] != "refused").then(|| "explain says refused".to_owned()),
        // That a client's certificate is not good enough `explain` cannot know, which has none.
        _ if live["error"] == "tls" && answer.secured.is_some() => None,
        Outcome::NoHandshake { .. } => (live["error"] != "tls").then(|| "explain says that there is no TLS".to_owned()),
        Outcome::Closed { .. } => (live["error"] != "closed").then(|| "explain says closed".to_owned()),
        Outcome::Bytes { targets, .. } => {
            // The response depends on the backend; with a tunnel, the backend is behind the proxy.
            let ports = targets.iter().flat_map(|target| match &target.tunnel {
                Some(behind) => std::slice::from_ref(behind),
                None => &target.endpoints,
            });
            let ports = ports.filter_map(|endpoint| endpoint.rsplit_once(':')?.1.parse().ok());
            let backend = live.get("backend").and_then(Value::as_u64);
            let fits =
                backend.is_none_or(|backend| ports.filter_map(&numbers).any(|number| u64::from(number) == backend));
            (!fits).then(|| format!("explain says one of {targets:?}"))
        }
        Outcome::Answered { status: told, location, body, .. } => {
            let same_location = live.get("location").and_then(Value::as_str) == location.as_deref();
            let same_body = match (live.get("body").and_then(Value::as_str), body) {
                (Some(live), Some(told)) => live == told,
                _ => true,
            };
            let same = status == u64::from(*told) && same_location && same_body;
            (!same).then(|| format!("explain says {told}, {location:?}, {body:?}"))
        }
        Outcome::Forwarded { targets, .. } => {
            let fits = targets.iter().any(|target| fits(target, live, status, &numbers));
            (!fits).then(|| format!("explain says one of {targets:?}"))
        }
    };
    problem.map(|problem| format!("{problem}, the data plane {live}"))
}

/// Whether every backend that answered is one of those that `explain` names.
pub(crate) fn among(answer: &Answer, live: &Value, numbers: impl Fn(u16) -> Option<u16>) -> bool {
    let Outcome::Forwarded { targets, .. } = &answer.outcome else { return false };
    let endpoints = targets.iter().flat_map(|target| &target.endpoints);
    let ports = endpoints.filter_map(|endpoint| endpoint.rsplit_once(':')?.1.parse().ok());
    let named: Vec<u64> = ports.filter_map(numbers).map(u64::from).collect();
    let answered = live.get("backends").and_then(Value::as_array);
    answered.is_some_and(|all| all.iter().all(|one| one.as_u64().is_some_and(|one| named.contains(&one))))
}

/// Whether a response may come from this target. `explain` does not know the response of a backend, or whether the backend runs.
fn fits(target: &TargetAnswer, live: &Value, status: u64, numbers: &impl Fn(u16) -> Option<u16>) -> bool {
    if let Some(fails) = &target.fails {
        return status == u64::from(fails.status);
    }
    let Some(backend) = live.get("backend").and_then(Value::as_u64) else {
        return live.get("backends").is_some() || status == 503 || live.get("path").is_none();
    };
    let ports = target.endpoints.iter().filter_map(|endpoint| endpoint.rsplit_once(':')?.1.parse().ok());
    let first = target.head.lines().next().unwrap_or_default();
    let told = format!(
        "{} {} HTTP/1.1",
        live["method"].as_str().unwrap_or_default(),
        live["path"].as_str().unwrap_or_default()
    );
    let host = format!("host: {}", live["host"].as_str().unwrap_or_default());
    let headers = live["upstream"].as_object();
    let same_headers = headers.is_none_or(|headers| {
        headers.iter().all(|(name, value)| {
            let told = header(&target.head, name);
            // `explain` writes unknown values in angle brackets.
            told.as_deref() == value.as_str() || told.is_some_and(|told| told.contains('<'))
        })
    });
    ports.filter_map(numbers).any(|number| u64::from(number) == backend)
        && first == told
        && target.head.lines().any(|line| line.eq_ignore_ascii_case(&host))
        && same_headers
}

/// The values of a name in a head, joined by `,`.
fn header(head: &str, name: &str) -> Option<String> {
    let values: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}
