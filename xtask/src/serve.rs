//! picolm-host's server: started with the default model, and tested by the official clients of those whose API it speaks.
//!
//! The server's own tests, in Rust, belong to the step `host`. Clients are installed into the user's cache folder, in fixed versions.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::{self, Counts, lock, root, run, run_tests, succeeds};
use crate::{fetch, host};

const PYTHON: &[&str] = &[
    "openai==3.54.0",
    "ollama==0.6.3",
    "langchain-openai==1.7.3",
    "openai-agents==0.24.0",
    "pydantic-ai-slim[openai]==2.68.0",
    "schemathesis==4.32.5",
];
/// In a folder of its own: it wants older packages than the others.
const INSTRUCTOR: &[&str] = &["instructor==1.17.0", "openai==3.3.0"];
const NODE: &[&str] = &["openai@6.49.0", "ollama@0.6.4", "ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92", "zod@4.6.7"];

/// Tests of clients, in `wasi-host/tests/clients`.
const SCRIPTS: &[&str] = &[
    "openai_client.py",
    "ollama_client.py",
    "langchain_client.py",
    "openai_agents_client.py",
    "pydantic_ai_client.py",
    "instructor_client.py",
    "picoclaw_client.py",
    "openai_client.mjs",
    "ollama_client.mjs",
    "ai_client.mjs",
];

/// The server with the default model, until it is interrupted; arguments go to `picolm-host serve`.
pub(crate) fn serve(args: &[String]) -> Result<()> {
    let args = args.strip_prefix(&["--".to_string()]).unwrap_or(args);
    let model = fetch::model()?;
    let dir = host::package()?;
    let mut server = Command::new(dir.join(host::PROGRAM));
    server.arg("serve").arg("--models").arg(&model).args(args);
    eprintln!(
        "ask it: curl http://127.0.0.1:8080/v1/chat/completions -d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"Hi\"}}]}}'"
    );
    match server.status()?.success() {
        true => Ok(()),
        false => bail!("picolm-host failed; its message stands above"),
    }
}

/// The official clients, what the description promises, the unit; with `full` also many clients for a minute.
pub(crate) fn test(full: bool) -> Result<Counts> {
    let model = fetch::model()?;
    let program = host::package_for_tests()?.join(host::PROGRAM);
    let clients = clients()?;
    let scripts = root().join("wasi-host/tests/clients");
    let mut counts = unit()?;
    let server = Server::start(&program, &model, &["--context", "2048", "--queue", "400"])?;
    for script in SCRIPTS.iter().chain(full.then_some(&"load.py")) {
        counts += run_tests(server.tell(&mut clients.command(script, &scripts), &model))?;
    }
    drop(server);
    description(&program, &model, &clients.python, full)?;
    counts.passed += 1;
    Ok(counts)
}

/// Requests made from the server's own description, at random, are answered as it says.
fn description(program: &Path, model: &Path, python: &Path, full: bool) -> Result<()> {
    // A request for sixteen answers without an end is right, and takes as long as the context is large.
    let server = Server::start(program, model, &["--context", "128"])?;
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let mut schema = Command::new(python.join("schemathesis"));
    schema.current_dir(process::cache_dir()?).arg("run").arg(format!("{}/openapi.json", server.url));
    schema.args(["--checks", checks, "--request-timeout", "120"]);
    // Its other phases are a thousand requests.
    schema.args(if full {
        ["--max-examples", "50"].as_slice()
    } else {
        &["--max-examples", "5", "--phases", "fuzzing"]
    });
    run(&mut schema)
}

/// Folders of clients: two of Python's programs, one of Node's packages.
pub(crate) struct Clients {
    python: PathBuf,
    instructor: PathBuf,
    node: PathBuf,
}

impl Clients {
    /// What runs a script.
    fn command(&self, script: &str, scripts: &Path) -> Command {
        let path = scripts.join(script);
        if script.ends_with(".mjs") {
            let mut command = Command::new("node");
            command.args(["--test", "--test-reporter=tap"]).arg(path).env("NODE_MODULES", &self.node);
            return command;
        }
        let programs = if script.starts_with("instructor") { &self.instructor } else { &self.python };
        let mut command = Command::new(programs.join("python"));
        // The compiled form of what lies in the repository would lie there, too.
        command.arg("-B").arg(path).env("PICOLM_BIN", process::built_program("picolm"));
        command
    }
}

/// The clients, installed if they are not.
pub(crate) fn clients() -> Result<Clients> {
    let dir = process::cache_dir()?.join("serve-clients");
    let (python, instructor, node) = (dir.join("python"), dir.join("instructor"), dir.join("node"));
    // What was installed, so that a new list is noticed.
    let _lock = lock("serve-clients")?;
    let (stamp, wanted) = (dir.join("installed"), format!("{PYTHON:?} {INSTRUCTOR:?} {NODE:?}"));
    let clients =
        Clients { python: python.join("bin"), instructor: instructor.join("bin"), node: node.join("node_modules") };
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(clients);
    }
    fs::create_dir_all(&node)?;
    for (folder, packages) in [(&python, PYTHON), (&instructor, INSTRUCTOR)] {
        run(process::python().context("python3 is missing")?.args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--no-compile"]).args(packages))?;
    }
    run(Command::new("npm")
        .args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"])
        .arg(&node)
        .args(NODE))?;
    fs::write(stamp, wanted)?;
    Ok(clients)
}

/// The systemd unit is as hardened as it says, where systemd is there to tell.
fn unit() -> Result<Counts> {
    if !succeeds(Command::new("systemd-analyze").arg("--version")) {
        return Ok(Counts::default());
    }
    let unit = root().join("wasi-host/deploy/picolm-host.service");
    run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
        .arg(unit))?;
    Ok(Counts { passed: 1, failed: 0 })
}

/// A running server, ended with this value.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(program: &Path, model: &Path, more: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--models").arg(model).args(["--listen", "127.0.0.1:0", "--state", "none"]).args(more);
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start picolm-host")?;
        let mut log = BufReader::new(child.stderr.take().context("its log")?).lines();
        while let Some(line) = log.next().transpose()? {
            let line: serde_json::Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if line["what"] == "listening" {
                let url = format!("http://{}", line["address"].as_str().unwrap_or_default());
                #[allow(clippy::disallowed_methods, reason = "a tool may panic")]
                std::thread::spawn(move || log.for_each(drop));
                return Ok(Server { child, url });
            }
        }
        bail!("picolm-host does not listen: {}", child.wait()?)
    }

    /// Lets a program know where the server is and what its model is called.
    fn tell<'c>(&self, command: &'c mut Command, model: &Path) -> &'c mut Command {
        let name = model.file_stem().unwrap_or_default();
        command.env("PICOLM_URL", &self.url).env("PICOLM_NAME", name).env("PICOLM_PID", self.child.id().to_string());
        command.env("PICOLM_MODEL", model)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
