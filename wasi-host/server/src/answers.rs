//! Answers on their way from a model's thread to a client.

use super::error::{ApiError, Result};
use super::models::{Loaded, Models};
use super::worker::{Job, Said, stopping};
use picolm_engine::{Piece, Reason, Request, Usage};
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

/// What a client is told of one of its answers.
pub(crate) enum Told {
    Piece(Piece),
    Finished(Reason),
}

/// A complete answer.
#[derive(Default)]
pub(crate) struct Complete {
    pub(crate) text: String,
    /// with log-probabilities, if these were asked for
    pub(crate) pieces: Vec<Piece>,
    pub(crate) reason: Option<Reason>,
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
        let (to, said) = unbounded_channel();
        let open = requests.len();
        for (index, (request, place)) in requests.into_iter().zip(places).enumerate() {
            let (to, place) = (to.clone(), Some(place));
            model.answer(Job { request, prepared: false, index, to, place });
        }
        drop(to);
        let usage = Usage::default();
        let mut answers = Answers { model, said, early: VecDeque::new(), open, usage, choices: choices.max(1) };
        let first = answers.receive().await?;
        answers.early.push_back(first);
        Ok(answers)
    }

    /// The next news: of which answer, and what. `None` at the end of all.
    pub(crate) async fn next(&mut self) -> Result<Option<(usize, Told)>> {
        while self.open > 0 {
            let (index, said) = match self.early.pop_front() {
                Some(early) => early,
                None => self.receive().await?,
            };
            match said {
                Said::Begun | Said::Failed(_) => {}
                Said::Piece(piece) => return Ok(Some((index, Told::Piece(piece)))),
                Said::Finished(reason, usage) => {
                    self.open -= 1;
                    self.usage.answer += usage.answer;
                    if index % self.choices == 0 {
                        self.usage.prompt += usage.prompt;
                        self.usage.reused += usage.reused;
                    }
                    return Ok(Some((index, Told::Finished(reason))));
                }
            }
        }
        Ok(None)
    }

    /// All answers as a whole.
    pub(crate) async fn complete(mut self) -> Result<(Vec<Complete>, Usage)> {
        let mut all: Vec<Complete> = Vec::new();
        all.resize_with(self.open, Complete::default);
        while let Some((index, told)) = self.next().await? {
            match told {
                Told::Piece(piece) => {
                    all[index].text.push_str(&piece.text);
                    if piece.logprob.is_some() {
                        all[index].pieces.push(piece);
                    }
                }
                Told::Finished(reason) => all[index].reason = Some(reason),
            }
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

/// OpenAI's word for the end of an answer.
pub(crate) fn finish_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Token | Reason::Stop => "stop",
        Reason::Length | Reason::Context => "length",
    }
}
