//! The chat page: built, served on this machine with the default model beside it, and tested.
//!
//! ```text
//!   npm (the package) ──► npm ci ──► tsc, vite ──► www/dist ──► server (127.0.0.1) ──► browser
//!                                    fetch (the model, once) ──► /models/…            └► node --test www/tests
//! ```

mod server;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{Counts, root, run, run_tests};
use crate::{fetch, npm};
use server::Site;

/// The page keeps its conversations by address, so the port stays the same.
const PORT: u16 = 8787;

pub(crate) const HELP: &str = "\
cargo xtask web [--port N] [--no-open]
                                     build the chat page and serve it on 127.0.0.1, with a small model beside it";

/// `cargo xtask web`: serves until it is stopped.
pub(crate) fn serve(args: &[String]) -> Result<()> {
    let (mut port, mut open) = (PORT, true);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--port" => port = rest.next().and_then(|n| n.parse().ok()).context("--port takes a number up to 65535")?,
            "--no-open" => open = false,
            other => bail!("unknown option {other:?}\n\n{HELP}"),
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("port {port} is taken: end what uses it, or take another with --port N"))?;
    let site = site(npm::built()?)?;
    let url = format!("http://localhost:{}/", listener.local_addr()?.port());
    println!("\nThe chat page is at {url} (Ctrl+C ends it)");
    if open {
        show(&url);
    }
    server::serve(&listener, &site);
    Ok(())
}

/// Builds the page and tests it in Chromium and Firefox, against this server where the real model is wanted.
pub(crate) fn test() -> Result<Counts> {
    let (chromium, firefox) = npm::browsers()?;
    let site = site(npm::built()?)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://localhost:{}/", listener.local_addr()?.port());
    // Ends with this program.
    #[allow(clippy::disallowed_methods, reason = "a tool may panic")]
    std::thread::spawn(move || server::serve(&listener, &site));
    let dir = dir();
    let mut command = Command::new("node");
    command.current_dir(&dir).env("PICOLM_PAGE", url).env("CHROMIUM", chromium).env("FIREFOX", firefox);
    let options = ["--test", "--test-concurrency=1", "--test-reporter=tap"];
    run_tests(command.args(options).args(npm::test_files(&dir.join("tests"))?))
}

/// `www/`
fn dir() -> PathBuf {
    root().join("www")
}

/// The built page, with the model beside it.
fn site(_package: PathBuf) -> Result<Site> {
    let dir = dir();
    npm::install(&dir)?;
    run(npm::npm("run", &dir).args(["--silent", "build"]))?;
    let model = fetch::model()?;
    let name = model.file_name().and_then(|name| name.to_str()).context("the model's file has no name")?.to_string();
    let list = dir.join("dist/models.json");
    let offered = offer(&fs::read_to_string(&list)?, &name, fs::metadata(&model)?.len())?;
    fs::write(&list, offered)?;
    Ok(Site { root: dir.join("dist"), files: vec![(format!("/models/{name}"), model)] })
}

/// The list of models with the one that lies beside the page first. One it does not know (PICOLM_MODEL) is added.
fn offer(list: &str, name: &str, bytes: u64) -> Result<String> {
    let mut models: Vec<Value> = serde_json::from_str(list).context("models.json")?;
    let url = format!("models/{name}");
    if models.first().is_none_or(|first| first["url"] != url.as_str()) {
        let title = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
        models.insert(0, json!({ "name": title, "url": url, "bytes": bytes, "license": "", "about": "" }));
    }
    Ok(serde_json::to_string_pretty(&models)?)
}

/// Opens the browser of the desktop, if there is one; the address is printed in any case.
fn show(url: &str) {
    let (program, args): (_, &[&str]) = if cfg!(windows) {
        ("cmd", &["/c", "start", ""])
    } else if cfg!(target_os = "macos") {
        ("open", &[])
    } else {
        ("xdg-open", &[])
    };
    let _ = Command::new(program).args(args).arg(url).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_beside_the_page_is_offered_first_once() {
        let list = r#"[{"name": "A", "url": "models/a.gguf"}, {"name": "B", "url": "https://b.example/b.gguf"}]"#;
        let names = |text: String| -> Vec<String> {
            let models: Vec<Value> = serde_json::from_str(&text).unwrap();
            models.iter().map(|model| model["name"].as_str().unwrap().to_string()).collect()
        };
        assert_eq!(names(offer(list, "a.gguf", 1).unwrap()), ["A", "B"]);
        assert_eq!(names(offer(list, "c-Q8.gguf", 1).unwrap()), ["c-Q8", "A", "B"]);
    }
}
