//! Models in a folder: loaded when somebody asks for one, unloaded when nobody has for a while.
//!
//! ```text
//!   on disk ──acquire──► loading ──► loaded (a Worker's thread) ──idle──► on disk
//! ```

use super::config::Config;
use super::error::{ApiError, Result};
use super::log;
use super::metrics::Metrics;
use super::prefixes::Prefixes;
use super::worker::{Call, Job, Place, Said, Worker, stopping};
use crate::Open;
use axum::http::StatusCode;
use picolm_engine::{Kind, ModelInfo};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, oneshot, watch};

/// A model file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelFile {
    /// Its name without `.gguf`; of a split model, without the number of the part too.
    pub(crate) name: String,
    /// The file, or the first of several.
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Seconds since 1970.
    pub(crate) modified: u64,
}

impl ModelFile {
    /// What tells this file from others, and from what it was: a hash of its name, length and time, as 64 digits. Clients take models
    /// of one digest for one model.
    pub(crate) fn digest(&self) -> String {
        let of = format!("{}\0{}\0{}", self.name, self.bytes, self.modified);
        Sha256::digest(of).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// All models there are, and those of them that are loaded.
pub(crate) struct Models {
    config: Arc<Config>,
    open: Arc<Open>,
    metrics: Arc<Metrics>,
    loaded: Mutex<BTreeMap<PathBuf, Arc<Loaded>>>,
    /// One at a time is loaded: two at once would need the memory of both to be counted before it is known.
    loading: tokio::sync::Mutex<()>,
    closing: watch::Sender<bool>,
}

/// A model in memory.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) info: ModelInfo,
    path: PathBuf,
    modified: u64,
    pinned: bool,
    calls: Sender<Call>,
    /// Sessions and the queue behind them.
    places: Arc<Semaphore>,
    all_places: usize,
    last_used: Mutex<Instant>,
    /// How long it stays when nobody asks for it; `None` is for good.
    stay: Mutex<Option<Duration>>,
    /// Its thread, for those who wait for its end.
    ended: watch::Receiver<bool>,
}

impl Models {
    pub(crate) fn new(config: Arc<Config>, open: Arc<Open>, metrics: Arc<Metrics>) -> Self {
        let (loaded, loading) = (Mutex::new(BTreeMap::new()), tokio::sync::Mutex::new(()));
        Models { config, open, metrics, loaded, loading, closing: watch::Sender::new(false) }
    }

    /// The files, by name. The folder is read each time: files come and go.
    pub(crate) fn files(&self) -> Vec<ModelFile> {
        let mut all: Vec<ModelFile> = self.config.models.iter().flat_map(|path| files_at(path)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|a, b| a.name == b.name);
        all
    }

    /// The file of that name; the only one there is if none is named.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<ModelFile> {
        let mut files = self.files();
        let Some(name) = name else {
            let default = self.config.default_model.as_deref();
            return match (default, files.len()) {
                (Some(default), _) => self.find(Some(default)),
                (None, 1) => Ok(files.remove(0)),
                (None, n) => {
                    Err(ApiError::field("model", format!("is missing, and there are {n} models to choose from")))
                }
            };
        };
        // Ollama's clients name a version, and there is only one here.
        let short = name.strip_suffix(":latest").unwrap_or(name);
        let short = short.strip_suffix(".gguf").unwrap_or(short);
        let exact = files.iter().position(|file| file.name == short);
        let found = exact.or_else(|| files.iter().position(|file| file.name.eq_ignore_ascii_case(short)));
        match found {
            Some(at) => Ok(files.remove(at)),
            None => Err(ApiError {
                status: StatusCode::NOT_FOUND,
                code: "model_not_found",
                ..ApiError::field("model", format!("names {:?}, which is no model here", clip(name)))
            }),
        }
    }

    /// The loaded model of that name, and places in its queue. Loads it first if need be.
    pub(crate) async fn acquire(&self, name: Option<&str>, places: usize) -> Result<(Arc<Loaded>, Vec<Place>)> {
        let file = self.find(name)?;
        if let Some(loaded) = self.get(&file, places) {
            return loaded.inspect_err(|_| self.metrics.refused());
        }
        let _loading = self.loading.lock().await;
        if let Some(loaded) = self.get(&file, places) {
            return loaded.inspect_err(|_| self.metrics.refused());
        }
        if *self.closing.borrow() {
            return Err(stopping());
        }
        self.make_room().await?;
        let loaded = Arc::new(self.load(file).await?);
        let places = loaded.places(places)?;
        self.lock().insert(loaded.path.clone(), loaded.clone());
        Ok((loaded, places))
    }

    /// Why nobody would be answered now, if that is so: no model, none of those that are to be in memory, or the end is near.
    pub(crate) fn unready(&self) -> Option<ApiError> {
        let (files, loaded) = (self.files(), self.loaded());
        let missing = self.config.pin.iter().find(|pin| !loaded.iter().any(|loaded| loaded.name == **pin));
        match missing {
            _ if *self.closing.borrow() => Some(stopping()),
            _ if files.is_empty() => Some(ApiError::unready("there is no model")),
            Some(name) => Some(ApiError::unready(format!("{name} is pinned, and not in memory"))),
            None => None,
        }
    }

    /// The names of the models in memory.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.lock().values().filter(|loaded| !*loaded.ended.borrow()).cloned().collect()
    }

    /// Unloads what nobody has asked for within the time set. Called now and then.
    pub(crate) fn unload_idle(&self) {
        let mut all = self.lock();
        let over: Vec<PathBuf> = all.values().filter(|loaded| loaded.is_over()).map(|l| l.path.clone()).collect();
        // Under the lock: who comes now finds none and loads it again.
        over.iter().filter_map(|path| all.remove(path)).for_each(|loaded| self.unload(&loaded));
    }

    /// Lets what is being answered come to its end, for at most so long.
    pub(crate) async fn close(&self, grace: Duration) {
        self.closing.send_replace(true);
        let all: Vec<Arc<Loaded>> = std::mem::take(&mut *self.lock()).into_values().collect();
        all.iter().for_each(|loaded| drop(loaded.calls.send(Call::Stop { at_once: false })));
        let ended = async {
            for loaded in &all {
                let _ = loaded.ended.clone().wait_for(|ended| *ended).await;
            }
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            all.iter().for_each(|loaded| drop(loaded.calls.send(Call::Stop { at_once: true })));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Loaded>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model in memory, unless its thread has ended or its file is another by now.
    fn get(&self, file: &ModelFile, places: usize) -> Option<Result<(Arc<Loaded>, Vec<Place>)>> {
        let mut all = self.lock();
        let loaded = all.get(&file.path)?.clone();
        if *loaded.ended.borrow() || loaded.modified != file.modified {
            all.remove(&file.path);
            self.unload(&loaded);
            return None;
        }
        loaded.touch();
        // Under the lock: it is at work from now on, and nobody unloads it.
        Some(loaded.places(places).map(|places| (loaded, places)))
    }

    fn unload(&self, loaded: &Loaded) {
        let _ = loaded.calls.send(Call::Stop { at_once: false });
        self.metrics.unloaded();
        log::info("unloaded", &[("model", &loaded.name)]);
    }

    /// Unloads the model that was used the longest time ago, if there is one more than may be.
    async fn make_room(&self) -> Result<()> {
        let gone = {
            let mut all = self.lock();
            all.retain(|_, loaded| !*loaded.ended.borrow());
            if all.len() < self.config.max_loaded {
                return Ok(());
            }
            let free = all.values().filter(|loaded| !loaded.pinned && !loaded.is_at_work());
            let oldest = free.min_by_key(|loaded| loaded.used()).map(|loaded| loaded.path.clone());
            let oldest = oldest.and_then(|path| all.remove(&path));
            oldest.ok_or_else(|| ApiError::full(format!("all {} models that may be loaded are at work", all.len())))?
        };
        self.unload(&gone);
        let _ = gone.ended.clone().wait_for(|ended| *ended).await;
        Ok(())
    }

    async fn load(&self, file: ModelFile) -> Result<Loaded> {
        let (config, open, metrics) = (self.config.clone(), self.open.clone(), self.metrics.clone());
        let (calls, receiver) = channel();
        let (ready, loaded) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        // Told also where the engine panics, in whatever it does.
        let end = End(end);
        let start = Instant::now();
        let path = file.path.clone();
        let work = move || {
            let end = end;
            match open(&path, &config) {
                Ok(engine) => {
                    let prefixes = prefixes(&config, &path, engine.info().context, metrics.clone());
                    let _ = ready.send(Ok(engine.info().clone()));
                    let failed = Worker::new(engine, receiver, prefixes, metrics).run();
                    // Who hears of it and asks again gets another engine.
                    drop(end);
                    failed.tell();
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let thread = std::thread::Builder::new().name("picolm-model".into()).spawn(work);
        thread.map_err(|error| ApiError::internal(format!("no thread is to be had: {error}")))?;
        let died = |_| ApiError::internal("the model's thread died while it was loading");
        let info = loaded.await.map_err(died)?.map_err(|error| {
            log::warn("not loaded", &[("model", &file.name), ("why", &error)]);
            // What a sandbox lacks is its operator's business, and may have a path in it.
            let why = if error.kind == Kind::Stopped { "see the server's log" } else { &error.message };
            let message = format!("{} cannot be loaded: {why}", file.name);
            ApiError { message, param: Some("model".into()), ..error.into() }
        })?;
        self.metrics.loaded();
        let took = start.elapsed().as_millis();
        log::info("loaded", &[("model", &file.name), ("ms", &took), ("kernels", &info.backend)]);
        let all_places = self.config.sessions + self.config.queue;
        Ok(Loaded {
            pinned: self.config.pin.contains(&file.name),
            name: file.name,
            info,
            path: file.path,
            modified: file.modified,
            calls,
            places: Arc::new(Semaphore::new(all_places)),
            all_places,
            last_used: Mutex::new(Instant::now()),
            stay: Mutex::new(self.config.idle),
            ended,
        })
    }
}

/// Says that a model's thread is over, when it is.
struct End(watch::Sender<bool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Loaded {
    /// Places for `n` answers, or the news that there are none.
    fn places(&self, n: usize) -> Result<Vec<Place>> {
        let mut all = Vec::new();
        for _ in 0..n {
            let place = self.places.clone().try_acquire_owned();
            all.push(place.map_err(|_| {
                ApiError::full(format!("all {} places are taken: try again in a moment", self.all_places))
            })?);
        }
        Ok(all)
    }

    /// Asks for an answer.
    pub(crate) fn answer(&self, job: Job) {
        let (to, index) = (job.to.clone(), job.index);
        self.touch();
        if self.calls.send(Call::Answer(Box::new(job))).is_err() {
            let _ = to.send((index, Said::Failed(stopping())));
        }
    }

    fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_at_work(&self) -> bool {
        self.places.available_permits() < self.all_places
    }

    /// From now on it stays for so long when nobody asks for it; `None` is for good.
    pub(crate) fn keep(&self, time: Option<Duration>) {
        *self.stay.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// How long it stays yet if nobody asks for it; `None` is for good.
    pub(crate) fn stays(&self) -> Option<Duration> {
        let stay = *self.stay.lock().unwrap_or_else(PoisonError::into_inner);
        stay.filter(|_| !self.pinned).map(|time| time.saturating_sub(self.used().elapsed()))
    }

    fn is_over(&self) -> bool {
        if self.is_at_work() {
            self.touch();
        }
        !self.is_at_work() && self.stays().is_some_and(|time| time.is_zero())
    }
}

fn prefixes(config: &Config, model: &Path, context: usize, metrics: Arc<Metrics>) -> Prefixes {
    let none = || Prefixes::none(config.sessions, metrics.clone());
    let Some(folder) = &config.state else { return none() };
    Prefixes::open(folder, model, context, config.state_bytes, none()).unwrap_or_else(|error| {
        log::warn("prefixes are not kept", &[("folder", &folder.display()), ("why", &error)]);
        none()
    })
}

/// The models in a folder, or the one file.
fn files_at(path: &Path) -> Vec<ModelFile> {
    let paths: Vec<PathBuf> = match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    paths.iter().filter_map(|path| model_file(path)).collect()
}

fn model_file(path: &Path) -> Option<ModelFile> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let about = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let (name, mut bytes) = match picolm_core::gguf::part_names(path.file_name()?.to_str()?) {
        None => (stem, about.len()),
        Some(parts) if Some(&parts[0][..]) == path.file_name()?.to_str() => {
            let len = |part: &String| std::fs::metadata(path.with_file_name(part)).map_or(0, |about| about.len());
            // `-00001-of-00003`
            (&stem[..stem.len() - 15], parts.iter().map(len).sum())
        }
        Some(_) => return None,
    };
    bytes = bytes.max(about.len());
    let modified = about.modified().ok()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Some(ModelFile { name: name.to_string(), path: path.to_owned(), bytes, modified })
}

/// The beginning of a name that somebody sent.
fn clip(name: &str) -> String {
    name.chars().take(100).collect()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
