//! The merge loop both tokenizers share: symbols in a row, the best pair of neighbours joined until none is left.
//!
//! ```text
//! queue every pair of neighbours
//! while a pair is left: take the one of lowest priority, of those the leftmost
//!     if it still stands: join it, queue the pairs it now makes to its left and right
//! ```
//! `n` symbols make at most `3 n` queue entries, so the whole takes O(n log n) whatever the vocabulary says.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// No token, no neighbour, no pair.
pub(super) const NONE: u32 = u32::MAX;

/// Two neighbours: their tokens (or [`NONE`]) and the bytes of the text they span.
pub(super) struct Pair {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What a pair becomes, and when: lower priorities first. [`NONE`] is no priority.
pub(super) struct Joined {
    pub(super) priority: u32,
    pub(super) token: u32,
}

struct Symbol {
    /// first byte in the text; the last is before the next symbol's first
    start: u32,
    token: u32,
    prev: u32,
    next: u32,
    /// of the pair this and the next symbol make, and the token it would become
    priority: u32,
    joined: u32,
}

/// The symbols of one text and their queue; kept between texts to save allocations.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    /// `priority << 32 | left symbol`
    queue: BinaryHeap<Reverse<u64>>,
    end: usize,
}

impl Merger {
    /// Forgets the last text.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.queue.clear();
    }

    /// Adds a symbol after the others: its first byte, and its token if it has one.
    pub(super) fn push(&mut self, start: usize, token: u32) {
        let index = self.symbols.len() as u32;
        self.symbols.push(Symbol {
            start: start as u32,
            token,
            prev: index.wrapping_sub(1),
            next: index + 1,
            priority: NONE,
            joined: NONE,
        });
    }

    /// Merges. `end`: the text's length in bytes. `join`: what two neighbours become, if anything.
    pub(super) fn run(&mut self, end: usize, join: impl Fn(&Pair) -> Option<Joined>) {
        self.end = end;
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        for left in 0..self.symbols.len() as u32 {
            self.offer(left, &join);
        }
        while let Some(Reverse(entry)) = self.queue.pop() {
            let (priority, left) = ((entry >> 32) as u32, entry as u32);
            let symbol = &mut self.symbols[left as usize];
            // The pair may have changed since it was queued. One of the same priority may stand in its place: as good.
            if symbol.priority != priority {
                continue;
            }
            let right = symbol.next;
            symbol.token = symbol.joined;
            let next = core::mem::replace(&mut self.symbols[right as usize].next, NONE);
            self.symbols[right as usize].priority = NONE;
            self.symbols[left as usize].next = next;
            if next != NONE {
                self.symbols[next as usize].prev = left;
            }
            self.offer(left, &join);
            let prev = self.symbols[left as usize].prev;
            if prev != NONE {
                self.offer(prev, &join);
            }
        }
    }

    /// The symbols left: token (or [`NONE`]) and bytes of the text.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (u32, core::ops::Range<usize>)> {
        let mut at = if self.symbols.is_empty() { NONE } else { 0 };
        core::iter::from_fn(move || {
            let symbol = self.symbols.get(at as usize)?;
            at = symbol.next;
            Some((symbol.token, symbol.start as usize..self.end_of(symbol)))
        })
    }

    /// Works out what a symbol and its right neighbour make, and queues it.
    fn offer(&mut self, left: u32, join: &impl Fn(&Pair) -> Option<Joined>) {
        let symbol = &self.symbols[left as usize];
        let joined = self.symbols.get(symbol.next as usize).and_then(|right| {
            let (start, end) = (symbol.start as usize, self.end_of(right));
            join(&Pair { left: symbol.token, right: right.token, start, end })
        });
        let Joined { priority, token } = joined.unwrap_or(Joined { priority: NONE, token: NONE });
        let symbol = &mut self.symbols[left as usize];
        (symbol.priority, symbol.joined) = (priority, token);
        if priority != NONE {
            self.queue.push(Reverse(u64::from(priority) << 32 | u64::from(left)));
        }
    }

    fn end_of(&self, symbol: &Symbol) -> usize {
        self.symbols.get(symbol.next as usize).map_or(self.end, |next| next.start as usize)
    }
}
