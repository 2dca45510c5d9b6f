//! Files of this machine beside a cluster: the mesh settings that are named, and files that objects name.

use super::cluster::{Cluster, GATEWAY, codes, has, slice};
use resources::key::Kind;
use sources::Loaded;
use std::fs;
use std::path::Path;
use testkit::api_server::ApiServer;

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    \
                          rootNamespace: of-map\n";

fn mesh(loaded: &Loaded) -> Option<&str> {
    loaded.mesh.as_ref().map(|mesh| &*mesh.text)
}

fn content<'a>(loaded: &'a Loaded, path: &Path) -> Option<&'a [u8]> {
    loaded.set.files.get(path.to_str().unwrap(), "istio-system").unwrap().map(|content| &**content)
}

fn rule(path: &Path) -> String {
    rule_in("istio-system", path)
}

fn rule_in(namespace: &str, path: &Path) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d, namespace: {namespace}}}\nspec:\n  host: b\n  \
         trafficPolicy: {{tls: {{mode: SIMPLE, caCertificates: {}}}}}\n",
        path.display()
    )
}

/// Writes a file and puts it in place as a whole, as whoever rotates certificates does.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mc_01_mesh_settings_of_a_file_are_there_from_the_first_and_change_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.yaml");
    let provider =
        "extensionProviders:\n- {name: e, envoyExtAuthzHttp: {service: authz.b.svc.cluster.local, port: 80}}\n";
    fs::write(&file, provider).unwrap();
    let server = ApiServer::start().unwrap();
    server.apply(CONFIG_MAP);
    server.apply(&slice("b", "authz", "10.0.0.1"));
    server.apply(&slice("b", "other", "10.0.0.2"));
    let mut cluster = Cluster::with(&server.kubeconfig(), |settings| settings.mesh = Some(file.clone())).await;
    let loaded = cluster.complete().await;
    assert_eq!((mesh(loaded), loaded.set.config_maps.size()), (Some(provider), 1));
    assert!(has(&loaded.set, Kind::EndpointSlice, "b", "authz-1"), "the Service of a provider");
    let other = provider.replace("authz", "other");
    replace(&file, &other);
    let changed = |loaded: &Loaded| {
        mesh(loaded) == Some(&other)
            && has(&loaded.set, Kind::EndpointSlice, "b", "other-1")
            && !has(&loaded.set, Kind::EndpointSlice, "b", "authz-1")
    };
    cluster.until("the other settings", changed).await;
    // It was named: that it is gone for a moment is no reason to take other settings.
    fs::remove_file(&file).unwrap();
    let loaded = cluster.until("the finding", |loaded| loaded.unavailable > 0).await;
    assert_eq!((mesh(loaded), codes(loaded).len()), (Some(&*other), 1));
    replace(&file, "rootNamespace: back\n");
    cluster.until("the file again", |loaded| mesh(loaded) == Some("rootNamespace: back\n")).await;
    cluster.until("no finding", |loaded| loaded.diagnostics.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gw_11_files_that_objects_name_are_read_with_the_objects_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.pem"), folder.path().join("two.pem"));
    fs::write(&one, "first").unwrap();
    fs::write(&two, "second").unwrap();
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&rule(&one));
    let state = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::with(&server.kubeconfig(), |settings| {
        (settings.state, settings.certificates) = (Some(state.path().into()), Some(folder.path().into()));
    })
    .await;
    let loaded = cluster.complete().await;
    assert_eq!(content(loaded, &one), Some(&b"first"[..]), "an object and its file are there at the same time");
    replace(&one, "rotated");
    cluster.until("the rotated file", |loaded| content(loaded, &one) == Some(b"rotated")).await;
    server.apply(&rule(&two));
    let loaded = cluster.until("the other object", |loaded| content(loaded, &two).is_some()).await;
    let named = |loaded: &Loaded| format!("{:?}", loaded.set.destination_rules.values().next());
    assert!(named(loaded).contains("two.pem") && content(loaded, &one).is_none());
    // A file that is gone is used as it was, and a finding reports it.
    fs::remove_file(&two).unwrap();
    let loaded = cluster.until("the finding", |loaded| loaded.unavailable > 0).await;
    assert_eq!(content(loaded, &two), Some(&b"second"[..]));
    replace(&two, "second");
    cluster.until("no finding", |loaded| loaded.diagnostics.is_empty()).await;
    server.delete("/apis/networking.istio.io/v1/destinationrules", "istio-system", "d");
    cluster.until("no file", |loaded| loaded.set.files.is_empty() && loaded.diagnostics.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gw_11_a_start_without_a_server_has_the_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.pem");
    fs::write(&file, "first").unwrap();
    let state = tempfile::tempdir().unwrap();
    let with = |kubeconfig: String| {
        let (state, certificates) = (Some(state.path().into()), Some(folder.path().into()));
        async move {
            Cluster::with(&kubeconfig, |settings| (settings.state, settings.certificates) = (state, certificates)).await
        }
    };
    let nowhere = testkit::api_server::kubeconfig(([127, 0, 0, 1], testkit::ports::free()).into());
    {
        let server = ApiServer::start().unwrap();
        server.apply(&rule(&file));
        let mut cluster = with(server.kubeconfig()).await;
        cluster.complete().await;
        testkit::wait::until("the configuration is kept", || state.path().join("complete").exists());
    }
    let mut cluster = with(nowhere).await;
    assert_eq!(content(cluster.complete().await, &file), Some(&b"first"[..]));
}

/// Whoever may write objects in another namespace is not trusted with the files of this machine, and nobody with those outside of the folder.
#[tokio::test(flavor = "multi_thread")]
async fn objects_name_files_of_the_folder_in_the_namespace_of_the_gateway_alone() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [inside, secret, link] =
        [folder.path().join("one.pem"), outside.path().join("key"), folder.path().join("link")];
    fs::write(&inside, "inside").unwrap();
    fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    let server = ApiServer::start().unwrap();
    server.apply(&rule_in("a", &inside));
    server.apply(&rule(&inside));
    let named = |loaded: &Loaded| format!("{:?}", loaded.set.destination_rules.values().collect::<Vec<_>>());
    {
        let mut cluster = Cluster::follow(&server).await;
        let loaded = cluster.complete().await;
        assert!(loaded.set.files.is_empty() && named(loaded).contains("one.pem"), "without a folder");
        assert_eq!(loaded.set.files.get("one.pem", "a"), Err("istio-system"), "the reason, where no file is read");
    }
    let mut cluster =
        Cluster::with(&server.kubeconfig(), |settings| settings.certificates = Some(folder.path().into())).await;
    let loaded = cluster.complete().await;
    let files: Vec<&str> = loaded.set.files.paths().map(|path| &**path).collect();
    assert_eq!(files, [inside.to_str().unwrap()]);
    assert_eq!(loaded.set.files.get(inside.to_str().unwrap(), "a"), Err("istio-system"));
    assert!(loaded.set.destination_rules.size() == 2 && !named(loaded).contains("may name files"), "{}", named(loaded));
    for path in [
        &secret,
        &link,
        &folder.path().join("../").join(secret.strip_prefix("/").unwrap()),
        Path::new("/proc/self/pagemap"),
    ] {
        server.apply(&rule(path));
        let is_read = |loaded: &Loaded| named(loaded).contains(path.to_str().unwrap());
        let loaded = cluster.until("the object", is_read).await;
        assert!(loaded.set.files.is_empty(), "{path:?}");
    }
}
