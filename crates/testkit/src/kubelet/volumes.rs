//! Volumes as folders: emptyDir, Secrets, ConfigMaps, fields of the Pod, and tokens of its account, which are asked for as a kubelet does.
//! What they hold is written once.

use super::environment::{data, downward};
use crate::kube_api::{Api, list, number, text};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A volume that is there.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    is_for_writing: bool,
}

/// A place in the root of a container.
#[derive(Debug, Clone)]
pub(super) struct Mount {
    pub(super) from: PathBuf,
    pub(super) to: String,
    pub(super) is_read_only: bool,
}

/// Makes the volumes of a Pod below a folder.
pub(super) async fn make(api: &Api, pod: &Value, folder: &Path, address: IpAddr) -> Result<Vec<Volume>> {
    let mut all = Vec::new();
    for volume in list(pod, "/spec/volumes") {
        let name = text(volume, "/name").to_owned();
        let folder = folder.join("volumes").join(&name);
        fs::create_dir_all(&folder)?;
        let is_for_writing = volume.get("emptyDir").is_some();
        if !is_for_writing {
            fill(api, pod, volume, &folder, address).await.with_context(|| format!("volume {name}"))?;
        }
        // Whoever the containers run as may read what is theirs, or write where that is meant.
        let group = number(pod, "/spec/securityContext/fsGroup", 0);
        chown(&folder, None, u32::try_from(group).ok())?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(if is_for_writing { 0o2777 } else { 0o755 }))?;
        all.push(Volume { name, folder, is_for_writing });
    }
    Ok(all)
}

/// Where a container has its volumes.
pub(super) fn mounts(container: &Value, volumes: &[Volume]) -> Result<Vec<Mount>> {
    let mount = |mount: &Value| {
        let name = text(mount, "/name");
        let volume = volumes.iter().find(|volume| volume.name == name).with_context(|| format!("no volume {name}"))?;
        let from = match text(mount, "/subPath") {
            "" => volume.folder.clone(),
            sub => volume.folder.join(sub),
        };
        let is_read_only = !volume.is_for_writing || mount.get("readOnly").and_then(Value::as_bool).unwrap_or_default();
        Ok(Mount { from, to: text(mount, "/mountPath").to_owned(), is_read_only })
    };
    list(container, "/volumeMounts").iter().map(mount).collect()
}

async fn fill(api: &Api, pod: &Value, volume: &Value, folder: &Path, address: IpAddr) -> Result<()> {
    match volume.get("projected") {
        None => source(api, pod, volume, folder, address).await,
        Some(projected) => {
            for one in list(projected, "/sources") {
                source(api, pod, one, folder, address).await?;
            }
            Ok(())
        }
    }
}

async fn source(api: &Api, pod: &Value, volume: &Value, folder: &Path, address: IpAddr) -> Result<()> {
    for (field, plural) in [("configMap", "configmaps"), ("secret", "secrets")] {
        let Some(source) = volume.get(field) else { continue };
        let data = data(api, pod, plural, source).await?;
        let items = list(source, "/items");
        for (key, value) in &data {
            let item = items.iter().find(|item| text(item, "/key") == key);
            match item {
                Some(item) => write(folder, text(item, "/path"), value)?,
                None if items.is_empty() => write(folder, key, value)?,
                None => {}
            }
        }
        return Ok(());
    }
    if let Some(source) = volume.get("downwardAPI") {
        for item in list(source, "/items") {
            let value = downward(pod, text(item, "/fieldRef/fieldPath"), address)?;
            write(folder, text(item, "/path"), value.as_bytes())?;
        }
        return Ok(());
    }
    if let Some(source) = volume.get("serviceAccountToken") {
        let token = token(api, pod, source).await?;
        return write(folder, text(source, "/path"), token.as_bytes());
    }
    bail!("a volume that is not supported: {volume}")
}

/// A token of the Pod's account, which is valid for as long as it asks for; a test is over by then.
async fn token(api: &Api, pod: &Value, source: &Value) -> Result<String> {
    let (namespace, account) = (text(pod, "/metadata/namespace"), text(pod, "/spec/serviceAccountName"));
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let audiences = source.get("audience").map(|audience| vec![audience.clone()]).unwrap_or_default();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": number(source, "/expirationSeconds", 3600),
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": text(pod, "/metadata/name"), "uid": text(pod, "/metadata/uid"),
            },
        },
    });
    let answer = api.post(&path, &request).await?;
    Ok(text(&answer, "/status/token").to_owned())
}

fn write(folder: &Path, path: &str, value: &[u8]) -> Result<()> {
    let file = folder.join(path);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(file, value).map_err(Into::into)
}
