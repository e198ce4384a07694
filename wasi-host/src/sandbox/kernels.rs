//! What a guest can reach: one file, and if it is offered the arithmetic of this machine.
//!
//! Whatever comes in here comes from a stranger. Numbers are checked by `Model::from_plan` and by the core's engine, as those from a file
//! are; what is checked here is the rest: places of tensors, sessions that are not there, more results than anyone needs.

use super::bindings::picolm::engine::{kernels, types, weights};
use super::memory::Space;
use crate::options::Options;
use crate::{Error, Result};
use picolm_core::gguf::{Directory, Tensor};
use picolm_core::model::{Model, Plan, Raw};
use picolm_core::session::{Executor, Session};
use picolm_core::weights::{InMemory, Lent, Part, WeightSource, WeightsError};
use picolm_engine::{Arithmetic, Feed, Local, append, take};
use picolm_machine::file::{Mapping, Watched};
use picolm_machine::{Pool, cpu};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use wasmtime::StoreLimits;

/// Most bytes of one `read`.
const MAX_READ: u32 = 1 << 20;

/// Most logits of one `forward`, 32 MB, where it is more than one row.
const MAX_LOGITS: usize = 8 << 20;

/// Places of tensors are multiples of this: what their numbers need, and any file has.
const ALIGNMENT: u64 = 8;

/// A guest's side of the wall.
pub(crate) struct State {
    pub(crate) space: Arc<Space>,
    pub(crate) file: Arc<Watched>,
    pub(crate) limits: StoreLimits,
    /// `None`: no arithmetic is offered.
    pub(crate) kernels: Option<Kernels>,
}

/// The arithmetic, and what the guest has loaded.
pub(crate) struct Kernels {
    file: Arc<Timed>,
    options: Options,
    loaded: Option<Loaded>,
}

/// The mapped file, which is lent until the time of a call is over: so a pass through many layers ends where the guest, who waits for it,
/// cannot be interrupted.
struct Timed {
    file: InMemory<Mapping>,
    until: Mutex<Option<Instant>>,
}

impl WeightSource for Timed {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> std::result::Result<(), WeightsError> {
        self.file.read(offset, into)
    }

    fn lend(&self, part: Part) -> std::result::Result<Lent<'_>, WeightsError> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.is_some_and(|until| Instant::now() > until) {
            true => Err(WeightsError("the call takes longer than it may".into())),
            false => self.file.lend(part),
        }
    }
}

struct Loaded {
    local: Local,
    vocabulary: usize,
    /// by their handles: whether they are open
    sessions: Vec<bool>,
}

impl weights::Host for State {
    fn size(&mut self) -> u64 {
        self.file.size()
    }

    fn reserve(&mut self, len: u64) -> std::result::Result<(), String> {
        self.space.announce(len)
    }

    fn map_range(&mut self, at: u64, offset: u64, len: u64) -> std::result::Result<(), String> {
        self.space.map(&self.file, at, offset, len)
    }

    fn read(&mut self, offset: u64, len: u32) -> std::result::Result<Vec<u8>, String> {
        let end = offset.checked_add(len.into()).filter(|&end| len <= MAX_READ && end <= self.file.size());
        end.ok_or_else(|| format!("read({offset}, {len}): the range is not in the file, or too long"))?;
        let mut bytes = vec![0; len as usize];
        self.file.file().read_exact_at(&mut bytes, offset).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

impl types::Host for State {}

type Answer<T> = std::result::Result<T, types::Error>;

impl kernels::Host for State {
    fn offered(&mut self) -> bool {
        self.kernels.is_some()
    }

    fn load(&mut self, plan: kernels::Plan) -> Answer<(String, u64)> {
        let kernels = self.kernels.as_mut().ok_or_else(not_offered)?;
        Ok(kernels.load(&plan)?)
    }

    fn open(&mut self) -> Answer<u32> {
        Ok(self.kernels()?.open()?)
    }

    fn close(&mut self, session: u32) -> Answer<()> {
        let loaded = self.loaded(session)?;
        loaded.sessions[session as usize] = false;
        loaded.local.close(session as usize);
        Ok(())
    }

    fn rewind(&mut self, session: u32, len: u32) -> Answer<u32> {
        Ok(self.loaded(session)?.local.rewind(session as usize, len as usize)? as u32)
    }

    fn forward(&mut self, feeds: Vec<kernels::Feed>) -> Answer<Vec<f32>> {
        Ok(self.kernels()?.forward(feeds)?)
    }

    fn save(&mut self, session: u32) -> Answer<Vec<u8>> {
        let mut state = Vec::new();
        self.loaded(session)?.local.save(session as usize, &mut |bytes| append(&mut state, bytes))?;
        Ok(state)
    }

    fn restore(&mut self, session: u32, state: Vec<u8>) -> Answer<Vec<u32>> {
        let mut rest = &state[..];
        Ok(self.loaded(session)?.local.load(session as usize, &mut |into| Ok(take(&mut rest, into)))?)
    }

    fn session_bytes(&mut self, tokens: u32) -> u64 {
        let loaded = self.kernels.as_ref().and_then(|kernels| kernels.loaded.as_ref());
        loaded.map_or(0, |loaded| loaded.local.session_bytes(tokens as usize))
    }
}

fn not_offered() -> types::Error {
    Error::request("no arithmetic is offered").into()
}

impl State {
    fn kernels(&mut self) -> Answer<&mut Kernels> {
        self.kernels.as_mut().ok_or_else(not_offered)
    }

    /// What is loaded, which has that session.
    fn loaded(&mut self, session: u32) -> Answer<&mut Loaded> {
        let loaded = self.kernels()?.loaded()?;
        match loaded.sessions.get(session as usize) {
            Some(true) => Ok(loaded),
            _ => Err(Error::request(format!("there is no session {session}")).into()),
        }
    }
}

impl Kernels {
    pub(crate) fn new(mapping: Mapping, options: Options) -> Self {
        let file = Timed { file: InMemory(mapping), until: Mutex::default() };
        Kernels { file: Arc::new(file), options, loaded: None }
    }

    /// The file, mapped for the arithmetic.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.file.file.0
    }

    /// A call begins, which may take so long.
    pub(crate) fn begin(&self, until: Instant) {
        *self.file.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn loaded(&mut self) -> Result<&mut Loaded> {
        self.loaded.as_mut().ok_or_else(|| Error::request("no plan is loaded"))
    }

    fn load(&mut self, plan: &kernels::Plan) -> Result<(String, u64)> {
        if self.loaded.is_some() {
            return Err(Error::request("a plan is loaded already"));
        }
        let tensors = plan.tensors.iter().map(|tensor| match tensor.offset.is_multiple_of(ALIGNMENT) {
            true => Ok(Tensor::new(&tensor.name, tensor.type_, &tensor.dims, tensor.offset)?),
            false => Err(Error::request(format!("tensor {:?} is not aligned", tensor.name))),
        });
        let tensors = Directory::new(tensors.collect::<Result<_>>()?, self.file.len())?;
        let mut raw = Raw::new(plan.architecture.as_str());
        plan.metadata.iter().try_for_each(|(key, value)| raw.insert(key, value.clone().into()))?;
        let plan = Plan { raw, tensors, header_hash: plan.header_hash };
        let model = Arc::new(Model::from_plan(&plan, self.file.clone())?);

        let options = &self.options;
        let (backend, bytes, vocabulary) = (cpu::backends()[0], model.weight_bytes(), model.config.vocab);
        let team = Pool::new(options.threads()).map_err(|error| Error::new(crate::ErrorKind::Memory, error))?;
        let context = options.context_of(model.config.context);
        Session::new(&model, context, options.kv)?;
        let executor = Executor::new(model, backend, Arc::new(team), options.batch())?;
        let local = Local::new(executor, context, options.kv);
        self.loaded = Some(Loaded { local, vocabulary, sessions: Vec::new() });
        Ok((backend.name().to_string(), bytes))
    }

    fn open(&mut self) -> Result<u32> {
        // One more than there are for requests: what is fed without one has its own.
        let most = self.options.sessions + 1;
        let loaded = self.loaded()?;
        if loaded.sessions.iter().filter(|open| **open).count() >= most {
            return Err(Error::new(crate::ErrorKind::Busy, format!("all {most} sessions are in use")));
        }
        let session = loaded.local.open()?;
        loaded.sessions.resize(loaded.sessions.len().max(session + 1), false);
        loaded.sessions[session] = true;
        Ok(session as u32)
    }

    fn forward(&mut self, feeds: Vec<kernels::Feed>) -> Result<Vec<f32>> {
        let loaded = self.loaded()?;
        let feeds: Vec<Feed> = feeds
            .into_iter()
            .map(|feed| Feed { session: feed.session as usize, tokens: feed.tokens, want: feed.want.into() })
            .collect();
        let rows: usize = feeds.iter().map(|feed| feed.want.rows(feed.tokens.len())).sum();
        let logits = rows.saturating_mul(loaded.vocabulary);
        if rows > feeds.len() && logits > MAX_LOGITS {
            return Err(Error::request(format!("{rows} rows of logits at once are too many")));
        }
        let mut all = Vec::with_capacity(logits);
        loaded.local.forward(&feeds, &mut |_, row| all.extend_from_slice(row))?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use picolm_core::gguf::Gguf;
    use std::path::Path;

    /// Of the golden model.
    const VOCABULARY: u32 = 320;
    const CONTEXT: usize = 256;

    /// A golden model, and the plan that an honest guest makes of it.
    fn loaded() -> (Kernels, kernels::Plan) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/llama-F32.gguf");
        let file = Watched::open(&path).expect("a golden model");
        let bytes = std::fs::read(&path).expect("a golden model");
        let gguf = Gguf::parse(&bytes).expect("a file");
        let plan = Plan::from_gguf(&gguf).expect("a plan");
        let tensors = plan.tensors.tensors().iter().map(|tensor| kernels::Tensor {
            name: tensor.name.to_string(),
            type_: tensor.ty.id,
            dims: tensor.dims[..tensor.n_dims].to_vec(),
            offset: tensor.offset,
        });
        let plan = kernels::Plan {
            architecture: plan.raw.architecture().to_string(),
            metadata: plan.raw.entries().map(|(key, value)| (key.to_string(), value.clone().into())).collect(),
            tensors: tensors.collect(),
            header_hash: 1,
        };
        let options = Options { threads: 1, sessions: 2, ..Options::default() };
        (Kernels::new(file.map().expect("a mapping"), options), plan)
    }

    fn feed(session: u32, tokens: &[u32]) -> kernels::Feed {
        kernels::Feed { session, tokens: tokens.to_vec(), want: types::Want::Last }
    }

    #[test]
    fn a_plan_is_loaded_once() {
        let (mut kernels, plan) = loaded();
        assert!(kernels.open().is_err(), "nothing is loaded");
        kernels.load(&plan).expect("an honest plan");
        assert_eq!(kernels.load(&plan).expect_err("a second plan").kind, ErrorKind::Request);
    }

    #[test]
    fn metadata_is_checked() {
        let text = |len| kernels::Value::Text("x".repeat(len));
        let changes: [fn(&mut kernels::Plan); 7] = [
            |plan| plan.architecture.clear(),
            |plan| plan.metadata.clear(),
            |plan| plan.metadata.push(plan.metadata[0].clone()),
            |plan| plan.metadata.extend((0..2000).map(|i| (format!("key.{i}"), kernels::Value::Truth(true)))),
            |plan| plan.metadata.push(("long".into(), kernels::Value::Integers(vec![1; 5000]))),
            |plan| plan.metadata.iter_mut().for_each(|(_, value)| *value = kernels::Value::Number(f32::NAN)),
            |plan| plan.metadata.iter_mut().for_each(|(_, value)| *value = kernels::Value::Integer(i64::MIN)),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let (mut kernels, mut plan) = loaded();
            change(&mut plan);
            let error = kernels.load(&plan).expect_err("a bad plan");
            assert_eq!((i, error.kind), (i, ErrorKind::Model), "{error}");
            assert!(kernels.open().is_err(), "nothing is loaded");
        }
        // What no architecture reads may be anything.
        let (mut kernels, mut plan) = loaded();
        plan.metadata.push(("unread".into(), text(1 << 20)));
        kernels.load(&plan).expect("a plan");
    }

    #[test]
    fn places_of_tensors_are_checked() {
        type Change = fn(&mut kernels::Tensor);
        let changes: [Change; 6] = [
            |tensor| tensor.offset += 1,
            |tensor| tensor.offset += 4,
            |tensor| tensor.offset = !7,
            |tensor| tensor.offset = 1 << 40,
            |tensor| tensor.dims[0] += 8,
            |tensor| tensor.type_ = 24,
        ];
        for change in changes {
            let (mut kernels, mut plan) = loaded();
            let last = plan.tensors.iter().position(|tensor| tensor.dims.len() == 2).expect("a matrix");
            change(&mut plan.tensors[last]);
            assert!(kernels.load(&plan).is_err(), "{:?}", plan.tensors[last]);
            assert!(kernels.open().is_err(), "nothing is loaded");
        }
    }

    #[test]
    fn sessions_are_those_that_are_open() {
        let (mut kernels, plan) = loaded();
        kernels.load(&plan).expect("an honest plan");
        let sessions = [(); 3].map(|()| kernels.open().expect("two, and one more"));
        assert_eq!(kernels.open().expect_err("a fourth").kind, ErrorKind::Busy);
        let rows = kernels.forward(vec![feed(sessions[0], &[1, 2]), feed(sessions[2], &[3])]).expect("logits");
        assert_eq!(rows.len(), 2 * VOCABULARY as usize);
        let many = vec![1; CONTEXT + 1];
        for bad in [
            vec![feed(sessions[0], &[1]), feed(sessions[0], &[1])],
            vec![feed(9, &[1])],
            vec![feed(u32::MAX, &[1])],
            vec![feed(sessions[0], &[u32::MAX])],
            vec![feed(sessions[0], &many)],
            vec![feed(sessions[1], &[1]), feed(sessions[0], &[VOCABULARY])],
        ] {
            assert!(kernels.forward(bad.clone()).is_err(), "{bad:?}");
        }
        // A call whose time is over ends where it stands.
        kernels.begin(Instant::now());
        let error = kernels.forward(vec![feed(sessions[1], &[1])]).expect_err("too late");
        assert!(error.message.contains("longer than it may"), "{error}");
        kernels.begin(Instant::now() + std::time::Duration::from_secs(600));
        // Nothing of these was kept.
        let again = kernels.forward(vec![feed(sessions[1], &[1, 2])]).expect("logits");
        assert_eq!(again, rows[..VOCABULARY as usize]);
    }
}
