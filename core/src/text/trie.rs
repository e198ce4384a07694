//! Which tokens does a text begin with: a tree of tokens by their bytes.

use super::merge::NONE;
use alloc::vec;
use alloc::vec::Vec;

/// Nodes stand level by level, so that the children of one are neighbours, in order of their bytes. 9 bytes a node.
#[derive(Debug)]
pub(super) struct Trie {
    /// (n_nodes) the byte that leads to each; the root's is of no account
    labels: Vec<u8>,
    /// (n_nodes + 1) where the children of each begin
    children: Vec<u32>,
    /// (n_nodes) the token that ends there, or [`NONE`]
    tokens: Vec<u32>,
}

impl Trie {
    /// Of no tokens.
    pub(super) fn none() -> Trie {
        Trie { labels: vec![0], children: vec![1; 2], tokens: vec![NONE] }
    }

    /// `sorted`: tokens that are not empty, no two alike, in order of their bytes.
    pub(super) fn new<'v>(bytes: &dyn Fn(u32) -> &'v [u8], sorted: &[u32]) -> Trie {
        let mut trie = Trie { labels: vec![0], children: Vec::new(), tokens: Vec::new() };
        // Of each node: the tokens below it, and how many of their bytes lead there.
        let mut below = vec![(sorted, 0)];
        while let Some(&(mut ids, depth)) = below.get(trie.children.len()) {
            trie.children.push(trie.labels.len() as u32);
            let ends_here = ids.split_first().filter(|(id, _)| bytes(**id).len() == depth);
            trie.tokens.push(ends_here.map_or(NONE, |(id, _)| *id));
            ids = ends_here.map_or(ids, |(_, longer)| longer);
            for same in ids.chunk_by(|&a, &b| bytes(a)[depth] == bytes(b)[depth]) {
                trie.labels.push(bytes(same[0])[depth]);
                below.push((same, depth + 1));
            }
        }
        trie.children.push(trie.labels.len() as u32);
        trie.labels.shrink_to_fit();
        trie.children.shrink_to_fit();
        trie.tokens.shrink_to_fit();
        trie
    }

    /// Calls `found` with every token that `text` begins with, and its length, shortest first.
    pub(super) fn prefixes(&self, text: &[u8], mut found: impl FnMut(u32, usize)) {
        let mut node = 0;
        for (depth, byte) in text.iter().enumerate() {
            let first = self.children[node] as usize;
            let labels = &self.labels[first..self.children[node + 1] as usize];
            let Ok(child) = labels.binary_search(byte) else { return };
            node = first + child;
            if self.tokens[node] != NONE {
                found(self.tokens[node], depth + 1);
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.labels.capacity() + 4 * (self.children.capacity() + self.tokens.capacity())
    }
}
