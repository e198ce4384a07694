//! Batches: feeds are cut into columns, and columns taken through the model as many at a time as the buffers hold.

use super::ops::Compute;
use super::pass::{Buffers, Column, Pass};
use super::{Error, Feed, Want};
use crate::kernels::{Backend, FloatEnv};
use crate::model::Model;
use crate::team::Team;
use crate::weights::{Lent, Part};
use alloc::sync::Arc;

/// A model, the threads that run it, and their buffers.
pub struct Executor {
    model: Arc<Model>,
    backend: Backend,
    team: Arc<dyn Team>,
    columns: usize,
    buffers: Buffers,
}

impl Executor {
    /// An executor that takes up to `columns` tokens through the layers at once (64 is a good number).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]: its buffers do not fit; fewer columns take less.
    pub fn new(model: Arc<Model>, backend: Backend, team: Arc<dyn Team>, columns: usize) -> Result<Self, Error> {
        let columns = columns.max(1);
        let buffers = Buffers::new(&model, columns)?;
        Ok(Executor { model, backend, team, columns, buffers })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The kernels it uses.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Bytes of its buffers.
    pub fn memory_bytes(&self) -> usize {
        self.buffers.memory_bytes()
    }

    /// Feeds tokens to sessions, and calls `rows(feed, position, row)` with what is wanted of them, in order.
    ///
    /// # Errors
    /// Too many tokens, an unknown token, no memory for their keys and values, or a value that is not finite; the sessions are then as
    /// they were.
    pub fn forward(&mut self, feeds: &mut [Feed<'_>], rows: &mut dyn FnMut(usize, usize, &[f32])) -> Result<(), Error> {
        for feed in feeds.iter() {
            self.check(feed)?;
        }
        let _env = FloatEnv::enter();
        let (mut feed, mut at) = (0, 0);
        while feed < feeds.len() {
            (feed, at) = self.gather_batch(feeds, feed, at);
            if !self.buffers.batch.is_empty() {
                self.step(feeds, rows)?;
            }
        }
        for feed in feeds {
            // There is room: `step` reserved it.
            feed.session.tokens.extend_from_slice(feed.tokens);
        }
        Ok(())
    }

    fn check(&self, feed: &Feed<'_>) -> Result<(), Error> {
        let session = &feed.session;
        if session.model != self.model.id() {
            return Err(Error::OtherModel);
        }
        if feed.tokens.len() > session.context - session.len() {
            let (tokens, used, context) = (feed.tokens.len(), session.len(), session.context);
            return Err(Error::ContextFull { tokens, used, context });
        }
        let vocab = self.model.config.vocab;
        match feed.tokens.iter().find(|&&t| t as usize >= vocab) {
            Some(&token) => Err(Error::Token { token, vocab }),
            None => Ok(()),
        }
    }

    /// Fills the batch from token `at` of feed `feed` on; returns where the next one starts.
    fn gather_batch(&mut self, feeds: &mut [Feed<'_>], mut feed: usize, mut at: usize) -> (usize, usize) {
        let batch = &mut self.buffers.batch;
        batch.clear();
        while feed < feeds.len() {
            let f = &mut feeds[feed];
            while at < f.tokens.len() {
                if batch.len() == self.columns {
                    return (feed, at);
                }
                let last = at + 1 == f.tokens.len();
                let wanted = match f.want {
                    Want::Last if !last => Want::Nothing,
                    want => want,
                };
                batch.push(Column { feed, token: f.tokens[at], position: f.session.len() + at, wanted });
                at += 1;
            }
            (feed, at) = (feed + 1, 0);
        }
        (feed, at)
    }

    /// Takes the batch through the model.
    fn step(&mut self, feeds: &mut [Feed<'_>], rows: &mut dyn FnMut(usize, usize, &[f32])) -> Result<(), Error> {
        for column in &self.buffers.batch {
            feeds[column.feed].session.reserve(column.position + 1)?;
        }
        let model = self.model.clone();
        let lend = |part| model.lend(part).map_err(|cause| Error::Weights { part, cause });
        let failed = |cause| Error::Weights { part: Part::Outside, cause };
        // What is lent is given back before the next is asked for.
        self.pass(&model, &lend(Part::Outside)?).embed(feeds).map_err(failed)?;
        for (i, layer) in model.layers.iter().enumerate() {
            self.pass(&model, &lend(Part::Layer(i))?).layer(i, layer, feeds)?;
        }
        match self.pass(&model, &lend(Part::Outside)?).output(rows).map_err(failed)? {
            true => Ok(()),
            false => Err(Error::NotFinite { stage: "the output", layer: model.layers.len() }),
        }
    }

    /// The batch, before the part of the model that is lent.
    fn pass<'a>(&'a mut self, model: &'a Model, weights: &'a Lent<'a>) -> Pass<'a> {
        Pass { compute: Compute { model, weights, backend: self.backend, team: &*self.team }, b: &mut self.buffers }
    }
}
