//! Drafts: several tokens tried in one batch, of which what is right is kept.
//!
//! ```text
//!   fed as one batch     the   cat   sat    on            (the token, and a draft of three)
//!                         ▼     ▼     ▼     ▼
//!   chosen from logits   cat   sat    in     –            kept: the cat sat; forgotten: on; the next token: in
//! ```
//!
//! A batch gives each token the logits it gets alone, bit for bit, and they are shown to the same chooser in the same order. So a draft
//! can change how long an answer takes, and nothing else.

use super::{Engine, Error, Feed, Session, Want};

impl Engine {
    /// Feeds `tokens`: one that is certain, and a draft of those after it. Returns how many of the draft were right; the session then
    /// holds the first token and these, as if each had been fed alone.
    ///
    /// `choose(position, logits)` chooses the token for a position from the logits (n_vocab) of those before it, or says `None`: no
    /// more. It is asked for each position in order, until it chooses another token than the draft has there.
    ///
    /// # Errors
    /// Those of [`Engine::forward`] with the first token alone; the session is then as it was. A draft that cannot be computed (no room
    /// for it, unknown tokens, values that are not finite) is dropped.
    pub fn forward_draft(
        &mut self,
        session: &mut Session,
        tokens: &[u32],
        choose: &mut dyn FnMut(usize, &[f32]) -> Option<u32>,
    ) -> Result<usize, Error> {
        let before = session.len();
        let (mut kept, mut right) = (0, true);
        let feed = Feed { session: &mut *session, tokens, want: Want::All };
        let result = self.forward(&mut [feed], &mut |_, position, logits| {
            if right {
                kept += 1;
                let next = choose(position + 1, logits);
                right = next.is_some_and(|next| tokens.get(kept) == Some(&next));
            }
        });
        match result {
            Err(_) if kept == 0 && tokens.len() > 1 => return self.forward_draft(session, &tokens[..1], choose),
            Err(error) if kept == 0 => return Err(error),
            // It is the draft's, behind logits that were shown, and what those were computed from is in the cache.
            Err(_) => session.tokens.extend_from_slice(&tokens[..kept]),
            Ok(()) => session.truncate(before + kept),
        }
        Ok(kept.saturating_sub(1))
    }
}
