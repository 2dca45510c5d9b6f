//! A small API server of Kubernetes in the test's process: it lists and watches what the test puts there, and fails as it is told to. Not
//! a model of a real one in anything else.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a watch without events looks for its end.
const LOOK: Duration = Duration::from_millis(20);

/// A server that is stopped when it is dropped.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    version: u64,
    /// Watches from before this version have expired.
    oldest: u64,
    /// Objects by the path of their kind (`/apis/networking.istio.io/v1/gateways`), then by namespace and name.
    objects: BTreeMap<String, BTreeMap<(String, String), Value>>,
    events: Vec<(u64, String, Value)>,
    /// Kinds that are installed, by their paths; those of the core are always.
    installed: BTreeSet<String>,
    forbidden: BTreeSet<String>,
    /// Whether every request is answered 503.
    is_failing: bool,
    /// Whether the next page of a listing is answered 410.
    expires_pages: bool,
    /// The epoch of connections: those of an earlier one are cut.
    epoch: u64,
    stopped: bool,
    requests: Vec<String>,
    /// Requests that contain this are answered with this code.
    refused: Option<(u16, String)>,
    /// The most objects on a page, whatever is asked for.
    page: Option<usize>,
    /// Answers to requests that contain this are held.
    to_hold: Option<String>,
    /// How many answers were held so far.
    held: usize,
    /// How many of these, in their order, may be sent.
    released: usize,
}

/// The paths of Istio's kinds.
const ISTIO: [&str; 8] = [
    "/apis/networking.istio.io/v1/gateways",
    "/apis/networking.istio.io/v1/virtualservices",
    "/apis/networking.istio.io/v1/destinationrules",
    "/apis/networking.istio.io/v1/serviceentries",
    "/apis/networking.istio.io/v1/workloadentries",
    "/apis/security.istio.io/v1/requestauthentications",
    "/apis/security.istio.io/v1/authorizationpolicies",
    "/apis/security.istio.io/v1/peerauthentications",
];
const BUILT_IN: [&str; 7] = [
    "/api/v1/services",
    "/api/v1/namespaces",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/pods",
    "/api/v1/nodes",
    "/apis/discovery.k8s.io/v1/endpointslices",
];

impl ApiServer {
    /// Starts a server without objects, with Istio's kinds.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        {
            let mut content = shared.content();
            content.version = 1;
            content.installed = ISTIO.iter().chain(&BUILT_IN).map(|path| (*path).to_owned()).collect();
        }
        let of_listener = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&of_listener);
                if shared.content().stopped {
                    return;
                }
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || {
                    // A client that goes is no failure of the server.
                    let _ = serve(&stream, &shared);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        kubeconfig(self.address)
    }

    /// Creates or replaces objects of a YAML text.
    pub fn apply(&self, yaml: &str) {
        for document in resources::read::documents(yaml) {
            for (_, object) in resources::read::written(document) {
                self.put(object);
            }
        }
    }

    /// Creates or replaces an object, with its version in the metadata.
    pub fn put(&self, mut object: Value) {
        let (path, key) = place(&object);
        let mut content = self.shared.content();
        content.version += 1;
        let version = content.version;
        let before = content.objects.get(&path).and_then(|objects| objects.get(&key));
        let (is_known, generation) = (before.is_some(), generation(before, &object));
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.insert("resourceVersion".to_owned(), version.to_string().into());
            metadata.insert("managedFields".to_owned(), json!([{"manager": "test"}]));
            if path.contains("istio.io") {
                metadata.insert("generation".to_owned(), generation.into());
            }
        }
        content.objects.entry(path.clone()).or_default().insert(key, object.clone());
        let kind = if is_known { "MODIFIED" } else { "ADDED" };
        content.events.push((version, path, json!({"type": kind, "object": object})));
        self.shared.changed.notify_all();
    }

    /// Deletes an object by the path of its kind.
    pub fn delete(&self, path: &str, namespace: &str, name: &str) {
        let mut content = self.shared.content();
        content.version += 1;
        let version = content.version;
        let key = (namespace.to_owned(), name.to_owned());
        let Some(mut object) = content.objects.get_mut(path).and_then(|objects| objects.remove(&key)) else { return };
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.insert("resourceVersion".to_owned(), version.to_string().into());
        }
        content.events.push((version, path.to_owned(), json!({"type": "DELETED", "object": object})));
        self.shared.changed.notify_all();
    }

    /// Removes an object without an event, as a watch that was cut misses it.
    pub fn delete_silently(&self, path: &str, namespace: &str, name: &str) {
        let mut content = self.shared.content();
        content.version += 1;
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(objects) = content.objects.get_mut(path) {
            objects.remove(&key);
        }
    }

    /// Installs a kind, or removes it with its objects.
    pub fn install(&self, path: &str, is_there: bool) {
        let mut content = self.shared.content();
        if is_there {
            content.installed.insert(path.to_owned());
        } else {
            content.installed.remove(path);
            content.objects.remove(path);
            content.epoch += 1;
        }
        self.shared.changed.notify_all();
    }

    /// Denies a kind, or allows it again.
    pub fn forbid(&self, path: &str, is_forbidden: bool) {
        let mut content = self.shared.content();
        if is_forbidden {
            content.forbidden.insert(path.to_owned());
            content.epoch += 1;
        } else {
            content.forbidden.remove(path);
        }
        self.shared.changed.notify_all();
    }

    /// Answers requests whose target has this text in it with a code; `None`: no further ones.
    pub fn refuse(&self, code: u16, containing: Option<&str>) {
        self.shared.content().refused = containing.map(|text| (code, text.to_owned()));
    }

    /// Has at most so many objects on a page, whatever is asked for.
    pub fn limit_pages(&self, objects: usize) {
        self.shared.content().page = Some(objects);
    }

    /// Lets every request fail and cuts every watch, or works again.
    pub fn fail(&self, is_failing: bool) {
        let mut content = self.shared.content();
        content.is_failing = is_failing;
        content.epoch += 1;
        self.shared.changed.notify_all();
    }

    /// Cuts every watch.
    pub fn cut(&self) {
        self.shared.content().epoch += 1;
        self.shared.changed.notify_all();
    }

    /// Forgets all versions before the present one, and cuts every watch.
    pub fn expire(&self) {
        let mut content = self.shared.content();
        content.oldest = content.version;
        content.events.clear();
        content.epoch += 1;
        self.shared.changed.notify_all();
    }

    /// The second page of the next listing is answered 410.
    pub fn expire_pages(&self) {
        self.shared.content().expires_pages = true;
    }

    /// Holds the answers of listings that are asked for by a target with this text in it, as they are at that time; `None`: no further ones.
    pub fn hold(&self, containing: Option<&str>) {
        self.shared.content().to_hold = containing.map(str::to_owned);
    }

    /// How many answers were held so far.
    pub fn held(&self) -> usize {
        self.shared.content().held
    }

    /// Sends the first of the answers that are held still.
    pub fn release(&self) {
        self.shared.content().released += 1;
        self.shared.changed.notify_all();
    }

    /// The requests so far that contain a text.
    pub fn requests(&self, containing: &str) -> usize {
        self.shared.content().requests.iter().filter(|request| request.contains(containing)).count()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        {
            let mut content = self.shared.content();
            content.stopped = true;
            content.epoch += 1;
        }
        self.shared.changed.notify_all();
        // Ends the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// How often the specification of an object has been written, this time among them.
fn generation(before: Option<&Value>, object: &Value) -> i64 {
    let last = before.and_then(|before| before.pointer("/metadata/generation")?.as_i64()).unwrap_or(0);
    if before.is_some_and(|before| before.get("spec") == object.get("spec")) { last } else { last + 1 }
}

/// A kubeconfig for a server without TLS.
pub fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster: {{server: \"http://{address}\"}}\n\
         users:\n- name: test\n  user: {{token: test}}\ncontexts:\n- name: test\n  context: {{cluster: test, user: test}}\n"
    )
}

impl Shared {
    /// Holds an answer where it is to be held.
    fn wait_for_release(&self, target: &str) {
        let mut content = self.content();
        if !content.to_hold.as_ref().is_some_and(|text| target.contains(&**text)) {
            return;
        }
        let number = content.held;
        content.held += 1;
        while content.released <= number && !content.stopped {
            content = self.changed.wait(content).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of an object's kind, and its namespace and name.
fn place(object: &Value) -> (String, (String, String)) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let plural = resources::api::ApiResource::named(group, kind).map_or("unknown", |resource| resource.plural);
    let root = if group.is_empty() { "/api" } else { "/apis" };
    (format!("{root}/{version}/{plural}"), (text("/metadata/namespace").to_owned(), text("/metadata/name").to_owned()))
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.content().requests.push(target.clone());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    let (collection, namespace) = collection(path);
    let content = shared.content();
    if content.is_failing || content.stopped {
        return answer(stream, 503, &status(503, "ServiceUnavailable", "the server is shutting down"));
    }
    if path.starts_with("/apis") && path.matches('/').count() < 4 {
        return answer(stream, 200, &discovery(&content, path));
    }
    let refused = content.refused.as_ref().filter(|(_, refused)| target.contains(&**refused));
    if let Some((code, _)) = refused {
        return answer(stream, *code, &status(*code, "Refused", &format!("{collection} is refused")));
    }
    if content.forbidden.contains(&collection) {
        let message = format!("{collection} is forbidden: User \"test\" cannot list resource");
        return answer(stream, 403, &status(403, "Forbidden", &message));
    }
    if !content.installed.contains(&collection) {
        return answer(stream, 404, &status(404, "NotFound", "the server could not find the requested resource"));
    }
    let selected = Selected { collection, namespace, query };
    if selected.query.get("watch").is_some_and(|watch| watch == "true") {
        let (epoch, oldest) = (content.epoch, content.oldest);
        drop(content);
        return watch(stream, shared, &selected, (epoch, oldest));
    }
    let body = match list(content, &selected) {
        Ok(body) => body,
        Err(expired) => return answer(stream, 410, &expired),
    };
    shared.wait_for_release(&target);
    answer(stream, 200, &body)
}

/// What a request asks for.
struct Selected {
    collection: String,
    namespace: Option<String>,
    query: BTreeMap<String, String>,
}

impl Selected {
    fn has(&self, object: &Value) -> bool {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let is_here = self.namespace.as_ref().is_none_or(|namespace| text("/metadata/namespace") == namespace);
        let fields = self.query.get("fieldSelector").map_or("", |fields| fields);
        let is_field = |field: &str| match field.split_once("!=").or_else(|| field.split_once('=')) {
            Some(("metadata.name", value)) => text("/metadata/name") == value,
            Some(("type", value)) => text("/type") != value,
            Some(("status.phase", value)) => text("/status/phase") != value,
            _ => field.is_empty(),
        };
        let labels = self.query.get("labelSelector").map_or("", |labels| labels);
        let is_labelled = labels.split_once('=').is_none_or(|(key, value)| {
            object.pointer("/metadata/labels").and_then(|labels| labels.get(key)?.as_str()) == Some(value)
        });
        is_here && fields.split(',').all(is_field) && is_labelled
    }
}

/// A page of a listing, or that it has expired.
fn list(mut content: MutexGuard<'_, Content>, selected: &Selected) -> Result<Value, Value> {
    let from: usize = selected.query.get("continue").and_then(|token| token.parse().ok()).unwrap_or_default();
    if from > 0 && std::mem::take(&mut content.expires_pages) {
        return Err(status(410, "Expired", "the continue parameter is too old"));
    }
    let limit: usize = selected.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let limit = content.page.map_or(limit, |page| limit.min(page));
    let objects = content.objects.get(&selected.collection).into_iter().flat_map(|objects| objects.values());
    let all: Vec<&Value> = objects.filter(|object| selected.has(object)).collect();
    let page: Vec<Value> = all.iter().skip(from).take(limit).map(|object| without_kind(object)).collect();
    let next = if from + page.len() < all.len() { (from + page.len()).to_string() } else { String::new() };
    Ok(json!({
        "kind": "List", "apiVersion": "v1",
        "metadata": {"resourceVersion": content.version.to_string(), "continue": next},
        "items": page,
    }))
}

/// Items of lists do not say what they are.
fn without_kind(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
}

/// `epoch`, `oldest`: those at the time of the request.
fn watch(mut stream: &TcpStream, shared: &Shared, selected: &Selected, (epoch, oldest): (u64, u64)) -> io::Result<()> {
    let mut seen: u64 = selected.query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or_default();
    if seen < oldest {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")?;
        let expired = json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
        return writeln!(stream, "{expired}");
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")?;
    let bookmark = json!({"type": "BOOKMARK", "object": {
        "kind": "Bookmark", "apiVersion": "v1", "metadata": {"resourceVersion": seen.to_string()}
    }});
    writeln!(stream, "{bookmark}")?;
    let mut content = shared.content();
    while content.epoch == epoch {
        let new: Vec<(u64, Value)> = content
            .events
            .iter()
            .filter(|(version, path, event)| {
                *version > seen
                    && *path == selected.collection
                    && event.get("object").is_some_and(|one| selected.has(one))
            })
            .map(|(version, _, event)| (*version, event.clone()))
            .collect();
        if new.is_empty() {
            content = shared.changed.wait_timeout(content, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        drop(content);
        for (version, event) in new {
            writeln!(stream, "{event}")?;
            seen = version;
        }
        content = shared.content();
    }
    Ok(())
}

/// Groups, or the kinds of a version of a group.
fn discovery(content: &Content, path: &str) -> Value {
    let mut groups: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for one in content.installed.iter().filter_map(|path| path.strip_prefix("/apis/")) {
        let mut parts = one.split('/').map(str::to_owned);
        if let (Some(group), Some(version), Some(plural)) = (parts.next(), parts.next(), parts.next()) {
            groups.entry(group).or_default().insert((version, plural));
        }
    }
    if path == "/apis" || path == "/apis/" {
        let group = |(name, kinds): (&String, &BTreeSet<(String, String)>)| {
            let versions: BTreeSet<&String> = kinds.iter().map(|(version, _)| version).collect();
            let version = |version: &&String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
            json!({"name": name, "versions": versions.iter().map(version).collect::<Vec<_>>()})
        };
        return json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.iter().map(group).collect::<Vec<_>>()});
    }
    let group_version = path.trim_start_matches("/apis/");
    let (group, version) = group_version.split_once('/').unwrap_or((group_version, ""));
    let kinds = groups.get(group).into_iter().flatten().filter(|(one, _)| one == version);
    let kinds = kinds.map(|(_, plural)| {
        json!({"name": plural, "singularName": "", "namespaced": true, "kind": plural, "verbs": ["list", "watch"]})
    });
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": kinds.collect::<Vec<_>>()
    })
}

/// The path of the kind, and the namespace of a path in one.
fn collection(path: &str) -> (String, Option<String>) {
    match path.split_once("/namespaces/") {
        Some((root, rest)) if rest.contains('/') => {
            let (namespace, plural) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("{root}/{plural}"), Some(namespace.to_owned()))
        }
        _ => (path.to_owned(), None),
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn answer(mut stream: &TcpStream, code: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {code} Answer\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code =
            text.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        out.push(code.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
