//! How the server is set up: flags, environment and a TOML file, under the same names. `--idle 5m` is `PICOLM_IDLE=5m` is `idle = "5m"`.
//! A flag counts more than the environment, and that more than the file.

use super::duration;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was said, wherever; what was not said has a default in [`Config`].
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// A folder of GGUF files, or one file; can be given several times
    #[arg(long, env = "PICOLM_MODELS", value_delimiter = ',')]
    models: Option<Vec<PathBuf>>,
    /// The model for requests that name none
    #[arg(long, env = "PICOLM_DEFAULT_MODEL")]
    default_model: Option<String>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "PICOLM_LISTEN")]
    listen: Option<String>,
    /// Where models run: sandbox-native, sandbox or native [default: the first of them that there is]
    #[arg(long, env = "PICOLM_ENGINE")]
    engine: Option<String>,
    /// The component of the sandbox, if not picolm.wasm (or .cwasm) beside this program
    #[arg(long, env = "PICOLM_COMPONENT")]
    component: Option<PathBuf>,
    /// A key that requests must carry; can be given several times. Better in --api-key-file: flags can be seen by others
    #[arg(long, env = "PICOLM_API_KEY", value_delimiter = ',', hide_env_values = true)]
    api_key: Option<Vec<String>>,
    /// A file with one key on each line
    #[arg(long, env = "PICOLM_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// A name, besides localhost, addresses, this machine's and those in .local, under which browsers may reach the server: box.lan,
    /// *.lan, or any, where a proxy has looked at it; can be given several times
    #[arg(long, env = "PICOLM_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Option<Vec<String>>,
    /// A web page's origin (`https://example.org`) that may use the server from a browser; can be given several times
    #[arg(long, env = "PICOLM_ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Option<Vec<String>>,
    /// A folder with the chat page
    #[arg(long, env = "PICOLM_PAGE")]
    page: Option<PathBuf>,
    /// Unload a model that nobody has asked for so long: 30s, 5m, 1h30m, or never [default: 5m]
    #[arg(long, env = "PICOLM_IDLE")]
    idle: Option<String>,
    /// A model that is loaded at the start and stays; can be given several times
    #[arg(long, env = "PICOLM_PIN", value_delimiter = ',')]
    pin: Option<Vec<String>>,
    /// Most models in memory [default: 2]
    #[arg(long, env = "PICOLM_MAX_LOADED")]
    max_loaded: Option<usize>,
    /// Answers of one model computed together [default: 16]
    #[arg(long, env = "PICOLM_SESSIONS")]
    sessions: Option<usize>,
    /// Requests that wait for one of these places before the next is refused [default: 64]
    #[arg(long, env = "PICOLM_QUEUE")]
    queue: Option<usize>,
    /// Most tokens of a prompt and its answer; 0 is the model's own, and at most 4096 [default: 0]
    #[arg(long, env = "PICOLM_CONTEXT")]
    context: Option<usize>,
    /// Threads that compute; 0 is one for each core [default: 0]
    #[arg(long, env = "PICOLM_THREADS")]
    threads: Option<usize>,
    /// Keys and values in 8 bits instead of 16
    #[arg(long, env = "PICOLM_KV_Q8", num_args = 0..=1, default_missing_value = "true")]
    kv_q8: Option<bool>,
    /// Megabytes for the sessions of one model, those kept for prompts that begin alike included [default: 1024]
    #[arg(long, env = "PICOLM_SESSION_MEMORY")]
    session_memory: Option<u64>,
    /// Megabytes a sandbox may take, the model file not counted [default: 2048]
    #[arg(long, env = "PICOLM_MEMORY")]
    memory: Option<usize>,
    /// A folder for beginnings of prompts that are kept over a restart, or "none" [default: the user's state folder]
    #[arg(long, env = "PICOLM_STATE")]
    state: Option<PathBuf>,
    /// Megabytes in that folder [default: 1024]
    #[arg(long, env = "PICOLM_STATE_SIZE")]
    state_size: Option<u64>,
    /// Most kilobytes of a request [default: 2048]
    #[arg(long, env = "PICOLM_MAX_BODY")]
    max_body: Option<usize>,
    /// Most connections [default: 512]
    #[arg(long, env = "PICOLM_CONNECTIONS")]
    connections: Option<usize>,
    /// Longest time for a request to arrive, and for a client that reads nothing [default: 30s]
    #[arg(long, env = "PICOLM_TIMEOUT")]
    timeout: Option<String>,
    /// Longest time that answers may go on when the server is told to end [default: 20s]
    #[arg(long, env = "PICOLM_GRACE")]
    grace: Option<String>,
}

/// Everything decided.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) models: Vec<PathBuf>,
    pub(crate) default_model: Option<String>,
    pub(crate) listen: SocketAddr,
    /// What models run on, by its name.
    pub engine: &'static str,
    /// The component of the sandbox, if it is not to be found.
    pub component: Option<PathBuf>,
    pub(crate) api_keys: Vec<String>,
    pub(crate) allow_host: Vec<String>,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) page: Option<PathBuf>,
    /// `None`: never
    pub(crate) idle: Option<Duration>,
    pub(crate) pin: Vec<String>,
    pub(crate) max_loaded: usize,
    /// Most answers of a model at a time.
    pub sessions: usize,
    pub(crate) queue: usize,
    /// Most tokens of a session; 0 is the model's own.
    pub context: usize,
    /// Threads that compute; 0 is one for each core.
    pub threads: usize,
    /// Whether keys and values have 8 bits.
    pub kv_q8: bool,
    /// Most bytes for the sessions of a model.
    pub session_bytes: u64,
    /// Most bytes that a sandbox takes, the model file not counted.
    pub memory: usize,
    pub(crate) state: Option<PathBuf>,
    pub(crate) state_bytes: u64,
    pub(crate) max_body: usize,
    pub(crate) connections: usize,
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
}

macro_rules! first_of {
    ($one:expr, $other:expr, $($field:ident),* $(,)?) => {
        Settings { $($field: $one.$field.or($other.$field)),* }
    };
}

impl Settings {
    /// What a TOML file says.
    ///
    /// # Errors
    /// It cannot be read, or says something that is not known.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// These, and those for what they leave open.
    #[must_use]
    #[rustfmt::skip]
    pub fn or(self, other: Settings) -> Settings {
        first_of!(
            self, other, models, default_model, listen, engine, component, api_key, api_key_file, allow_host, allow_origin, page, idle,
            pin, max_loaded, sessions, queue, context, threads, kv_q8, session_memory, memory, state, state_size, max_body, connections,
            timeout, grace,
        )
    }
}

impl Config {
    /// Checks settings and fills in the rest. `engines` are the names of those there are, the best first.
    ///
    /// # Errors
    /// The name of the setting that cannot be, and why.
    pub fn new(settings: Settings, engines: &[&'static str]) -> Result<Self> {
        let s = settings;
        let models = s.models.unwrap_or_default();
        ensure!(!models.is_empty(), "models: name a folder of GGUF files (--models FOLDER)");
        for path in &models {
            ensure!(path.exists(), "models: {} does not exist", path.display());
        }
        let listen = s.listen.unwrap_or_else(|| "127.0.0.1:8080".into());
        let mut api_keys = s.api_key.unwrap_or_default();
        if let Some(path) = s.api_key_file {
            let text = fs::read_to_string(&path).with_context(|| format!("api-key-file: {}", path.display()))?;
            api_keys.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string));
            ensure!(!api_keys.is_empty(), "api-key-file: {} has no key", path.display());
        }
        ensure!(api_keys.iter().all(|key| !key.is_empty()), "api-key: a key is empty");
        if let Some(page) = &s.page {
            ensure!(page.is_dir(), "page: {} is not a folder", page.display());
        }
        let megabytes = |n: u64| n.saturating_mul(1 << 20);
        let at_least_one = |name: &str, n: usize| match n {
            0 => bail!("{name}: 0 is too few"),
            n => Ok(n),
        };
        Ok(Config {
            models,
            default_model: s.default_model,
            listen: address(&listen)?,
            engine: engine(s.engine.as_deref(), engines)?,
            component: s.component,
            api_keys,
            allow_host: host_names(s.allow_host)?,
            allow_origin: lower_case(s.allow_origin),
            page: s.page,
            idle: match s.idle.as_deref() {
                Some("never") => None,
                other => Some(time("idle", other, 300)?),
            },
            pin: s.pin.unwrap_or_default(),
            max_loaded: at_least_one("max-loaded", s.max_loaded.unwrap_or(2))?,
            sessions: at_least_one("sessions", s.sessions.unwrap_or(16))?,
            queue: s.queue.unwrap_or(64),
            context: s.context.unwrap_or(0),
            threads: s.threads.unwrap_or(0),
            kv_q8: s.kv_q8.unwrap_or(false),
            session_bytes: megabytes(s.session_memory.unwrap_or(1024)),
            memory: megabytes(s.memory.unwrap_or(2048) as u64) as usize,
            state: state_folder(s.state),
            state_bytes: megabytes(s.state_size.unwrap_or(1024)),
            max_body: at_least_one("max-body", s.max_body.unwrap_or(2048))?.saturating_mul(1024),
            connections: at_least_one("connections", s.connections.unwrap_or(512))?,
            timeout: time("timeout", s.timeout.as_deref(), 30)?,
            grace: time("grace", s.grace.as_deref(), 20)?,
        })
    }
}

/// What would be served, and how. No key is shown.
impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let models: Vec<String> = self.models.iter().map(|path| path.display().to_string()).collect();
        let keys = match self.api_keys.len() {
            0 if self.listen.ip().is_loopback() => "no API key",
            0 => "no API key: anyone who reaches this address can use it",
            _ => "with API keys",
        };
        write!(f, "the configuration is good: {} on {}, {}, {keys}", models.join(", "), self.listen, self.engine)
    }
}

fn engine(name: Option<&str>, all: &[&'static str]) -> Result<&'static str> {
    let found = all.iter().find(|engine| name.is_none_or(|name| name == **engine));
    found.copied().with_context(|| format!("engine: {:?} is none of {}", name.unwrap_or_default(), all.join(", ")))
}

fn lower_case(list: Option<Vec<String>>) -> Vec<String> {
    list.unwrap_or_default().iter().map(|text| text.trim_end_matches('/').to_ascii_lowercase()).collect()
}

/// A time that is not nothing.
fn time(name: &str, text: Option<&str>, default: u64) -> Result<Duration> {
    let Some(text) = text else { return Ok(Duration::from_secs(default)) };
    let time = duration::parse(text).filter(|(below, time)| !below && !time.is_zero()).map(|(_, time)| time);
    time.with_context(|| format!("{name}: {text:?} is not a time such as 30s, 5m or 1h30m"))
}

/// `ADDRESS:PORT`, or `NAME:PORT` of this machine.
fn address(text: &str) -> Result<SocketAddr> {
    let context = || format!("listen: {text:?} is not ADDRESS:PORT");
    let all: Vec<SocketAddr> = text.to_socket_addrs().with_context(context)?.collect();
    // Of localhost, which often has two, the one that clients try.
    all.iter().find(|address| address.is_ipv4()).or(all.first()).copied().with_context(context)
}

/// The names said, and this machine's own.
fn host_names(said: Option<Vec<String>>) -> Result<Vec<String>> {
    let mut names = lower_case(said);
    for name in &names {
        let end = name.strip_prefix("*.").unwrap_or(name);
        ensure!(!end.is_empty() && !end.contains('*'), "allow-host: {name:?} is neither a name nor *.NAME nor any");
    }
    let own = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("COMPUTERNAME").ok());
    names.extend(own.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()));
    Ok(names)
}

/// The folder said, systemd's, or the user's.
fn state_folder(said: Option<PathBuf>) -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match said {
        Some(path) if path.as_os_str() == "none" => None,
        Some(path) => Some(path),
        None => var("STATE_DIRECTORY")
            .or_else(|| var("XDG_STATE_HOME").map(|dir| dir.join("picolm")))
            .or_else(|| var("HOME").map(|home| home.join(".local/state/picolm"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).expect("settings")
    }

    #[test]
    fn what_is_said_first_counts() {
        let file = settings("models = [\".\"]\nlisten = \"0.0.0.0:1\"\nsessions = 3\nidle = \"2h\"");
        let flags = settings("listen = \"127.0.0.1:2\"");
        let config = Config::new(flags.or(file), &["native"]).expect("a configuration");
        assert_eq!(config.listen.to_string(), "127.0.0.1:2");
        assert_eq!((config.sessions, config.idle), (3, Some(Duration::from_secs(7200))));
    }

    #[test]
    fn names_of_this_machine_are_addresses() {
        let text = "models = [\".\"]\nlisten = \"localhost:8080\"";
        let config = Config::new(settings(text), &["native"]).expect("a configuration");
        assert!(config.listen.ip().is_loopback() && config.listen.port() == 8080);
    }

    #[test]
    fn errors_name_the_setting() {
        for (text, name) in [
            ("", "models: "),
            ("models = [\"no-such-folder\"]", "models: "),
            ("listen = \"here\"", "listen: "),
            ("listen = \"localhost\"", "listen: "),
            ("allow-host = [\"a.*\"]", "allow-host: "),
            ("allow-host = [\"*.\"]", "allow-host: "),
            ("engine = \"steam\"", "engine: "),
            ("idle = \"soon\"", "idle: "),
            ("timeout = \"0s\"", "timeout: "),
            ("sessions = 0", "sessions: "),
            ("api-key = [\"\"]", "api-key: "),
            ("page = \"no-such-folder\"", "page: "),
        ] {
            let models = (!name.starts_with("models")).then(|| vec![".".into()]);
            let error = Config::new(settings(text).or(Settings { models, ..Settings::default() }), &["native"]);
            let error = format!("{:#}", error.expect_err(text));
            assert!(error.starts_with(name), "{text}: {error}");
        }
        assert!(toml::from_str::<Settings>("modles = []").is_err());
    }

    /// The three ways to say a thing have one list of names.
    #[test]
    fn flags_environment_and_file_have_the_same_names() {
        let command = Settings::augment_args(clap::Command::new("serve"));
        for arg in command.get_arguments() {
            let flag = arg.get_long().expect("a long flag");
            let variable = arg.get_env().expect("a variable").to_string_lossy();
            assert_eq!(format!("PICOLM_{}", flag.to_uppercase().replace('-', "_")), variable);
            let unknown = toml::from_str::<Settings>(&format!("{flag} = 1970-01-01")).expect_err("a date is no value");
            assert!(!unknown.to_string().contains("unknown field"), "{flag}: {unknown}");
        }
    }
}
