//! Answers on their way from a model's thread to a client.

use super::error::{ApiError, Result};
use super::models::{Loaded, Models};
use super::worker::{Job, Place, Said, stopping};
use picolm_engine::{Answer, Event, Request, Usage};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The answers to one request: several choices of several prompts. Dropping it cancels those that are not complete.
pub(crate) struct Answers {
    pub(crate) model: Arc<Loaded>,
    said: UnboundedReceiver<(usize, Said)>,
    /// taken from `said` before anybody asked
    early: VecDeque<(usize, Said)>,
    /// answers that are not complete
    open: usize,
    /// Of the prompts so far, each counted once, and of all answers.
    pub(crate) usage: Usage,
    choices: usize,
}

impl Answers {
    /// Asks a model for an answer to each request, and waits until the first has a session, so that one that cannot be is refused at
    /// once. `choices` of the requests have one prompt.
    pub(crate) async fn begin(
        models: &Models,
        model: Option<&str>,
        requests: Vec<Request>,
        choices: usize,
    ) -> Result<Self> {
        let (model, places) = models.acquire(model, requests.len()).await?;
        Self::ask(model, requests.into_iter().zip(places.into_iter().map(Some)).collect(), choices).await
    }

    /// The same of a loaded model, with the places of these requests, or within one that the caller has.
    pub(crate) async fn ask(
        model: Arc<Loaded>,
        requests: Vec<(Request, Option<Place>)>,
        choices: usize,
    ) -> Result<Self> {
        let (to, said) = unbounded_channel();
        let open = requests.len();
        for (index, (request, place)) in requests.into_iter().enumerate() {
            model.answer(Job { request, tokens: None, index, to: to.clone(), place });
        }
        drop(to);
        let usage = Usage::default();
        let mut answers = Answers { model, said, early: VecDeque::new(), open, usage, choices: choices.max(1) };
        let first = answers.receive().await?;
        answers.early.push_back(first);
        Ok(answers)
    }

    /// The next news: of which answer, and what. `None` at the end of all.
    pub(crate) async fn next(&mut self) -> Result<Option<(usize, Event)>> {
        while self.open > 0 {
            let (index, said) = match self.early.pop_front() {
                Some(early) => early,
                None => self.receive().await?,
            };
            let Said::News(event) = said else { continue };
            if let Event::Finished { usage, .. } | Event::Embedded { usage, .. } = &event {
                self.open -= 1;
                self.usage.answer += usage.answer;
                self.usage.drafted += usage.drafted;
                self.usage.accepted += usage.accepted;
                if index % self.choices == 0 {
                    self.usage.prompt += usage.prompt;
                    self.usage.reused += usage.reused;
                }
            }
            return Ok(Some((index, event)));
        }
        Ok(None)
    }

    /// All answers as a whole.
    pub(crate) async fn complete(mut self) -> Result<(Vec<Answer>, Usage)> {
        let mut all = vec![Answer::default(); self.open];
        while let Some((index, event)) = self.next().await? {
            all[index].take(event)?;
        }
        Ok((all, self.usage))
    }

    async fn receive(&mut self) -> Result<(usize, Said)> {
        match self.said.recv().await {
            Some((_, Said::Failed(error))) => Err(error),
            Some(said) => Ok(said),
            // The thread has died with the channel's other end.
            None => Err(ApiError { message: "the model was unloaded in mid-answer: try again".into(), ..stopping() }),
        }
    }
}
