//! Clients that people use, with the variables and flags that they have for a proxy.

use super::super::clients::{Server, script};
use super::{PROXY, World, authority};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use testkit::wait::until;

#[test]
fn python_requests_and_git_use_the_proxy() {
    let world = World::new();
    let gateway = world.start(&world.config("", ""), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    let authority = authority().display().to_string();
    let environment = [
        ("https_proxy", &proxy),
        ("http_proxy", &proxy),
        ("REQUESTS_CA_BUNDLE", &authority),
        ("GIT_SSL_CAINFO", &authority),
    ];
    if let Some(python) = testkit::python::Python::with(&["requests"]).unwrap() {
        let script = world.folder.path().join("client.py");
        fs::write(
            &script,
            "import requests\n\
             print(requests.get('https://api.test/x').json()['sni'], requests.get('http://api.test/x').json()['backend'])\n\
             denied = requests.get('http://evil.test/')\n\
             print(denied.status_code, 'no ServiceEntry' in denied.text)\n\
             try:\n    requests.get('https://evil.test/')\nexcept requests.exceptions.ProxyError as error:\n    print('403' in str(error))\n",
        )
        .unwrap();
        let output = python.command(&script, &[]).envs(environment).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "api.test 9001\n403 True\nTrue\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    // The backend is no repository: git gets its answer, and for a host that is not allowed that of the proxy.
    let git = |host: &str| {
        let mut command = Command::new("git");
        command.env_remove("no_proxy").envs(environment).env("GIT_TERMINAL_PROMPT", "0");
        let output = command.args(["ls-remote", &format!("https://{host}/a.git")]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    if has("git", &["--version"]) {
        let reached = git("api.test");
        assert!(!reached.contains("CONNECT tunnel failed") && !reached.contains("Proxy"), "{reached}");
        assert!(git("evil.test").contains("403"), "{}", git("evil.test"));
    }
}

/// Whether a program is there; its test does not run where it is not.
fn has(program: &str, args: &[&str]) -> bool {
    let is_there = Command::new(program).args(args).output().is_ok_and(|output| output.status.success());
    if !is_there {
        let why = format!("there is no `{program} {}` (Debian: git, nodejs, npm, python3-pip)", args.join(" "));
        testkit::not_run(&why).unwrap();
    }
    is_there
}

/// What a command printed, its errors behind it. It has the variables that are given, and none of this process for proxies, authorities and packages.
fn run(command: &mut Command, variables: &[(&str, &str)]) -> (bool, String) {
    const OTHERS: [&str; 6] = ["PROXY", "PIP_", "NPM_", "NODE_", "CA_BUNDLE", "SSL_CERT"];
    for (name, _) in std::env::vars() {
        if OTHERS.iter().any(|part| name.to_ascii_uppercase().contains(part)) {
            command.env_remove(name);
        }
    }
    let Output { status, stdout, stderr } = command.envs(variables.iter().copied()).output().unwrap();
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn node_sends_requests_and_opens_tunnels() {
    if !has("node", &["--version"]) {
        return;
    }
    let world = World::new();
    let gateway = world.start(&world.config("", ""), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    let authority = authority().display().to_string();
    let mut node = Command::new("node");
    node.arg(script("proxied.js")).args([&proxy, &authority]);
    let (_, said) = run(&mut node, &[]);
    assert_eq!(said, "200 api.test false\n200 100000 true\n200 /z?a=b 9001\n403 true\nCONNECT 403\n");
}

#[test]
fn npm_reaches_its_registry_and_no_other() {
    if !has("npm", &["--version"]) {
        return;
    }
    let world = World::new();
    let gateway = world.start(&world.config("", ""), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    let (authority, home) = (authority().display().to_string(), world.folder.path().display().to_string());
    let ping = |registry: &str, variables: &[(&str, &str)]| {
        let mut npm = Command::new("npm");
        npm.args(["ping", "--fetch-retries=0", "--no-update-notifier", &format!("--registry={registry}")]);
        npm.args([
            format!("--cafile={authority}"),
            format!("--cache={home}/npm"),
            format!("--userconfig={home}/npmrc"),
        ]);
        run(&mut npm, &[&[("HOME", home.as_str())], variables].concat())
    };
    for variable in ["HTTPS_PROXY", "npm_config_https_proxy"] {
        let (is_reached, said) = ping("https://api.test/", &[(variable, &proxy)]);
        assert!(is_reached && said.contains("PONG"), "{variable}: {said}");
    }
    let (is_reached, said) = ping("https://evil.test/", &[("HTTPS_PROXY", &proxy)]);
    assert!(!is_reached && said.contains("403"), "{said}");
}

#[test]
fn pip_downloads_from_an_index_that_is_allowed_and_from_no_other() {
    if !has("python3", &["-m", "pip", "--version"]) {
        return;
    }
    let world = World::new();
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle/certs");
    let mut index = Command::new("python3");
    index.arg(script("index.py")).args([certificates.join("back0.crt"), certificates.join("back0.key")]);
    let index = Server::start(index);
    // More specific than `*.wiki.test`.
    let further = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: index\n  namespace: default\n  annotations: {{moongate.dev/allowed-addresses: 127.0.0.0/8}}\nspec:\n  hosts: [pip.wiki.test]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports: [{{number: 443, name: tls, protocol: TLS, targetPort: {}}}]\n",
        index.port()
    );
    world.names.set("pip.wiki.test", &[[127, 0, 0, 1]]);
    let gateway = world.start(&world.config("", &further), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    let (authority, folder) = (authority().display().to_string(), world.folder.path());
    let download = |to: &str, host: &str, args: &[&str], variables: &[(&str, &str)]| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--retries",
            "0",
        ]);
        pip.args(["--index-url", &format!("https://{host}/simple/"), "--cert", &authority, "--dest"]);
        pip.arg(folder.join(to)).args(args).arg("demo-package").env("PIP_CONFIG_FILE", "/dev/null");
        let (is_done, said) = run(&mut pip, variables);
        (is_done && folder.join(to).join("demo_package-1.0-py3-none-any.whl").is_file(), said)
    };
    let (by_flag, said) = download("flag", "pip.wiki.test", &["--proxy", &proxy], &[]);
    assert!(by_flag, "{said}");
    let (by_variable, said) = download("variable", "pip.wiki.test", &[], &[("HTTPS_PROXY", &proxy)]);
    assert!(by_variable, "{said}");
    let (is_done, said) = download("none", "evil.test", &["--proxy", &proxy], &[]);
    assert!(!is_done, "{said}");
    until("the denial is logged", || world.access_log().contains("egress_denied{not_listed}"));
    assert!(!world.names.asked().iter().any(|name| name == "evil.test"));
}
